#include "engine/format.h"

#include <zstd.h>

#include <algorithm>
#include <array>

#include "engine/bug.h"
#include "engine/settings.h"

namespace wp {
namespace {

constexpr std::string_view kRootMagic = "wp-root\n";
constexpr std::string_view kSlotMagic = "wp-slot\n";
constexpr size_t kRootBytes = 8 + 2 + 2 + 16 + 8 + 4;
constexpr uint16_t kFlagClosed = 1, kFlagProperties = 2;

// Times may be anything where a clock was wrong; they wrap around, and do no harm.
int64_t plus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t minus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

// More than any object has, so that sizes never overflow when they are added.
constexpr uint64_t kObjectBytesMax = uint64_t{1} << 40;

Status corrupt(std::string_view what) {
  return Status(Code::kCorrupt, std::string(what));
}

Status newer(std::string_view what) {
  return Status(Code::kUnsupported, std::string(what) + "; use a newer wp");
}

}  // namespace

Status other_version(std::string_view object, uint64_t version) {
  return newer("the " + std::string(object) + " has format version " + std::to_string(version) +
               ", this program knows " + std::to_string(kFormatVersion));
}

// ------------------------------------------------------------------------------------------ names

namespace {

// An object's number as it stands in its name and header: segments have the same numbers as slots.
uint64_t plain_number(Seq seq) {
  return is_segment(seq) ? seq - kSegmentFirst : seq;
}

// Of "j/..." and "s/...", which differ in nothing else.
bool parse_object_key(std::string_view prefix, std::string_view key, SlotId* slot) {
  uint64_t epoch = 0;
  if (key.size() != 2 + 8 + 1 + 16 + 1 + 12 || !key.starts_with(prefix) || key[10] != '-' ||
      key[27] != '/') {
    return false;
  }
  if (!parse_hex_number(key.substr(2, 8), &epoch) ||
      !parse_hex_number(key.substr(11, 16), &slot->owner) ||
      !parse_hex_number(key.substr(28), &slot->seq)) {
    return false;
  }
  slot->epoch = static_cast<Epoch>(epoch);
  return true;
}

}  // namespace

std::string epoch_prefix(const SlotId& slot) {
  return std::string(is_segment(slot.seq) ? kSegmentPrefix : kJournalPrefix) +
         hex_number(slot.epoch, 8) + "-" + hex_number(WP_BUG(24) ? 0 : slot.owner, 16) + "/";
}

std::string slot_key(const SlotId& slot) {
  return epoch_prefix(slot) + hex_number(plain_number(slot.seq), 12);
}

std::string checkpoint_key(Epoch epoch, Seq seq) {
  return std::string(kCheckpointPrefix) + hex_number(epoch, 8) + "-" + hex_number(seq, 12);
}

bool parse_slot_key(std::string_view key, SlotId* slot) {
  return parse_object_key(kJournalPrefix, key, slot);
}

bool parse_segment_key(std::string_view key, SlotId* slot) {
  if (!parse_object_key(kSegmentPrefix, key, slot)) return false;
  slot->seq += kSegmentFirst;
  return true;
}

bool parse_checkpoint_key(std::string_view key, Epoch* epoch, Seq* seq) {
  uint64_t number = 0;
  if (key.size() != 2 + 8 + 1 + 12 || !key.starts_with(kCheckpointPrefix) || key[10] != '-') {
    return false;
  }
  if (!parse_hex_number(key.substr(2, 8), &number) || !parse_hex_number(key.substr(11), seq)) {
    return false;
  }
  *epoch = static_cast<Epoch>(number);
  return true;
}

// ------------------------------------------------------------------------------------------- root

ByteVector encode_root(const RootObject& root) {
  ByteVector out;
  put_bytes(out, as_bytes(kRootMagic));
  put_fixed<uint16_t>(out, static_cast<uint16_t>(root.version));
  put_fixed<uint16_t>(out, kRootBytes);
  put_bytes(out, root.id);
  put_fixed(out, root.creator);
  put_fixed(out, crc32c(out));
  return out;
}

Result<RootObject> decode_root(Bytes object) {
  ByteParser in(object);
  RootObject root;
  if (as_text(in.bytes(kRootMagic.size())) != kRootMagic) return corrupt("it is no root object");
  root.version = in.fixed<uint16_t>();
  const auto size = in.fixed<uint16_t>();
  if (!in.ok() || size != object.size() || size < kRootBytes) {
    return corrupt("the root object has a wrong length");
  }
  ByteParser sum(object.subspan(size - 4u));
  if (sum.fixed<uint32_t>() != crc32c(object.first(size - 4u))) {
    return corrupt("the root object does not match its checksum");
  }
  if (root.version != kFormatVersion) return other_version("root", root.version);
  // It has no flags that would say whether what is not known here may be passed over.
  if (size != kRootBytes) return newer("the root object holds more than this program knows");
  root.id = in.array<16>();
  root.creator = in.fixed<uint64_t>();
  if (root.creator == 0) return corrupt("the root object makes no sense");
  return root;
}

// ------------------------------------------------------------------------------------ slot header

void encode_header(const SlotHeader& header, std::byte* at) {
  ByteVector out;
  out.reserve(kSlotHeaderBytes);
  put_bytes(out, as_bytes(kSlotMagic));
  put_fixed<uint16_t>(out, kFormatVersion);
  put_fixed<uint16_t>(out, kSlotHeaderBytes);
  put_fixed(out, static_cast<uint16_t>(header.kind));
  put_fixed<uint16_t>(
      out, (header.closed ? kFlagClosed : 0) | (header.properties ? kFlagProperties : 0));
  put_bytes(out, header.root);
  put_fixed(out, header.slot.epoch);
  put_fixed(out, header.index_bytes);
  put_fixed(out, header.slot.owner);
  put_fixed(out, plain_number(header.slot.seq));
  put_fixed(out, header.prev.slot.epoch);
  put_fixed(out, header.index_crc);
  put_fixed(out, header.prev.slot.owner);
  put_fixed(out, header.prev.slot.seq);
  put_bytes(out, header.prev.digest);
  put_fixed(out, header.author);
  put_fixed(out, header.time_base_ms);
  put_fixed(out, header.entries);
  put_fixed(out, header.body_bytes);
  put_bytes(out, header.body_digest);
  put_fixed(out, crc32c(out));
  std::memcpy(at, out.data(), kSlotHeaderBytes);
}

namespace {

// Whether the slot before is one that it can follow.
bool prev_fits(const SlotId& slot, const SlotId& prev) {
  if (slot.seq != 0) return prev == SlotId{slot.epoch, slot.owner, slot.seq - 1};
  if (slot.epoch == 1) return prev == SlotId{};
  return prev.epoch == slot.epoch - 1 && prev.owner != 0 && prev.seq <= kSeqMax;
}

bool makes_sense(const SlotHeader& header) {
  const SlotId& slot = header.slot;
  if (slot.epoch == 0 || slot.owner == 0 || !has_name(slot.seq) || header.author == 0 ||
      header.index_bytes > header.body_bytes || header.body_bytes > kObjectBytesMax) {
    return false;
  }
  if (header.kind == SlotKind::kSegment) {
    return header.prev == Position{} && header.author == slot.owner && !header.closed &&
           header.entries != 0 && header.index_bytes != 0;
  }
  if (!prev_fits(slot, header.prev.slot)) return false;
  if (header.kind == SlotKind::kFragment) return header.author == slot.owner;
  return header.body_bytes == 0 && header.entries == 0 && !header.closed && !header.properties;
}

}  // namespace

Result<SlotHeader> decode_header(Bytes head) {
  ByteParser in(head);
  SlotHeader header;
  if (as_text(in.bytes(kSlotMagic.size())) != kSlotMagic) return corrupt("it is no journal slot");
  const auto version = in.fixed<uint16_t>();
  header.header_bytes = in.fixed<uint16_t>();
  if (!in.ok() || header.header_bytes < kSlotHeaderBytes ||
      header.header_bytes > kSlotHeaderBytesMax || header.header_bytes > head.size()) {
    return corrupt("its header is cut or has a wrong length");
  }
  ByteParser sum(head.subspan(header.header_bytes - 4u));
  if (sum.fixed<uint32_t>() != crc32c(head.first(header.header_bytes - 4u))) {
    return corrupt("its header does not match its checksum");
  }
  if (version != kFormatVersion) return other_version("journal slot", version);
  header.kind = static_cast<SlotKind>(in.fixed<uint16_t>());
  const auto flags = in.fixed<uint16_t>();
  header.closed = (flags & kFlagClosed) != 0;
  header.properties = (flags & kFlagProperties) != 0;
  header.root = in.array<16>();
  header.slot.epoch = in.fixed<uint32_t>();
  header.index_bytes = in.fixed<uint32_t>();
  header.slot.owner = in.fixed<uint64_t>();
  header.slot.seq = in.fixed<uint64_t>();
  if (header.kind == SlotKind::kSegment) {
    if (header.slot.seq > kSeqMax) return corrupt("its header makes no sense");
    header.slot.seq += kSegmentFirst;
  }
  header.prev.slot.epoch = in.fixed<uint32_t>();
  header.index_crc = in.fixed<uint32_t>();
  header.prev.slot.owner = in.fixed<uint64_t>();
  header.prev.slot.seq = in.fixed<uint64_t>();
  header.prev.digest = in.array<32>();
  header.author = in.fixed<uint64_t>();
  header.time_base_ms = in.fixed<int64_t>();
  header.entries = in.fixed<uint64_t>();
  header.body_bytes = in.fixed<uint64_t>();
  header.body_digest = in.array<32>();
  const bool known = header.kind == SlotKind::kFragment || header.kind == SlotKind::kFence ||
                     header.kind == SlotKind::kSegment;
  if (!known || (flags & ~(kFlagClosed | kFlagProperties)) != 0) {
    return newer("it is of kind " + std::to_string(static_cast<uint16_t>(header.kind)) +
                 " with flags " + std::to_string(flags) + ", which this program does not know");
  }
  if (!makes_sense(header)) return corrupt("its header makes no sense");
  return header;
}

Digest header_digest(const SlotHeader& header, Bytes head) {
  return sha256(head.first(header.header_bytes));
}

// ------------------------------------------------------------------------------------------ index

const Run* SlotIndex::run_of(LogId log) const {
  const auto it = std::lower_bound(runs.begin(), runs.end(), log,
                                   [](const Run& run, LogId id) { return run.log < id; });
  return it == runs.end() || it->log != log ? nullptr : &*it;
}

const Run* SlotIndex::run_as(const RunRow& row) const {
  const Run* run = run_of(row.log);
  return run != nullptr && run->lsn_first == row.lsn_first && run->count == row.count ? run
                                                                                      : nullptr;
}

uint32_t SlotIndex::piece_at(const Run& run, Lsn lsn) const {
  const auto begin = pieces.begin() + run.piece_first;
  const auto it =
      std::upper_bound(begin, begin + run.pieces, lsn,
                       [](Lsn wanted, const Piece& piece) { return wanted < piece.lsn_first; });
  return static_cast<uint32_t>(it - pieces.begin()) - (it == begin ? 0 : 1);
}

size_t SlotIndex::memory_bytes() const {
  size_t held = 0;
  for (const Record& record : records) {
    held += record.name.capacity() + record.runs.capacity() * sizeof(RunRow) +
            record.objects.capacity() * sizeof(ObjectRange);
  }
  for (const PropertySet& set : properties) held += set.hashes.capacity() * sizeof(uint32_t);
  return sizeof *this + held + properties.capacity() * sizeof(PropertySet) +
         records.capacity() * sizeof(Record) + blocks.capacity() * sizeof(BlockInfo) +
         runs.capacity() * sizeof(Run) + pieces.capacity() * sizeof(Piece);
}

namespace {

void encode_publication(const Record& record, ByteVector& out) {
  put_varint(out, plain_number(record.segment.seq));
  put_varint(out, record.segment.bytes);
  put_varint(out, record.segment.entries);
  put_varint(out, record.runs.size());
  LogId before = 0;
  for (const RunRow& run : record.runs) {
    put_varint(out, run.log - before);
    put_varint(out, run.lsn_first);
    put_varint(out, run.count);
    put_varint(out, run.bytes_begin);
    put_varint(out, run.bytes);
    put_varint(out, zigzag(run.time_first_ms));
    put_varint(out, zigzag(minus(run.time_last_ms, run.time_first_ms)));
    before = run.log;
  }
}

bool decode_publication(ByteParser& in, Record* record) {
  SlotRow& segment = record->segment;
  const uint64_t number = in.varint();
  segment.seq = kSegmentFirst + number;
  segment.bytes = in.varint();
  segment.entries = in.varint();
  const uint64_t runs = in.varint();
  if (!in.ok() || number > kSeqMax || segment.bytes == 0 || segment.bytes > kObjectBytesMax ||
      runs == 0 || runs > in.left()) {
    return false;
  }
  LogId before = 0;
  uint64_t entries_left = segment.entries;
  for (uint64_t i = 0; i < runs; ++i) {
    RunRow& run = record->runs.emplace_back();
    const uint64_t step = in.varint();
    run.log = before + step;
    run.lsn_first = in.varint();
    run.count = in.varint();
    run.bytes_begin = in.varint();
    run.bytes = in.varint();
    run.time_first_ms = unzigzag(in.varint());
    run.time_last_ms = plus(run.time_first_ms, unzigzag(in.varint()));
    if (!in.ok() || step == 0 || step >= kNumberEnd || run.log >= kNumberEnd ||
        run.lsn_first == 0 || run.lsn_first >= kNumberEnd || run.count == 0 ||
        run.count > kNumberEnd - run.lsn_first || run.count > entries_left ||
        run.bytes > UINT64_MAX - run.bytes_begin) {
      return false;
    }
    before = run.log;
    entries_left -= run.count;
  }
  return true;
}

void encode_forgotten(const Record& record, ByteVector& out) {
  put_varint(out, record.segment.bytes);
  put_varint(out, record.objects.size());
  for (const ObjectRange& range : record.objects) {
    put_fixed<uint8_t>(out, is_segment(range.seq_first) ? 1 : 0);
    put_varint(out, range.epoch);
    put_varint(out, plain_number(range.seq_first));
    put_varint(out, range.count);
  }
}

bool decode_forgotten(ByteParser& in, Record* record) {
  record->segment.bytes = in.varint();
  const uint64_t ranges = in.varint();
  if (!in.ok() || ranges == 0 || ranges > in.left()) return false;
  uint64_t left = kForgottenMax;
  for (uint64_t i = 0; i < ranges; ++i) {
    const auto kind = in.fixed<uint8_t>();
    const uint64_t epoch = in.varint(), number = in.varint(), count = in.varint();
    if (!in.ok() || kind > 1 || epoch == 0 || epoch > UINT32_MAX || number > kSeqMax ||
        count == 0 || count > left || count - 1 > kSeqMax - number) {
      return false;
    }
    left -= count;
    record->objects.push_back(
        {static_cast<Epoch>(epoch), kind == 1 ? kSegmentFirst + number : number, count});
  }
  return true;
}

void encode_of_log(const Record& record, ByteVector& out) {
  put_varint(out, record.log);
  if (record.type == RecordType::kCreate || record.type == RecordType::kCursorDrop) {
    put_text(out, record.name);
  }
  if (record.type == RecordType::kTruncate) {
    put_varint(out, record.lsn_first);
    put_varint(out, record.bytes_begin);
  }
  if (record.type == RecordType::kRetain) put_retention(out, record.retention);
  if (record.type == RecordType::kCursor) {
    put_cursor(out, {record.name, record.lsn_first, record.time_ms});
  }
}

bool decode_of_log(ByteParser& in, Record* record) {
  record->log = in.varint();
  if (record->log == 0 || record->log >= kNumberEnd) return false;
  if (record->type == RecordType::kCreate) {
    record->name = in.text();
    return !record->name.empty() && record->name.size() <= kLogNameBytesMax;
  }
  if (record->type == RecordType::kTruncate) {
    record->lsn_first = in.varint();
    record->bytes_begin = in.varint();
    return record->lsn_first != 0 && record->lsn_first <= kNumberEnd;
  }
  if (record->type == RecordType::kRetain) return read_retention(in, &record->retention);
  if (record->type == RecordType::kCursor) {
    CursorRow cursor;
    if (!read_cursor(in, &cursor)) return false;
    record->name = std::move(cursor.name);
    record->lsn_first = cursor.committed;
    record->time_ms = cursor.time_ms;
  }
  if (record->type == RecordType::kCursorDrop) {
    record->name = in.text();
    return is_cursor_name(record->name);
  }
  return true;
}

void encode_record(const Record& record, ByteVector& out) {
  ByteVector body;
  if (record.type == RecordType::kPublish) {
    encode_publication(record, body);
  } else if (record.type == RecordType::kForget) {
    encode_forgotten(record, body);
  } else {
    encode_of_log(record, body);
  }
  put_varint(out, static_cast<uint64_t>(record.type));
  put_varint(out, body.size());
  put_bytes(out, body);
}

Status decode_record(ByteParser& in, Record* record) {
  const uint64_t type = in.varint();
  ByteParser body(in.bytes(in.varint()));
  if (!in.ok()) return corrupt("its index is cut in a record");
  if (type == 0 || type > static_cast<uint64_t>(RecordType::kForget)) {
    return newer("it holds a record of type " + std::to_string(type) +
                 ", which this program does not know");
  }
  record->type = static_cast<RecordType>(type);
  const bool fits = record->type == RecordType::kPublish  ? decode_publication(body, record)
                    : record->type == RecordType::kForget ? decode_forgotten(body, record)
                                                          : decode_of_log(body, record);
  return fits && body.done() ? Status() : corrupt("a record in its index makes no sense");
}

void encode_run(const SlotIndex& index, const Run& run, LogId log_before, int64_t time_base_ms,
                ByteVector& out) {
  put_varint(out, run.log - log_before);
  put_varint(out, run.lsn_first);
  put_varint(out, run.bytes);
  put_varint(out, zigzag(minus(run.time_first_ms, time_base_ms)));
  put_varint(out, run.pieces);
  int64_t time = run.time_first_ms;
  for (uint32_t i = 0; i < run.pieces; ++i) {
    const Piece& piece = index.pieces[run.piece_first + i];
    if (i == 0) {
      put_varint(out, piece.block);
      put_varint(out, piece.offset);
    }
    put_varint(out, piece.bytes);
    put_varint(out, piece.count);
    put_varint(out, zigzag(minus(piece.time_last_ms, time)));
    time = piece.time_last_ms;
  }
}

// The pieces of a run follow each other through the blocks: each but the first begins its block.
bool decode_run(ByteParser& in, LogId log_before, int64_t time_base_ms, SlotIndex& index) {
  Run run;
  const uint64_t step = in.varint();
  run.log = log_before + step;
  run.lsn_first = in.varint();
  run.bytes = in.varint();
  run.time_first_ms = plus(time_base_ms, unzigzag(in.varint()));
  const uint64_t pieces = in.varint();
  if (!in.ok() || step == 0 || step >= kNumberEnd || run.log >= kNumberEnd || run.lsn_first == 0 ||
      run.lsn_first >= kNumberEnd || pieces == 0 || pieces > in.left()) {
    return false;
  }
  run.piece_first = static_cast<uint32_t>(index.pieces.size());
  run.pieces = static_cast<uint32_t>(pieces);
  run.time_last_ms = run.time_first_ms;
  uint64_t block = in.varint(), offset = in.varint();
  for (uint64_t i = 0; i < pieces; ++i, ++block, offset = 0) {
    Piece piece;
    const uint64_t bytes = in.varint();
    piece.count = in.varint();
    run.time_last_ms = plus(run.time_last_ms, unzigzag(in.varint()));
    if (!in.ok() || block >= index.blocks.size() || bytes == 0 || piece.count == 0 ||
        piece.count > bytes || offset > index.blocks[block].raw_bytes ||
        bytes > index.blocks[block].raw_bytes - offset) {
      return false;
    }
    piece.block = static_cast<uint32_t>(block);
    piece.offset = static_cast<uint32_t>(offset);
    piece.bytes = static_cast<uint32_t>(bytes);
    piece.lsn_first = run.lsn_first + run.count;
    piece.time_last_ms = run.time_last_ms;
    run.count += piece.count;
    index.pieces.push_back(piece);
  }
  if (run.count > kNumberEnd - run.lsn_first) return false;
  index.runs.push_back(run);
  return true;
}

Status decode_blocks(ByteParser& in, const SlotHeader& header, SlotIndex& index) {
  const Status nonsense = corrupt("its index of blocks makes no sense");
  const uint64_t count = in.varint();
  if (count > in.left()) return nonsense;
  uint64_t offset = uint64_t{header.header_bytes} + header.index_bytes;
  for (uint64_t i = 0; i < count; ++i) {
    BlockInfo block;
    const uint64_t raw = in.varint(), stored = in.varint();
    const auto codec = in.fixed<uint8_t>();
    block.crc = in.fixed<uint32_t>();
    if (!in.ok()) return nonsense;
    if (codec > 1) {
      return newer("a block is compressed in way " + std::to_string(codec) +
                   ", which this program does not know");
    }
    if (raw == 0 || raw > UINT32_MAX || stored > UINT32_MAX || (codec == 0 && raw != stored)) {
      return nonsense;
    }
    block.offset = offset;
    block.stored_bytes = static_cast<uint32_t>(stored);
    block.raw_bytes = static_cast<uint32_t>(raw);
    block.compressed = codec == 1;
    offset += stored;
    index.blocks.push_back(block);
  }
  return offset == header.object_bytes() ? Status() : nonsense;
}

// A number, and so many hashes: 0 that they are not known, else one more than they are.
void encode_property_set(const PropertySet& set, ByteVector& out) {
  put_varint(out, set.unknown ? 0 : set.hashes.size() + 1);
  if (set.unknown) return;
  for (const uint32_t hash : set.hashes) put_fixed(out, hash);
}

bool decode_property_set(ByteParser& in, PropertySet* set) {
  const uint64_t number = in.varint();
  if (!in.ok() || number > kPropertyHashesMax + 1) return false;
  set->unknown = number == 0;
  for (uint64_t i = 1; i < number; ++i) {
    const auto hash = in.fixed<uint32_t>();
    if (!in.ok() || (i > 1 && hash <= set->hashes.back())) return false;
    set->hashes.push_back(hash);
  }
  return true;
}

// Written only where a property is: a section that says nothing is damage.
bool decode_properties(ByteParser& in, SlotIndex& index) {
  bool any = false;
  for (size_t i = 0; i < index.pieces.size(); ++i) {
    if (!decode_property_set(in, &index.properties.emplace_back())) return false;
    any |= !index.properties.back().empty();
  }
  return any;
}

}  // namespace

ByteVector encode_index(const SlotIndex& index, int64_t time_base_ms) {
  ByteVector out;
  put_varint(out, index.records.size());
  for (const Record& record : index.records) encode_record(record, out);
  put_varint(out, index.blocks.size());
  for (const BlockInfo& block : index.blocks) {
    put_varint(out, block.raw_bytes);
    put_varint(out, block.stored_bytes);
    put_fixed<uint8_t>(out, block.compressed ? 1 : 0);
    put_fixed(out, block.crc);
  }
  put_varint(out, index.runs.size());
  LogId before = 0;
  for (const Run& run : index.runs) {
    encode_run(index, run, before, time_base_ms, out);
    before = run.log;
  }
  for (const PropertySet& set : index.properties) encode_property_set(set, out);
  return out;
}

std::shared_ptr<ByteVector> assemble(SlotHeader& header, SlotIndex& index, Bytes blocks) {
  const ByteVector index_bytes = encode_index(index, header.time_base_ms);
  uint64_t offset = kSlotHeaderBytes + index_bytes.size();
  for (BlockInfo& info : index.blocks) {
    info.offset = offset;
    offset += info.stored_bytes;
  }
  auto object = std::make_shared<ByteVector>();
  object->reserve(offset);
  object->resize(kSlotHeaderBytes);
  put_bytes(*object, index_bytes);
  put_bytes(*object, blocks);
  header.properties = !index.properties.empty();
  header.body_bytes = offset - kSlotHeaderBytes;
  header.body_digest = sha256(Bytes(*object).subspan(kSlotHeaderBytes));
  header.index_bytes = static_cast<uint32_t>(index_bytes.size());
  header.index_crc = crc32c(index_bytes);
  return object;
}

Result<SlotIndex> decode_index(const SlotHeader& header, Bytes bytes) {
  SlotIndex index;
  if (bytes.size() != header.index_bytes || crc32c(bytes) != header.index_crc) {
    return corrupt("its index does not match its checksum");
  }
  if (bytes.empty()) {  // of a fence
    if (header.kind != SlotKind::kFence) return corrupt("it has no index");
    return index;
  }
  ByteParser in(bytes);
  const uint64_t records = in.varint();
  if (records > in.left() || (records != 0 && header.kind == SlotKind::kSegment)) {
    return corrupt("its index makes no sense");
  }
  for (uint64_t i = 0; i < records; ++i) {
    if (Status status = decode_record(in, &index.records.emplace_back()); !status.ok()) {
      return status;
    }
  }
  if (Status status = decode_blocks(in, header, index); !status.ok()) return status;
  const uint64_t runs = in.varint();
  if (runs > in.left()) return corrupt("its index makes no sense");
  LogId before = 0;
  uint64_t entries = 0;
  for (uint64_t i = 0; i < runs; ++i) {
    if (!decode_run(in, before, header.time_base_ms, index)) {
      return corrupt("its index of runs makes no sense");
    }
    before = index.runs.back().log;
    entries += index.runs.back().count;
  }
  if (header.properties && !decode_properties(in, index)) {
    return corrupt("its index of properties makes no sense");
  }
  if (!in.done() || entries != header.entries) return corrupt("its index makes no sense");
  return index;
}

// ------------------------------------------------------------------------------------------ block

namespace {

// One of each a thread: they hold a megabyte or so, which is not to be found anew for each block.
struct Compressor {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::unique_ptr<std::byte[]> room;  // for what a block becomes; kept unless it is very large
  size_t room_bytes = 0;

