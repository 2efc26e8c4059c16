// C30: the bytes of every object are what docs/FORMAT.md says, and stay so. The golden bytes were
// written once by the library and have been read by a program that knows only that page. Where they
// no longer fit, the format has changed: that needs a new version, not new golden bytes.
#include <doctest/doctest.h>
#include <zstd.h>

#include <algorithm>
#include <map>

#include "engine/checkpoint.h"
#include "tests/format_samples.h"
#include "tests/sim_store.h"
#include "tests/test_root.h"

namespace wp {
namespace {

struct Golden {
  std::string_view name;
  std::string_view hex;  // with blanks
};
constexpr Golden kGolden[] = {
#include "tests/format_golden.inc"
};

ByteVector golden(std::string_view name) {
  ByteVector out;
  for (const Golden& each : kGolden) {
    if (each.name != name) continue;
    std::string digits;
    std::copy_if(each.hex.begin(), each.hex.end(), std::back_inserter(digits),
                 [](char c) { return c != ' '; });
    for (size_t i = 0; i + 1 < digits.size(); i += 2) {
      out.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    }
  }
  REQUIRE(!out.empty());
  return out;
}

// The bytes themselves are shown where they differ.
void check_golden(std::string_view name, const ByteVector& bytes) {
  INFO(name << " is now " << to_hex(bytes));
  CHECK((bytes == golden(name)));
}

std::vector<std::string> texts_of(const std::vector<Entry>& entries) {
  std::vector<std::string> texts;
  for (const Entry& entry : entries) texts.emplace_back(entry.text());
  return texts;
}

std::vector<int64_t> times_of(const std::vector<Entry>& entries) {
  std::vector<int64_t> times;
  for (const Entry& entry : entries) times.push_back(entry.time_ms - kSampleTimeMs);
  return times;
}

DecodedSlot decoded(const ByteVector& object) {
  auto slot = decode_slot(object);
  require_ok(slot.status());
  return *std::move(slot);
}

std::vector<Entry> entries_of(const DecodedSlot& slot, LogId log) {
  const Run* run = slot.index.run_of(log);
  REQUIRE(run != nullptr);
  auto entries = decode_run(slot, *run);
  require_ok(entries.status());
  return *std::move(entries);
}

ByteVector decompressed(Bytes frame) {
  ByteVector out(1 << 20);
  const size_t size = ZSTD_decompress(out.data(), out.size(), frame.data(), frame.size());
  REQUIRE_FALSE(ZSTD_isError(size));
  out.resize(size);
  return out;
}

constexpr size_t kRootBytes = 40, kCheckpointTotalsAt = kCheckpointHeaderBytes;

}  // namespace

// --------------------------------------------------------------------------------- golden bytes

TEST_CASE("C30: every object is stored in the golden bytes") {
  for (const SampleObject& object : sample_objects()) {
    if (object.name == "compressed") continue;  // zstd's versions differ
    check_golden(object.name, object.bytes);
  }
  for (const SampleObject& object : upkeep_objects()) check_golden(object.name, object.bytes);
}

TEST_CASE("C30: what is said of properties is stored in the golden bytes, and read") {
  check_golden("properties", sample("properties").bytes);
  const DecodedSlot slot = decoded(golden("properties"));
  CHECK(slot.header.properties);
  CHECK_FALSE(decoded(golden("one_log")).header.properties);
  const auto& properties = slot.index.properties;
  REQUIRE(properties.size() == slot.index.pieces.size());
  REQUIRE(properties.size() == 4);
  const uint32_t web1 = property_hash("host", "web1"), error = property_hash("level", "error");
  CHECK(web1 == 0xc0941eda);
  CHECK(properties[0].hashes ==
        std::vector<uint32_t>{std::min(web1, error), std::max(web1, error)});
  CHECK(properties[1].unknown);
  CHECK(properties[2].hashes == std::vector<uint32_t>{property_hash("", "")});
  CHECK(properties[3].empty());
}

TEST_CASE("C30: a set of properties knows 32 of them, and behind that nothing") {
  PropertySet set;
  CHECK(set.empty());
  CHECK(set.may_hold({}));
  for (uint32_t i = 0; i < 32; ++i) {
    set.add((i * 7 + 3) % 32);  // each once, in no order
    set.add((i * 7 + 3) % 32);
  }
  CHECK(set.hashes.size() == 32);
  CHECK(std::is_sorted(set.hashes.begin(), set.hashes.end()));
  CHECK(set.may_hold(std::vector<uint32_t>{31, 0}));
  CHECK_FALSE(set.may_hold(std::vector<uint32_t>{31, 32}));
  set.add(100);
  CHECK(set.unknown);
  CHECK(set.hashes.empty());
  CHECK(set.may_hold(std::vector<uint32_t>{31, 32}));
  // Bytes that are no properties, and no entries, may hold anything.
  for (const auto add : {add_properties, add_properties_of_entries}) {
    PropertySet broken;
    add(as_bytes("\x09"), broken);
    CHECK(broken.unknown);
  }
}

TEST_CASE("C30: the golden root is read as what was written") {
  const ByteVector bytes = golden("root");
  CHECK(bytes.size() == kRootBytes);
  const auto root = decode_root(bytes);
  require_ok(root.status());
  CHECK(root->id == sample_root().id);
  CHECK(root->creator == sample_root().creator);
  CHECK(root->version == 1);
}

TEST_CASE("C30: a golden fragment of one log is read, with properties and empty payloads") {
  const ByteVector bytes = golden("one_log");
  const DecodedSlot slot = decoded(bytes);
  CHECK(slot.header.kind == SlotKind::kFragment);
  CHECK_FALSE(slot.header.closed);
  CHECK(slot.header.root == sample_root().id);
  CHECK(slot.header.slot == SlotId{1, sample_root().creator, 0});
  CHECK(slot.header.prev.slot == SlotId{});
  CHECK(slot.header.prev.digest == sha256(golden("root")));
  CHECK(slot.header.author == sample_root().creator);
  CHECK(slot.header.time_base_ms == kSampleTimeMs);
  CHECK(slot.header.entries == 4);
  CHECK(slot.header.body_digest == sha256(Bytes(bytes).subspan(kSlotHeaderBytes)));
  REQUIRE(slot.index.records.size() == 1);
  CHECK(slot.index.records[0].type == RecordType::kCreate);
  CHECK(slot.index.records[0].log == 1);
  CHECK(slot.index.records[0].name == "orders");
  REQUIRE(slot.index.runs.size() == 1);
  const Run& run = slot.index.runs[0];
  CHECK(run.lsn_first == 1);
  CHECK(run.count == 4);
  CHECK(run.pieces == 2);
  CHECK(run.time_first_ms == kSampleTimeMs);
  CHECK(run.time_last_ms == kSampleTimeMs + 1000);

  const std::vector<Entry> entries = entries_of(slot, 1);
  CHECK(texts_of(entries) ==
        std::vector<std::string>{"first", "", "", "the fourth entry stands in the second block"});
  CHECK(times_of(entries) == std::vector<int64_t>{0, 5, 5, 1000});
  CHECK(entries[0].properties().empty());
  REQUIRE(entries[1].properties().size() == 2);
  CHECK(entries[1].property("host") == "web1");
  CHECK(entries[1].property("empty") == "");
  CHECK(entries[1].property("nosuch") == std::nullopt);
  CHECK(entries[2].properties().empty());
  // Payloads, and the properties as they are stored: "\4host\4web1\5empty\0".
  CHECK(run.bytes == 5 + 0 + 17 + 0 + 43);
}

TEST_CASE("C30: a golden fragment of several logs is read, with times back and forth") {
  const DecodedSlot slot = decoded(golden("many_logs"));
  CHECK(slot.header.entries == 7);
  std::vector<RecordType> types;
  for (const Record& record : slot.index.records) types.push_back(record.type);
  CHECK(types == std::vector<RecordType>{RecordType::kCreate, RecordType::kCreate,
                                         RecordType::kCreate, RecordType::kTruncate,
                                         RecordType::kDrop});
  CHECK(slot.index.records[1].name == "caf\xc3\xa9");
  CHECK(slot.index.records[3].lsn_first == 3);
  CHECK(slot.index.records[4].log == 300);

  // By log ids, whatever the order of appending; a run may lie in several blocks.
  REQUIRE(slot.index.runs.size() == 3);
  CHECK(slot.index.runs[0].log == 1);
  CHECK(slot.index.runs[1].log == 2);
  CHECK(slot.index.runs[2].log == 300);
  CHECK(slot.index.blocks.size() > 2);
  CHECK(slot.index.runs[0].pieces > 1);
  CHECK(texts_of(entries_of(slot, 1)) ==
        std::vector<std::string>{"fifth", std::string(100, 'x'), "seventh"});
  CHECK(texts_of(entries_of(slot, 2)) ==
        std::vector<std::string>{"from the future", "the same time again"});
  CHECK(times_of(entries_of(slot, 1)) == std::vector<int64_t>{2000, 2001, 2002});
  CHECK(times_of(entries_of(slot, 2)) == std::vector<int64_t>{90'000, 90'000});
  CHECK(times_of(entries_of(slot, 300)) == std::vector<int64_t>{1'999, 2'001});
  CHECK(entries_of(slot, 300)[1].property("k\xff") == std::string_view("\0v", 2));
  CHECK(slot.index.run_of(3) == nullptr);
  CHECK(slot.index.run_of(301) == nullptr);
}

TEST_CASE("C30: an entry is found by its LSN without decoding other blocks") {
  const ByteVector bytes = golden("many_logs");
  const auto header = decode_header(Bytes(bytes).first(kSlotHeaderBytes));
  require_ok(header.status());
  const auto index =
      decode_index(*header, Bytes(bytes).subspan(kSlotHeaderBytes, header->index_bytes));
  require_ok(index.status());
  const Run* run = index->run_of(1);
  REQUIRE(run != nullptr);
  const std::map<Lsn, std::string> wanted = {
      {5, "fifth"}, {6, std::string(100, 'x')}, {7, "seventh"}};
  for (const auto& [lsn, text] : wanted) {
    const Piece& piece = index->pieces[index->piece_at(*run, lsn)];
    CHECK(piece.lsn_first <= lsn);
    CHECK(lsn < piece.lsn_first + piece.count);
    const BlockInfo& info = index->blocks[piece.block];
    const auto block = decode_block(info, Bytes(bytes).subspan(info.offset, info.stored_bytes));
    require_ok(block.status());
    EntryCursor cursor(*block, (*block)->bytes().subspan(piece.offset, piece.bytes),
                       piece.lsn_first, header->time_base_ms);
    while (cursor.lsn() < lsn) REQUIRE(cursor.skip());
    Entry entry;
    REQUIRE(cursor.next(&entry));
    CHECK(entry.lsn == lsn);
    CHECK(entry.text() == text);
  }
}

TEST_CASE("C30: the golden end of an owner, and the golden fence") {
  const DecodedSlot closed = decoded(golden("closed"));
  CHECK(closed.header.closed);
  CHECK(closed.header.entries == 0);
  CHECK(closed.index.runs.empty());
  CHECK(closed.header.index_bytes == 3);
  CHECK(closed.header.body_bytes == 3);

  const ByteVector bytes = golden("fence");
  CHECK(bytes.size() == kSlotHeaderBytes);
  const DecodedSlot fence = decoded(bytes);
  CHECK(fence.header.kind == SlotKind::kFence);
  CHECK(fence.header.slot == SlotId{1, sample_root().creator, 3});
  CHECK(fence.header.next() == SlotId{2, fence.header.author, 0});
  CHECK(fence.header.body_digest == sha256({}));
  CHECK(fence.header.index_crc == 0);
}

TEST_CASE("C30: a golden segment is read as a fragment is, and stands behind no slot") {
  const DecodedSlot segment = decoded(golden("segment"));
  CHECK(segment.header.kind == SlotKind::kSegment);
  CHECK(segment.header.slot == SlotId{2, segment.header.author, kSegmentFirst + 7});
  CHECK(slot_key(segment.header.slot) == sample("segment").key);
  CHECK(segment.header.prev == Position{});
  CHECK(segment.header.entries == 6);
  CHECK(segment.index.records.empty());
  REQUIRE(segment.index.runs.size() == 2);
  CHECK(segment.index.runs[0].lsn_first == 1);
  CHECK(texts_of(entries_of(segment, 1)) ==
        std::vector<std::string>{"first", "", "", "the fourth entry stands in the second block"});
  CHECK(entries_of(segment, 1)[1].property("host") == "web1");
  CHECK(times_of(entries_of(segment, 1)) == std::vector<int64_t>{0, 5, 5, 1000});
  CHECK(times_of(entries_of(segment, 2)) == std::vector<int64_t>{90'000, 90'000});
}

TEST_CASE("C30: the golden records that keep a log small are read") {
  const DecodedSlot slot = decoded(golden("upkeep"));
  const std::vector<Record>& records = slot.index.records;
  REQUIRE(records.size() == 6);
  CHECK(records[0].type == RecordType::kRetain);
  CHECK(records[0].log == 1);
  CHECK(records[0].retention ==
        Retention{std::chrono::hours(7 * 24), 1'000'000'000, true, std::chrono::hours(24), 0});
  CHECK(records[1].type == RecordType::kCursor);
  CHECK(records[1].name == "billing");
  CHECK(records[1].lsn_first == 7);
  CHECK(records[1].time_ms == kSampleTimeMs + 2'002);
  CHECK(records[2].log == 2);
  CHECK(records[2].lsn_first == 0);
  CHECK(records[2].time_ms == -1);
  CHECK(records[3].type == RecordType::kCursorDrop);
  CHECK(records[3].name == records[2].name);
  CHECK(records[4].type == RecordType::kPublish);
  CHECK(records[4].segment == SlotRow{0, kSegmentFirst + 7, golden("segment").size(),
                                      decoded(golden("segment")).header.entries});
  REQUIRE(records[4].runs.size() == 2);
  CHECK(records[4].runs[0] == RunRow{1, 1, 4, 0, 0, 0, 65, kSampleTimeMs, kSampleTimeMs + 1'000});
  CHECK(records[4].runs[1] ==
        RunRow{2, 1, 2, 0, 0, 0, 34, kSampleTimeMs + 90'000, kSampleTimeMs + 90'000});
  CHECK(records[5].type == RecordType::kForget);
  CHECK(records[5].segment.bytes == 1'234);
  CHECK(records[5].objects == std::vector<ObjectRange>{{1, 0, 2},
                                                       {1, kSegmentFirst, 300},
                                                       {2, kSegmentFirst + kSeqMax, 1}});
}

TEST_CASE("C30: entries that are copied to another time base are the same entries") {
  for (const char* name : {"one_log", "many_logs", "compressed"}) {
    const DecodedSlot slot = decoded(golden(name));
    for (const int64_t base : {INT64_MIN, int64_t{0}, kSampleTimeMs + 77, INT64_MAX}) {
      for (const Piece& piece : slot.index.pieces) {
        const BlockPtr& block = slot.blocks[piece.block];
        const Bytes bytes = block->bytes().subspan(piece.offset, piece.bytes);
        ByteVector copy(3, std::byte{9}), back;
        std::vector<CopiedEntry> told;
        REQUIRE(copy_entries(bytes, piece.count, slot.header.time_base_ms, base, copy, &told));
        CHECK(copy[2] == std::byte{9});
        EntryCursor was(block, bytes, 1, slot.header.time_base_ms);
        EntryCursor is(nullptr, Bytes(copy).subspan(3), 1, base);
        Entry a, b;
        while (!was.done()) {
          REQUIRE(was.next(&a));
          REQUIRE(is.next(&b));
          CHECK(a.time_ms == b.time_ms);
          CHECK((a.text() == b.text()));
          CHECK(a.properties().size() == b.properties().size());
        }
        CHECK(is.done());
        CHECK(copy_entries(Bytes(copy).subspan(3), piece.count, base, slot.header.time_base_ms,
                           back, &told));
        CHECK(told.size() == 2 * piece.count);
        for (size_t i = 0; i < piece.count; ++i) {
          CHECK(told[i].time_ms == told[i + piece.count].time_ms);
        }
        CHECK(to_hex(back) == to_hex(bytes));
        // Others than there are, or cut: nothing is left behind.
        for (const uint64_t count : {uint64_t{0}, piece.count - 1, piece.count + 1, UINT64_MAX}) {
          CHECK_FALSE(copy_entries(bytes, count, 0, 0, copy, &told));
        }
        CHECK_FALSE(copy_entries(bytes.first(bytes.size() - 1), piece.count, 0, 0, back, &told));
        CHECK(back.size() == bytes.size());
        CHECK(told.size() == 2 * piece.count);
      }
    }
  }
  ByteVector nothing;
  std::vector<CopiedEntry> none;
  CHECK(copy_entries({}, 0, 0, 0, nothing, &none));
  CHECK_FALSE(copy_entries({}, 1, 0, 0, nothing, &none));
}

TEST_CASE("C30: golden blocks that zstd compressed are read") {
  const DecodedSlot slot = decoded(golden("compressed"));
  CHECK(slot.header.entries == 40);
  size_t compressed = 0;
  for (const BlockInfo& block : slot.index.blocks) {
    compressed += block.compressed;
    CHECK(block.stored_bytes <= block.raw_bytes);
  }
  CHECK(compressed == slot.index.blocks.size());
  const std::vector<Entry> entries = entries_of(slot, 2);
  REQUIRE(entries.size() == 20);
  CHECK(entries[19].text() == "GET /index.html?n=39 HTTP/1.1 200 39");
  CHECK(entries[19].lsn == 22);
  // The same entries as today's writer stores, whatever zstd makes of them.
  const DecodedSlot now = decoded(sample("compressed").bytes);
  CHECK(texts_of(entries_of(now, 2)) == texts_of(entries));
}

TEST_CASE("C30: the golden slots are a chain from the root on") {
  Position last{{}, sha256(golden("root"))};
  SlotId next{1, sample_root().creator, 0};
  for (const char* name : {"one_log", "many_logs", "closed", "fence", "compressed"}) {
    CAPTURE(name);
    const ByteVector bytes = golden(name);
    const auto header = decode_header(bytes);
    require_ok(header.status());
    CHECK(header->slot == next);
    CHECK(header->prev == last);
    last = {header->slot, header_digest(*header, bytes)};
    next = header->next();
  }
}

// ------------------------------------------------------------------------------------ checkpoint

namespace {

struct LoadedView {
  std::shared_ptr<MemViewData> data = std::make_shared<MemViewData>();
  MemView view{data};
  Result<CheckpointHead> head{Status(Code::kInternal, "not loaded")};

  explicit LoadedView(const ByteVector& checkpoint) {
    head =
        decode_checkpoint(checkpoint, [this](const ViewDelta& delta) { return view.apply(delta); });
  }
};

template <class Row>
void check_rows(const Result<std::vector<Row>>& rows, std::vector<Row> wanted) {
  require_ok(rows.status());
  CHECK((*rows == wanted));
}

void check_is_sample_view(View& view) {
  const ViewDelta wanted = sample_view();
  const auto head = view.head();
  require_ok(head.status());
  REQUIRE(head->has_value());
  CHECK((**head == wanted.head));
  auto logs = wanted.logs;
  std::sort(logs.begin(), logs.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  REQUIRE(logs.size() == 3);
  check_rows(view.logs("", 100), logs);
  for (const LogRow& log : logs) {
    std::vector<RunRow> runs;
    for (const RunRow& run : wanted.runs) {
      if (run.log == log.id) runs.push_back(run);
    }
    CHECK(runs.size() == (log.name == "orders" ? 3 : log.name == "audit" ? 2 : 0));
    check_rows(view.runs(log.id, 1, 100), runs);
  }
  check_rows(view.epochs(), wanted.epochs);
  check_rows(view.slots(0, 0, 100), wanted.slots);
}

}  // namespace

TEST_CASE("C30: the golden checkpoint gives the view that the golden slots give") {
  const ByteVector bytes = golden("checkpoint");
  LoadedView loaded(bytes);
  require_ok(loaded.head.status());
  check_is_sample_view(loaded.view);
  CHECK((loaded.head->epochs == sample_view().epochs));
  const auto head = decode_checkpoint_head(bytes);
  require_ok(head.status());
  CHECK((head->head == loaded.head->head));
  CHECK((head->epochs == loaded.head->epochs));
}

TEST_CASE("C30: the golden checkpoint with settings, segments and dead objects gives them all") {
  LoadedView loaded(golden("upkeep_checkpoint"));
  require_ok(loaded.head.status());
  MemView wanted(std::make_shared<MemViewData>());
  require_ok(wanted.apply(upkeep_view()));
  CHECK((*wanted.head() == *loaded.view.head()));
  CHECK((*wanted.logs("", 100) == *loaded.view.logs("", 100)));
  CHECK((*wanted.slots(0, 0, 100) == *loaded.view.slots(0, 0, 100)));
  for (const LogId log : {1, 2}) {
    const auto runs = *loaded.view.runs(log, 1, 100);
    CHECK((*wanted.runs(log, 1, 100) == runs));
    CHECK(std::any_of(runs.begin(), runs.end(),
                      [](const RunRow& run) { return is_segment(run.seq); }));
  }
  CHECK(loaded.view.logs_with_settings(0, 10)->size() == 2);
  CHECK(loaded.view.dead(UINT64_MAX, 10)->size() == 1);
}

TEST_CASE("C30: a checkpoint is stored in the golden bytes, whatever zstd makes of its rows") {
  for (const bool upkeep : {false, true}) {
    const ByteVector was = golden(upkeep ? "upkeep_checkpoint" : "checkpoint");
    const ByteVector now = upkeep ? upkeep_checkpoint() : sample_checkpoint();
    REQUIRE(now.size() > kCheckpointTotalsAt);
    const auto rows = [](const ByteVector& object) {
      return to_hex(decompressed(Bytes(object).subspan(kCheckpointHeaderBytes)));
    };
    CHECK(rows(now) == rows(was));
    // Of the header all but the payload's length and checksum, and the header's own.
    CHECK(to_hex(Bytes(now).first(112)) == to_hex(Bytes(was).first(112)));
    INFO("the object is now " << to_hex(now));
    CHECK(decode_checkpoint_head(now).ok());
  }
}

// ----------------------------------------------------------------------------------- round trips

TEST_CASE("C30: names are written and read") {
  const SlotId slot{0x1a, 0xfedcba9876543210, 0xabc};
  CHECK(slot_key(slot) == "j/0000001a-fedcba9876543210/000000000abc");
  CHECK(epoch_prefix(slot) == "j/0000001a-fedcba9876543210/");
  CHECK(checkpoint_key(0x1a, 0xabc) == "c/0000001a-000000000abc");
  SlotId read;
  CHECK(parse_slot_key(slot_key(slot), &read));
  CHECK(read == slot);
  Epoch epoch = 0;
  Seq seq = 0;
  CHECK(parse_checkpoint_key("c/0000001a-000000000abc", &epoch, &seq));
  CHECK(epoch == 0x1a);
  CHECK(seq == 0xabc);
  const SlotId last{UINT32_MAX, UINT64_MAX, kSeqMax};
  CHECK(parse_slot_key(slot_key(last), &read));
  CHECK(read == last);
  SlotId segment = slot;
  for (const Seq number : {Seq{0}, slot.seq, kSeqMax}) {
    segment.seq = kSegmentFirst + number;
    const std::string key = slot_key(segment);
    CHECK(key == "s/0000001a-fedcba9876543210/" + hex_number(number, 12));
    CHECK(epoch_prefix(segment) == "s/0000001a-fedcba9876543210/");
    CHECK(parse_segment_key(key, &read));
    CHECK(read == segment);
    CHECK_FALSE(parse_slot_key(key, &read));
  }
  CHECK_FALSE(parse_segment_key(slot_key(slot), &read));
  CHECK(has_name(kSeqMax));
  CHECK_FALSE(has_name(kSeqMax + 1));
  CHECK_FALSE(has_name(kSegmentFirst - 1));
  CHECK(has_name(kSegmentFirst + kSeqMax));
  CHECK_FALSE(has_name(kSegmentFirst + kSeqMax + 1));
}

TEST_CASE("C30: names that are none are passed over") {
  SlotId slot;
  Epoch epoch;
  Seq seq;
  for (const char* key :
       {"", "root", "j/", "j/0000001a-fedcba9876543210/",
        "J/0000001a-fedcba9876543210/000000000abc", "j/0000001A-fedcba9876543210/000000000abc",
        "j/0000001a-fedcba9876543210/00000000abc", "j/0000001a-fedcba9876543210/0000000000abc",
        "j/0000001a_fedcba9876543210/000000000abc", "j/0000001a-fedcba9876543210-000000000abc",
        "j/0000001g-fedcba9876543210/000000000abc", "j/+000001a-fedcba9876543210/000000000abc",
        "j/0000001a-fedcba9876543210/000000000ab ", "c/0000001a-000000000abc",
        "xj/0000001a-fedcba9876543210/000000000abc"}) {
    CAPTURE(key);
    CHECK_FALSE(parse_slot_key(key, &slot));
    std::string other = key;
    if (other.starts_with("j")) other[0] = 's';
    CHECK_FALSE(parse_segment_key(other, &slot));
  }
  for (const char* key :
       {"", "c/", "c/0000001a-000000000ab", "c/0000001a-0000000000abc", "c/0000001A-000000000abc",
        "c/0000001a_000000000abc", "c/0000001a-00000000-abc", "j/0000001a-000000000abc"}) {
    CAPTURE(key);
    CHECK_FALSE(parse_checkpoint_key(key, &epoch, &seq));
  }
}

TEST_CASE("C30: names sort as their positions do") {
  std::vector<std::string> keys;
  for (const Epoch epoch : {1u, 2u, 16u, 255u, 65'536u}) {
    for (const Seq seq : {Seq{0}, Seq{1}, Seq{9}, Seq{10}, Seq{4096}, kSeqMax}) {
      keys.push_back(checkpoint_key(epoch, seq));
    }
  }
  CHECK(std::is_sorted(keys.begin(), keys.end()));
}

TEST_CASE("C30: a header of any values comes back") {
  SlotHeader header;
  header.closed = true;
  header.root = sample_root().id;
  header.slot = {UINT32_MAX, UINT64_MAX, kSeqMax};
  header.prev.slot = {UINT32_MAX, UINT64_MAX, kSeqMax - 1};
  header.prev.digest = sha256(as_bytes("x"));
  header.author = UINT64_MAX;
  header.time_base_ms = INT64_MIN;
  header.entries = UINT64_MAX;
  header.body_bytes = uint64_t{1} << 40;
  header.body_digest = sha256(as_bytes("y"));
  header.index_bytes = UINT32_MAX;
  header.index_crc = UINT32_MAX;
  ByteVector bytes(kSlotHeaderBytes);
  encode_header(header, bytes.data());
  const auto read = decode_header(bytes);
  require_ok(read.status());
  ByteVector again(kSlotHeaderBytes);
  encode_header(*read, again.data());
  CHECK((bytes == again));
  CHECK(read->prev == header.prev);
  CHECK(read->object_bytes() == kSlotHeaderBytes + header.body_bytes);
}

TEST_CASE("C30: an index comes back, and is the same when it is written again") {
  for (const char* name : {"one_log", "many_logs", "closed", "compressed", "segment", "upkeep"}) {
    CAPTURE(name);
    const ByteVector& bytes = sample(name).bytes;
    const DecodedSlot slot = decoded(bytes);
    CHECK(to_hex(encode_index(slot.index, slot.header.time_base_ms)) ==
          to_hex(Bytes(bytes).subspan(kSlotHeaderBytes, slot.header.index_bytes)));
  }
}

TEST_CASE("C30: entries of every size around the limits of their lengths come back") {
  std::vector<std::string> payloads;
  for (const size_t bytes : {0u, 1u, 62u, 63u, 64u, 65u, 127u, 128u, 8191u, 8192u, 16'384u}) {
    payloads.push_back(noise(bytes, bytes));
  }
  const std::string long_value = noise(1, 20'000);
  const Property large[] = {{"", ""}, {std::string_view(long_value).substr(0, 128), long_value}};
  for (const int level : {0, 1}) {
    CAPTURE(level);
    BatchMaker maker(kSampleTimeMs, 1 << 20);
    for (const std::string& payload : payloads) {
      maker.entry(1, 1, kSampleTimeMs, payload);
      maker.entry(1, 1, kSampleTimeMs, payload, large);
    }
    ChainMaker chain(sample_root());
    const DecodedSlot slot = decoded(chain.fragment(maker, 64 << 10, level));
    const std::vector<Entry> entries = entries_of(slot, 1);
    REQUIRE(entries.size() == payloads.size() * 2);
    for (size_t i = 0; i < entries.size(); ++i) {
      CHECK((entries[i].text() == payloads[i / 2]));
      CHECK(entries[i].properties().size() == i % 2 * 2);
      if (i % 2 == 1) CHECK((entries[i].properties()[1].value == long_value));
    }
  }
}

TEST_CASE("C30: times at the ends of all time wrap around and come back") {
  for (const int64_t base : {INT64_MIN, int64_t{-1}, int64_t{0}, kSampleTimeMs, INT64_MAX}) {
    for (const int64_t time : {INT64_MIN, int64_t{-1}, int64_t{0}, kSampleTimeMs, INT64_MAX}) {
      CAPTURE(base);
      CAPTURE(time);
      SlotIndex index;
      index.blocks.push_back({});
      index.blocks[0].raw_bytes = index.blocks[0].stored_bytes = 1;
      index.runs.push_back({1, 1, 1, 0, time, base, 0, 1});
      index.pieces.push_back({0, 0, 1, 1, 1, base});
      const ByteVector bytes = encode_index(index, base);
      SlotHeader header;
      header.time_base_ms = base;
      header.entries = 1;
      header.index_bytes = static_cast<uint32_t>(bytes.size());
      header.index_crc = crc32c(bytes);
      header.body_bytes = bytes.size() + 1;
      const auto read = decode_index(header, bytes);
      require_ok(read.status());
      CHECK(read->runs[0].time_first_ms == time);
      CHECK(read->runs[0].time_last_ms == base);
      CHECK(read->pieces[0].time_last_ms == base);
    }
  }
}

TEST_CASE("C30: what does not compress is stored as it is") {
  const std::string raw = noise(7, 5000), flat(5000, 'a');
  ByteVector out;
  const BlockInfo noisy = encode_block(as_bytes(raw), 3, out);
  CHECK_FALSE(noisy.compressed);
  CHECK(noisy.stored_bytes == raw.size());
  CHECK((as_text(out) == raw));
  out.clear();
  const BlockInfo dense = encode_block(as_bytes(flat), 3, out);
  CHECK(dense.compressed);
  CHECK(dense.stored_bytes == out.size());
  CHECK(out.size() < 100);
  const auto block = decode_block(dense, out);
  require_ok(block.status());
  CHECK((as_text((*block)->bytes()) == flat));
}

}  // namespace wp
