#include "tests/format_samples.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "engine/checkpoint.h"
#include "engine/ledger.h"
#include "tests/sim_store.h"

namespace wp {
namespace {

constexpr Nonce kCreator = 0x0123456789abcdef;
constexpr Nonce kSecondOwner = 0xfedcba9876543210;

Result<std::vector<BlockPtr>> decode_blocks(const SlotIndex& index, Bytes object) {
  std::vector<BlockPtr> blocks;
  for (const BlockInfo& info : index.blocks) {
    auto block = decode_block(info, object.subspan(info.offset, info.stored_bytes));
    if (!block) return block.status();
    blocks.push_back(*std::move(block));
  }
  return blocks;
}

// Where the header's own length says that its checksum is.
bool repair_header(ByteVector& object, size_t bytes_min) {
  if (object.size() < 12) return false;
  const size_t bytes = ByteParser(Bytes(object).subspan(10)).fixed<uint16_t>();
  if (bytes < bytes_min || bytes > object.size()) return false;
  store_fixed(object.data() + bytes - 4, crc32c(Bytes(object).first(bytes - 4)));
  return true;
}

}  // namespace

// ------------------------------------------------------------------------------------------ making

BatchMaker::BatchMaker(int64_t time_base_ms, size_t chunk_bytes) : chunk_bytes_(chunk_bytes) {
  batch_.time_base_ms = time_base_ms;
}

void BatchMaker::entry(LogId log, Lsn lsn_first, int64_t time_ms, std::string_view payload,
                       std::span<const Property> properties) {
  auto run = std::find_if(batch_.runs.begin(), batch_.runs.end(),
                          [log](const BatchRun& each) { return each.log->id == log; });
  if (run == batch_.runs.end()) {
    BatchRun begun;
    begun.log = std::make_shared<LogState>(log, "log");
    begun.lsn_first = lsn_first;
    begun.time_first_ms = time_ms;
    run = batch_.runs.insert(run, begun);
  }
  ByteVector encoded(properties_bytes(properties));
  store_properties(encoded.data(), properties);
  ++run->count;
  run->bytes += payload.size() + encoded.size();
  run->time_last_ms = time_ms;
  ++batch_.entries;

  const size_t most = payload.size() + encoded.size() + kEntryOverheadBytesMax;
  auto& chunks = batch_.chunks;
  if (chunks.empty() || chunks.back()->capacity - chunks.back()->size < most) {
    chunks.push_back(std::make_shared<Block>(std::max(chunk_bytes_, most)));
  }
  Block& chunk = *chunks.back();
  std::byte* const at = chunk.data.get() + chunk.size;
  const auto bytes = static_cast<uint32_t>(
      store_entry(at, time_ms - batch_.time_base_ms, encoded, as_bytes(payload)) - at);
  const auto run_number = static_cast<uint32_t>(run - batch_.runs.begin());
  const auto chunk_number = static_cast<uint32_t>(chunks.size() - 1);
  auto& spans = batch_.spans;
  if (spans.empty() || spans.back().run != run_number || spans.back().chunk != chunk_number) {
    spans.push_back({run_number, chunk_number, static_cast<uint32_t>(chunk.size), 0, 0, 0});
  }
  spans.back().bytes += bytes;
  ++spans.back().count;
  spans.back().time_last_ms = time_ms;
  chunk.size += bytes;
  batch_.bytes += bytes;
}

ChainMaker::ChainMaker(const RootObject& root) : root_(root.id), next_{1, root.creator, 0} {
  last_.digest = sha256(encode_root(root));
}

ByteVector ChainMaker::fragment(BatchMaker& maker, uint32_t block_bytes, int level, bool closed) {
  Batch& batch = maker.batch();
  batch.last = closed;
  batch.header.kind = SlotKind::kFragment;
  batch.header.root = root_;
  batch.header.slot = next_;
  batch.header.prev = last_;
  batch.header.author = next_.owner;
  const auto pool = std::make_shared<BlockPool>(block_bytes, 0);
  seal(batch, block_bytes, level, *pool);
  encode_header(batch.header, batch.body->data());
  last_ = {next_, header_digest(batch.header, *batch.body)};
  next_ = batch.header.next();
  return *batch.body;
}

ByteVector ChainMaker::fence(Nonce author) {
  SlotHeader header;
  header.kind = SlotKind::kFence;
  header.root = root_;
  header.slot = next_;
  header.prev = last_;
  header.author = author;
  header.body_digest = sha256({});
  header.index_crc = crc32c({});
  ByteVector object(kSlotHeaderBytes);
  encode_header(header, object.data());
  last_ = {next_, header_digest(header, object)};
  next_ = header.next();
  return object;
}

ByteVector ChainMaker::segment(BatchMaker& maker, uint64_t number, uint32_t block_bytes,
                               int level) const {
  Batch& batch = maker.batch();
  batch.header.kind = SlotKind::kSegment;
  batch.header.root = root_;
  batch.header.slot = {next_.epoch, next_.owner, kSegmentFirst + number};
  batch.header.author = next_.owner;
  const auto pool = std::make_shared<BlockPool>(block_bytes, 0);
  seal(batch, block_bytes, level, *pool);
  encode_header(batch.header, batch.body->data());
  return *batch.body;
}

RootObject sample_root() {
  RootObject root;
  for (size_t i = 0; i < root.id.size(); ++i) root.id[i] = static_cast<std::byte>(i * 0x11);
  root.creator = kCreator;
  return root;
}

namespace {

void fill_one_log(BatchMaker& maker) {
  const Property host[] = {{"host", "web1"}, {"empty", ""}};
  maker.record({RecordType::kCreate, 1, "orders", 0, 0});
  maker.entry(1, 1, kSampleTimeMs, "first");
  maker.entry(1, 1, kSampleTimeMs + 5, "", host);
  maker.entry(1, 1, kSampleTimeMs + 5, "");
  maker.entry(1, 1, kSampleTimeMs + 1000, "the fourth entry stands in the second block");
}

// Log 2's clock was ahead of the batch's, log 300's is set back within it.
void fill_many_logs(BatchMaker& maker) {
  const Property binary[] = {{"k\xff", std::string_view("\0v", 2)}};
  maker.record({RecordType::kCreate, 2, "audit", 0, 0});
  maker.record({RecordType::kCreate, 300, "caf\xc3\xa9", 0, 0});
  maker.record({RecordType::kCreate, 301, "empty", 0, 0});
  maker.record({RecordType::kTruncate, 1, "", 3, 0});
  maker.record({RecordType::kDrop, 300, "", 0, 0});
  maker.entry(300, 1, kSampleTimeMs + 1'999, "early");
  maker.entry(2, 1, kSampleTimeMs + 90'000, "from the future");
  maker.entry(1, 5, kSampleTimeMs + 2'000, "fifth");
  maker.entry(300, 1, kSampleTimeMs + 2'001, "late", binary);
  maker.entry(1, 5, kSampleTimeMs + 2'001, std::string(100, 'x'));
  maker.entry(2, 1, kSampleTimeMs + 90'000, "the same time again");
  maker.entry(1, 5, kSampleTimeMs + 2'002, "seventh");
}

void fill_compressed(BatchMaker& maker) {
  for (int i = 0; i < 40; ++i) {
    const std::string number = std::to_string(i);
    maker.entry(1 + i % 2, i % 2 == 0 ? 8 : 3, kSampleTimeMs + 100'000 + i,
                "GET /index.html?n=" + number + " HTTP/1.1 200 " + number);
  }
}

void fill_properties(BatchMaker& maker) {
  const Property web1[] = {{"host", "web1"}}, both[] = {{"host", "web1"}, {"level", "error"}};
  maker.record({RecordType::kCreate, 1, "orders", 0, 0});
  maker.record({RecordType::kCreate, 2, "audit", 0, 0});
  maker.record({RecordType::kCreate, 3, "plain", 0, 0});
  maker.entry(1, 1, kSampleTimeMs, "a", both);
  maker.entry(1, 1, kSampleTimeMs + 1, "b", web1);
  maker.entry(3, 1, kSampleTimeMs + 2, "c");
  for (int i = 0; i < 33; ++i) {
    const std::string value = std::to_string(i);
    const Property property[] = {{"n", value}};
    maker.entry(2, 1, kSampleTimeMs + 3, "", property);
  }
  const Property empty[] = {{"", ""}};
  maker.entry(2, 1, kSampleTimeMs + 4, std::string(300, 'd'), empty);
  maker.batch().has_properties = true;
}

SampleObject make_properties() {
  ChainMaker chain(sample_root());
  const std::string key = slot_key(chain.next());
  BatchMaker maker(kSampleTimeMs, 400);
  fill_properties(maker);
  return {"properties", key, chain.fragment(maker, 340, 0)};
}

constexpr uint64_t kSegmentNumber = 7;

void fill_segment(BatchMaker& maker) {
  const Property host[] = {{"host", "web1"}, {"empty", ""}};
  maker.entry(1, 1, kSampleTimeMs, "first");
  maker.entry(1, 1, kSampleTimeMs + 5, "", host);
  maker.entry(1, 1, kSampleTimeMs + 5, "");
  maker.entry(1, 1, kSampleTimeMs + 1000, "the fourth entry stands in the second block");
  maker.entry(2, 1, kSampleTimeMs + 90'000, "from the future");
  maker.entry(2, 1, kSampleTimeMs + 90'000, "the same time again");
}

// The runs of that segment.
std::vector<RunRow> segment_runs() {
  constexpr Seq kSeq = kSegmentFirst + kSegmentNumber;
  return {{1, 1, 4, 2, kSeq, 0, 65, kSampleTimeMs, kSampleTimeMs + 1000},
          {2, 1, 2, 2, kSeq, 0, 34, kSampleTimeMs + 90'000, kSampleTimeMs + 90'000}};
}

constexpr Retention kSampleRetention{Duration{604'800'000}, 1'000'000'000, true,
                                     Duration{86'400'000}, 0};

void fill_upkeep(BatchMaker& maker, uint64_t segment_bytes) {
  Record retain{RecordType::kRetain, 1, "", 0, 0};
  retain.retention = kSampleRetention;
  maker.record(retain);
  maker.record({RecordType::kCursor, 1, "billing", 7, 0, kSampleTimeMs + 2'002});
  maker.record({RecordType::kCursor, 2, "\xe2\x82\xac", 0, 0, -1});
  maker.record({RecordType::kCursorDrop, 2, "\xe2\x82\xac", 0, 0});
  Record publish{RecordType::kPublish, 0, "", 0, 0};
  publish.segment = {0, kSegmentFirst + kSegmentNumber, segment_bytes, 6};
  publish.runs = segment_runs();
  for (RunRow& run : publish.runs) run.epoch = run.seq = 0;
  maker.record(publish);
  Record forget{RecordType::kForget, 0, "", 0, 0};
  forget.segment.bytes = 1'234;
  forget.objects = {{1, 0, 2}, {1, kSegmentFirst, 300}, {2, kSegmentFirst + kSeqMax, 1}};
  maker.record(forget);
}

struct Samples {
  std::vector<SampleObject> journal, upkeep;
};

Samples make_objects() {
  Samples samples;
  std::vector<SampleObject>& out = samples.journal;
  ChainMaker chain(sample_root());
  const auto add = [&](std::string name, auto make) {
    const std::string key = slot_key(chain.next());
    out.push_back({std::move(name), key, make()});
  };
  out.push_back({"root", std::string(kRootKey), encode_root(sample_root())});
  add("one_log", [&] {
    BatchMaker maker(kSampleTimeMs, 80);
    fill_one_log(maker);
    return chain.fragment(maker, 64, 0);
  });
  add("many_logs", [&] {
    BatchMaker maker(kSampleTimeMs + 2'000, 256);
    fill_many_logs(maker);
    return chain.fragment(maker, 48, 0);
  });
  add("closed", [&] {
    BatchMaker maker(kSampleTimeMs + 3'000, 256);
    return chain.fragment(maker, 64, 0, true);
  });
  add("fence", [&] { return chain.fence(kSecondOwner); });
  add("compressed", [&] {
    BatchMaker maker(kSampleTimeMs + 100'000, 4096);
    fill_compressed(maker);
    return chain.fragment(maker, 1024, 1);
  });
  BatchMaker gathered(kSampleTimeMs + 90'000, 256), upkeep(kSampleTimeMs + 200'000, 256);
  fill_segment(gathered);
  const SlotId segment{chain.next().epoch, chain.next().owner, kSegmentFirst + kSegmentNumber};
  samples.upkeep.push_back(
      {"segment", slot_key(segment), chain.segment(gathered, kSegmentNumber, 64, 0)});
  fill_upkeep(upkeep, samples.upkeep[0].bytes.size());
  const std::string key = slot_key(chain.next());
  samples.upkeep.push_back({"upkeep", key, chain.fragment(upkeep, 64, 0)});
  return samples;
}

const Samples& samples() {
  static const Samples samples = make_objects();
  return samples;
}

}  // namespace

std::vector<SampleObject> sample_objects() {
  return samples().journal;
}

std::vector<SampleObject> upkeep_objects() {
  return samples().upkeep;
}

const SampleObject& sample(std::string_view name) {
  for (const auto* objects : {&samples().journal, &samples().upkeep}) {
    for (const SampleObject& each : *objects) {
      if (each.name == name) return each;
    }
  }
  static const SampleObject properties = make_properties();
  if (name == properties.name) return properties;
  std::abort();  // a test asks for what there is
}

ViewDelta sample_view() {
  MemView view(std::make_shared<MemViewData>());
  RamBudget ram(1 << 20);
  Ledger ledger(&view, ram);
  const auto objects = sample_objects();
  ledger.begin_new(sample_root(), sha256(objects[0].bytes), &view);
  for (size_t i = 1; i < objects.size(); ++i) {
    const auto slot = decode_slot(objects[i].bytes);
    const Status applied =
        ledger.apply(slot->header, header_digest(slot->header, objects[i].bytes), slot->index);
    if (!applied.ok()) return {};
  }
  return ledger.take();
}

ByteVector sample_checkpoint() {
  MemView view(std::make_shared<MemViewData>());
  if (!view.apply(sample_view()).ok()) return {};
  auto encoded = encode_checkpoint(view, 1);
  return encoded ? *std::move(encoded) : ByteVector();
}

ViewDelta upkeep_view() {
  ViewDelta delta = sample_view();
  for (LogRow& log : delta.logs) {
    if (log.id == 1) log.settings = {kSampleRetention, {}};
    if (log.id != 301) log.settings.cursors = {{"billing", 7, kSampleTimeMs}, {"mail", 0, -1}};
  }
  delta.published = segment_runs();
  delta.slots.push_back({2, kSegmentFirst + kSegmentNumber, 345, 6});
  delta.slots[0].dead = delta.head.slots;
  return delta;
}

ByteVector upkeep_checkpoint() {
  MemView view(std::make_shared<MemViewData>());
  if (!view.apply(upkeep_view()).ok()) return {};
  auto encoded = encode_checkpoint(view, 1);
  return encoded ? *std::move(encoded) : ByteVector();
}

// ---------------------------------------------------------------------------------------- decoding

Result<DecodedSlot> decode_slot(Bytes object) {
  auto header = decode_header(object);
  if (!header) return header.status();
  if (header->object_bytes() != object.size()) return Status(Code::kCorrupt, "it is cut");
  auto index = decode_index(*header, object.subspan(header->header_bytes, header->index_bytes));
  if (!index) return index.status();
  auto blocks = decode_blocks(*index, object);
  if (!blocks) return blocks.status();
  return DecodedSlot{*header, *std::move(index), *std::move(blocks)};
}

Result<std::vector<Entry>> decode_run(const DecodedSlot& slot, const Run& run) {
  std::vector<Entry> entries;
  for (uint32_t i = run.piece_first; i < run.piece_first + run.pieces; ++i) {
    const Piece& piece = slot.index.pieces[i];
    const BlockPtr& block = slot.blocks[piece.block];
    EntryCursor cursor(block, block->bytes().subspan(piece.offset, piece.bytes), piece.lsn_first,
                       slot.header.time_base_ms);
    const size_t before = entries.size();
    while (!cursor.done()) {
      Entry entry;
      if (!cursor.next(&entry)) return Status(Code::kCorrupt, "an entry makes no sense");
      entries.push_back(entry);
    }
    if (entries.size() - before != piece.count) {
      return Status(Code::kCorrupt, "there are not so many");
    }
  }
  return entries;
}

// --------------------------------------------------------------------------------------- repairing

bool repair_root(ByteVector& object) {
  return repair_header(object, 16);
}

bool repair_slot(ByteVector& object, bool index) {
  if (object.size() < kSlotHeaderBytes) return false;
  const size_t begin = ByteParser(Bytes(object).subspan(10)).fixed<uint16_t>();
  const size_t bytes = ByteParser(Bytes(object).subspan(36)).fixed<uint32_t>();
  if (index && begin <= object.size() && bytes <= object.size() - begin) {
    store_fixed(object.data() + 60, crc32c(Bytes(object).subspan(begin, bytes)));
  }
  return repair_header(object, kSlotHeaderBytes);
}

bool repair_checkpoint(ByteVector& object) {
  if (object.size() < 128) return false;
  const size_t begin = ByteParser(Bytes(object).subspan(10)).fixed<uint16_t>();
  if (begin < 128 || begin > object.size()) return false;
  const Bytes payload = Bytes(object).subspan(begin);
  store_fixed<uint64_t>(object.data() + 112, payload.size());
  store_fixed(object.data() + 120, crc32c(payload));
  return repair_header(object, 128);
}

}  // namespace wp