  ~Compressor() { ZSTD_freeCCtx(context); }
  void make_room(size_t bytes) {
    if (bytes <= room_bytes) return;
    room = std::make_unique_for_overwrite<std::byte[]>(bytes);
    room_bytes = bytes;
  }
  void leave_room() {
    if (room_bytes <= kRoomBytesKept) return;
    room.reset();
    room_bytes = 0;
  }

 private:
  static constexpr size_t kRoomBytesKept = 1u << 20;
};
struct Decompressor {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ~Decompressor() { ZSTD_freeDCtx(context); }
};

}  // namespace

BlockInfo encode_block(Bytes raw, int level, ByteVector& out) {
  BlockInfo block;
  block.raw_bytes = static_cast<uint32_t>(raw.size());
  const size_t begin = out.size();
  if (level != 0) {
    static thread_local Compressor compressor;
    compressor.make_room(ZSTD_compressBound(raw.size()));
    const size_t size = ZSTD_compressCCtx(compressor.context, compressor.room.get(),
                                          compressor.room_bytes, raw.data(), raw.size(), level);
    block.compressed = !ZSTD_isError(size) && size < raw.size();
    if (block.compressed) put_bytes(out, Bytes(compressor.room.get(), size));
    compressor.leave_room();
  }
  if (!block.compressed) put_bytes(out, raw);
  block.stored_bytes = static_cast<uint32_t>(out.size() - begin);
  block.crc = crc32c(Bytes(out).subspan(begin));
  return block;
}

Result<BlockPtr> decode_block(const BlockInfo& block, Bytes stored, BlockPool* pool) {
  if (stored.size() != block.stored_bytes) return corrupt("a block is cut");
  if (crc32c(stored) != block.crc) return corrupt("a block does not match its checksum");
  if (block.compressed &&
      ZSTD_getFrameContentSize(stored.data(), stored.size()) != block.raw_bytes) {
    return corrupt("a block has another size than the index says");
  }
  auto raw = pool == nullptr ? std::make_shared<Block>(block.raw_bytes)
                             : std::make_shared<Block>(block.raw_bytes, *pool);
  raw->size = block.raw_bytes;
  if (!block.compressed) {
    std::memcpy(raw->data.get(), stored.data(), stored.size());
    return BlockPtr(std::move(raw));
  }
  static thread_local Decompressor decompressor;
  const size_t size = ZSTD_decompressDCtx(decompressor.context, raw->data.get(), raw->size,
                                          stored.data(), stored.size());
  if (ZSTD_isError(size) || size != raw->size) return corrupt("a block cannot be decompressed");
  return BlockPtr(std::move(raw));
}

// ---------------------------------------------------------------------------------------- entries

size_t properties_bytes(std::span<const Property> properties) {
  size_t bytes = 0;
  for (const Property& property : properties) {
    bytes += varint_bytes(property.key.size()) + property.key.size() +
             varint_bytes(property.value.size()) + property.value.size();
  }
  return bytes;
}

namespace {

std::byte* store_text(std::byte* at, std::string_view text) {
  at = store_varint(at, text.size());
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

}  // namespace

std::byte* store_properties(std::byte* at, std::span<const Property> properties) {
  for (const Property& property : properties) {
    at = store_text(at, property.key);
    at = store_text(at, property.value);
  }
  return at;
}

Bytes encoded_properties(std::span<const Property> properties) {
  if (properties.empty()) return {};
  static thread_local ByteVector buffer;
  buffer.resize(properties_bytes(properties));
  store_properties(buffer.data(), properties);
  return buffer;
}

std::byte* store_entry(std::byte* at, int64_t time_delta_ms, Bytes properties, Bytes payload) {
  at = store_varint(at, payload.size() << 1 | (properties.empty() ? 0 : 1));
  at = store_varint(at, zigzag(time_delta_ms));
  if (!properties.empty()) at = store_text(at, as_text(properties));
  if (!payload.empty()) std::memcpy(at, payload.data(), payload.size());
  return at + payload.size();
}

bool copy_entries(Bytes piece, uint64_t count, int64_t time_base_ms, int64_t time_base_new_ms,
                  ByteVector& out, std::vector<CopiedEntry>* copied) {
  const size_t bytes_before = out.size(), copied_before = copied->size();
  ByteParser in(piece);
  uint64_t left = count;
  for (; left > 0 && !in.done(); --left) {
    const uint64_t size = in.varint();
    const int64_t time_ms = plus(time_base_ms, unzigzag(in.varint()));
    const std::byte* rest = in.at();  // properties and payload stay as they are
    if ((size & 1) != 0) in.bytes(in.varint());
    in.bytes(size >> 1);
    if (!in.ok()) break;
    const size_t begin = out.size();
    put_varint(out, size);
    put_varint(out, zigzag(minus(time_ms, time_base_new_ms)));
    put_bytes(out, Bytes(rest, static_cast<size_t>(in.at() - rest)));
    copied->push_back({static_cast<uint32_t>(out.size() - begin), time_ms});
  }
  if (left == 0 && in.done()) return true;
  out.resize(bytes_before);
  copied->resize(copied_before);
  return false;
}

// ------------------------------------------------------------------------------------- properties

// Of the sums of both, so that nothing must be put together to be hashed.
uint32_t property_hash(std::string_view key, std::string_view value) {
  std::array<std::byte, 8> sums;
  store_fixed(sums.data(), crc32c(as_bytes(key)));
  store_fixed(sums.data() + 4, crc32c(as_bytes(value)));
  return crc32c(sums);
}

void PropertySet::add(uint32_t hash) {
  if (unknown) return;
  const auto at = std::lower_bound(hashes.begin(), hashes.end(), hash);
  if (at != hashes.end() && *at == hash) return;
  if (hashes.size() == kPropertyHashesMax) {
    unknown = true;
    hashes.clear();
    return;
  }
  hashes.insert(at, hash);
}

bool PropertySet::may_hold(std::span<const uint32_t> wanted) const {
  return unknown || std::all_of(wanted.begin(), wanted.end(), [this](uint32_t hash) {
           return std::binary_search(hashes.begin(), hashes.end(), hash);
         });
}

void add_properties(Bytes properties, PropertySet& set) {
  ByteParser in(properties);
  while (!in.done() && !set.unknown) {
    const std::string_view key = in.text();
    const std::string_view value = in.text();
    if (!in.ok()) {  // then nothing can be said of it
      set.unknown = true;
      set.hashes.clear();
      return;
    }
    set.add(property_hash(key, value));
  }
}

void add_properties_of_entries(Bytes piece, PropertySet& set) {
  ByteParser in(piece);
  Bytes last;
  while (!in.done() && !set.unknown) {
    const uint64_t size = in.varint();
    (void)in.varint();
    const Bytes properties = (size & 1) != 0 ? in.bytes(in.varint()) : Bytes();
    (void)in.bytes(size >> 1);
    if (!in.ok()) {
      set.unknown = true;
      set.hashes.clear();
      return;
    }
    // Mostly they are those of the entry before.
    if (!std::equal(properties.begin(), properties.end(), last.begin(), last.end())) {
      add_properties(properties, set);
      last = properties;
    }
  }
}

// -------------------------------------------------------------------------------- walking entries

bool EntryCursor::parse(Entry* entry) {
  ByteParser in(Bytes(at_, static_cast<size_t>(end_ - at_)));
  const uint64_t size = in.varint();
  const int64_t time = plus(time_base_ms_, unzigzag(in.varint()));
  const Bytes properties = (size & 1) != 0 ? in.bytes(in.varint()) : Bytes();
  const Bytes payload = in.bytes(size >> 1);
  if (!in.ok()) return false;
  at_ = payload.data() + payload.size();
  if (entry != nullptr) {
    entry->lsn = lsn_;
    entry->time_ms = time;
    entry->payload = payload;
    entry->stored = true;  // the same Entry may have been given something else before
    entry->properties_ = properties;
    if (entry->hold_ != hold_) entry->hold_ = hold_;  // to count costs more than to compare
  }
  ++lsn_;
  return true;
}

bool EntryCursor::next(Entry* entry) {
  return parse(entry);
}

bool EntryCursor::skip() {
  return parse(nullptr);
}

std::vector<Property> Entry::properties() const {
  std::vector<Property> out;
  ByteParser in(properties_);
  while (in.ok() && !in.done()) {
    Property property{in.text(), {}};
    property.value = in.text();
    if (in.ok()) out.push_back(property);
  }
  return out;
}

std::optional<std::string_view> Entry::property(std::string_view key) const {
  ByteParser in(properties_);
  while (in.ok() && !in.done()) {
    const std::string_view found = in.text();
    const std::string_view value = in.text();
    if (in.ok() && found == key) return value;
  }
  return std::nullopt;
}

}  // namespace wp
