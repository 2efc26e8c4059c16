// Objects of a root: as they come, and with right checksums, behind which a fuzzer would never see.
#include <zstd.h>

#include <algorithm>
#include <optional>

#include "engine/checkpoint.h"
#include "engine/format.h"
#include "engine/ledger.h"
#include "tests/format_samples.h"
#include "tests/fuzz/targets.h"
#include "tests/sim_store.h"

namespace wp::fuzz {
namespace {

// Larger ones only take long.
constexpr uint32_t kBlockBytesMax = 1 << 20;

void refuses_rightly(const Status& status) {
  promise(status.ok() || status.code() == Code::kCorrupt || status.code() == Code::kUnsupported,
          "a decoder fails with kCorrupt or kUnsupported");
  promise(status.ok() == status.message().empty(), "a failure says why");
}

void read_entries(Bytes bytes) {
  EntryCursor reading(nullptr, bytes, 1, 1000), skipping(nullptr, bytes, 1, 1000);
  PropertySet set;
  add_properties_of_entries(bytes, set);
  promise(set.hashes.size() <= kPropertyHashesMax, "a set of properties is bounded");
  while (!reading.done()) {
    Entry entry;
    const bool read = reading.next(&entry);
    promise(read == skipping.skip(), "skipping takes what reading takes");
    if (!read) return;
    promise(reading.done() == skipping.done() && reading.lsn() == skipping.lsn(),
            "skipping goes as far as reading");
    promise(entry.payload.size() <= bytes.size(), "a payload lies in its block");
    size_t total = 0;
    for (const Property& property : entry.properties()) {
      total += property.key.size() + property.value.size();
      promise(entry.property(property.key).has_value(), "a property is found by its key");
      const uint32_t hash = property_hash(property.key, property.value);
      promise(set.may_hold({&hash, 1}), "and its piece's set knows it");
    }
    promise(total <= bytes.size(), "properties lie in their block");
  }
}

void check_index(const SlotHeader& header, const SlotIndex& index) {
  uint64_t entries = 0, stored = 0;
  for (const BlockInfo& block : index.blocks) {
    promise(block.offset == header.header_bytes + uint64_t{header.index_bytes} + stored,
            "blocks stand one behind the other");
    stored += block.stored_bytes;
  }
  promise(header.header_bytes + uint64_t{header.index_bytes} + stored == header.object_bytes(),
          "blocks fill the object");
  for (const Run& run : index.runs) {
    promise(index.run_of(run.log) == &run, "a run is found by its log");
    Lsn lsn = run.lsn_first;
    for (uint32_t i = run.piece_first; i < run.piece_first + run.pieces; ++i) {
      const Piece& piece = index.pieces[i];
      promise(piece.lsn_first == lsn && piece.count > 0, "pieces follow each other");
      promise(index.piece_at(run, lsn) == i, "a piece is found by its first LSN");
      lsn += piece.count;
      promise(index.piece_at(run, lsn - 1) == i, "and by its last");
      const BlockInfo& block = index.blocks[piece.block];
      promise(uint64_t{piece.offset} + piece.bytes <= block.raw_bytes, "a piece lies in its block");
    }
    promise(lsn == run.lsn_first + run.count, "a run's pieces are all of it");
    entries += run.count;
  }
  promise(entries == header.entries, "the header counts the entries");
  promise(index.properties.size() == (header.properties ? index.pieces.size() : 0),
          "properties are said of all pieces or of none");
}

// Written again it is read as the same.
void check_round_trip(SlotHeader header, const SlotIndex& index) {
  const uint64_t blocks = header.body_bytes - header.index_bytes;
  const ByteVector bytes = encode_index(index, header.time_base_ms);
  header.index_bytes = static_cast<uint32_t>(bytes.size());
  header.index_crc = crc32c(bytes);
  header.body_bytes = bytes.size() + blocks;
  header.header_bytes = kSlotHeaderBytes;
  const auto again = decode_index(header, bytes);
  promise(again.ok(), "what is written can be read");
  promise(encode_index(*again, header.time_base_ms) == bytes, "and is the same");
}

// Whatever an object says, the ledger takes it whole or says what is wrong.
void apply(const SlotHeader& header, const SlotIndex& index) {
  MemView view(std::make_shared<MemViewData>());
  RamBudget ram(1 << 20);
  Ledger ledger(&view, ram);
  ViewDelta known;
  known.logs = {{1, "one", 1, 5, 0, 40, 0}, {2, "two", 3, 3, 20, 20, 0}};
  known.head.root_id = header.root;
  known.head.last = header.prev;
  known.head.next = header.slot;
  known.head.log_id_next = 4;
  known.head.logs = 2;
  if (!view.apply(known).ok()) return;
  ledger.begin(known.head, &view);
  const Status status = ledger.apply(header, Digest{}, index);
  refuses_rightly(status);
  promise((ledger.head() == known.head) != status.ok(), "a slot changes all or nothing");
  const ViewDelta delta = ledger.take();
  promise(view.apply(delta).ok(), "the view takes what the ledger gives");
  ledger.applied(delta);
}

void read_slot(const ByteVector& object) {
  const auto header = decode_header(object);
  refuses_rightly(header.status());
  if (!header) return;
  promise(header->header_bytes <= object.size(), "a header lies in its object");
  const bool is_slot = header->kind != SlotKind::kSegment;
  promise(has_name(header->slot.seq) && is_segment(header->slot.seq) != is_slot,
          "an object has a name of its kind");
  SlotId slot;
  const std::string key = slot_key(header->slot);
  promise((is_slot ? parse_slot_key(key, &slot) : parse_segment_key(key, &slot)) &&
              slot == header->slot,
          "which is read as that object");
  promise(!is_slot || header->next().owner != 0, "a slot is followed by one");
  if (header->object_bytes() != object.size()) return;
  const auto index =
      decode_index(*header, Bytes(object).subspan(header->header_bytes, header->index_bytes));
  refuses_rightly(index.status());
  if (!index) return;
  if (header->kind != SlotKind::kFence) {
    check_index(*header, *index);
    check_round_trip(*header, *index);
  }
  if (is_slot) apply(*header, *index);
  std::vector<BlockPtr> blocks;
  for (const BlockInfo& info : index->blocks) {
    blocks.emplace_back();
    if (info.raw_bytes > kBlockBytesMax) continue;
    auto block = decode_block(info, Bytes(object).subspan(info.offset, info.stored_bytes));
    refuses_rightly(block.status());
    if (block) blocks.back() = *std::move(block);
  }
  for (const Piece& piece : index->pieces) {
    if (const BlockPtr& block = blocks[piece.block]) {
      const Bytes bytes = block->bytes().subspan(piece.offset, piece.bytes);
      read_entries(bytes);
      ByteVector copy, back;
      std::vector<CopiedEntry> told;
      if (!copy_entries(bytes, piece.count, 1, 2, copy, &told)) continue;
      promise(copy_entries(copy, piece.count, 2, 1, back, &told), "what was copied is entries");
      promise(told.size() == 2 * piece.count, "and each was told");
    }
  }
}

void read_checkpoint(const ByteVector& object) {
  const auto head = decode_checkpoint_head(object);
  refuses_rightly(head.status());
  MemView view(std::make_shared<MemViewData>());
  const auto whole =
      decode_checkpoint(object, [&](const ViewDelta& delta) { return view.apply(delta); });
  refuses_rightly(whole.status());
  if (!whole) return;
  promise(head.ok() && head->head == whole->head && head->epochs == whole->epochs,
          "a checkpoint begins with what it is");
  const auto again = encode_checkpoint(view, 1);
  promise(again.ok(), "a view that was read can be written");
  const auto second = decode_checkpoint(*again, [](const ViewDelta&) { return Status(); });
  promise(second.ok() && second->head == whole->head, "and read again");
}

}  // namespace

void root(Bytes input) {
  ByteVector object(input.begin(), input.end());
  for (int round = 0; round < 2; ++round) {
    const auto root = decode_root(object);
    refuses_rightly(root.status());
    if (root) promise(encode_root(*root) == object, "a root is written as it was read");
    if (!repair_root(object)) return;
  }
}

void slot(Bytes input) {
  ByteVector object(input.begin(), input.end());
  read_slot(object);
  if (repair_slot(object, true)) read_slot(object);
}

// Entries (8 bytes), bytes of blocks (4 bytes), and the index.
void index(Bytes input) {
  ByteParser in(input);
  SlotHeader header;
  header.root[0] = std::byte{1};
  header.slot = {1, 1, 0};
  header.author = 1;
  header.entries = in.fixed<uint64_t>();
  const auto block_bytes = in.fixed<uint32_t>();
  if (!in.ok()) return;
  const Bytes bytes = input.subspan(12);
  header.index_bytes = static_cast<uint32_t>(bytes.size());
  header.index_crc = crc32c(bytes);
  header.body_bytes = bytes.size() + uint64_t{block_bytes};
  for (const bool properties : {false, true}) {
    header.properties = properties;
    const auto index = decode_index(header, bytes);
    refuses_rightly(index.status());
    if (!index) continue;
    check_index(header, *index);
    check_round_trip(header, *index);
    apply(header, *index);
  }
}

// How it is stored (1 byte), the decoded size (3 bytes), and the stored bytes.
void block(Bytes input) {
  if (input.size() < 4) return;
  BlockInfo info;
  info.compressed = (input[0] & std::byte{1}) != std::byte{0};
  info.raw_bytes = ByteParser(input).fixed<uint32_t>() >> 8;
  const Bytes stored = input.subspan(4);
  info.stored_bytes = static_cast<uint32_t>(stored.size());
  info.crc = crc32c(stored);
  if (!info.compressed) info.raw_bytes = info.stored_bytes;
  const auto block = decode_block(info, stored);
  refuses_rightly(block.status());
  if (!block) return;
  promise((*block)->size == info.raw_bytes, "a block has its size");
  read_entries((*block)->bytes());
  ByteVector out;
  const BlockInfo again = encode_block((*block)->bytes(), 1, out);
  if (again.raw_bytes == 0) return;
  const auto second = decode_block(again, out);
  promise(second.ok() && std::ranges::equal((*second)->bytes(), (*block)->bytes()),
          "what is compressed comes back");
}

void entries(Bytes input) {
  read_entries(input);
}

void checkpoint(Bytes input) {
  ByteVector object(input.begin(), input.end());
  read_checkpoint(object);
  if (repair_checkpoint(object)) read_checkpoint(object);
}

// What stands in the compressed part.
void checkpoint_rows(Bytes input) {
  static const ByteVector sample = sample_checkpoint();
  ByteVector object(sample.begin(), sample.begin() + kCheckpointHeaderBytes);
  const size_t begin = object.size();
  object.resize(begin + ZSTD_compressBound(input.size()));
  object.resize(begin + ZSTD_compress(object.data() + begin, object.size() - begin, input.data(),
                                      input.size(), 1));
  for (const uint32_t flags : {0, 1}) {  // without and with rows of settings and objects
    store_fixed(object.data() + 12, flags);
    promise(repair_checkpoint(object), "it is long enough");
    read_checkpoint(object);
  }
}

void names(Bytes input) {
  const std::string_view key = as_text(input);
  SlotId slot;
  if (parse_slot_key(key, &slot)) {
    promise(slot_key(slot) == key, "a slot has one name");
    promise(slot.seq <= kSeqMax, "and a number that fits it");
  }
  if (parse_segment_key(key, &slot)) {
    promise(slot_key(slot) == key, "a segment has one name");
    promise(is_segment(slot.seq) && has_name(slot.seq), "and a number that fits it");
  }
  Epoch epoch;
  Seq seq;
  if (parse_checkpoint_key(key, &epoch, &seq)) {
    promise(checkpoint_key(epoch, seq) == key, "a checkpoint has one name");
  }
}

}  // namespace wp::fuzz
