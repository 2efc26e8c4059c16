// C30: what is damaged, cut, newer or absurd is refused as that, and nothing is read past its end.
// Copies lie in memory of exactly their size, so that a sanitizer sees a byte too many.
#include <doctest/doctest.h>
#include <zstd.h>

#include <functional>
#include <memory>

#include "engine/checkpoint.h"
#include "tests/format_samples.h"
#include "tests/sim_store.h"
#include "tests/test_root.h"

namespace wp {
namespace {

// Bytes in memory of just their size.
class Exact {
 public:
  explicit Exact(Bytes bytes)
      : data_(std::make_unique<std::byte[]>(bytes.size())), size_(bytes.size()) {
    if (size_ != 0) std::memcpy(data_.get(), bytes.data(), size_);
  }
  Bytes bytes() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> data_;
  size_t size_;
};

bool refused(const Status& status) {
  return status.code() == Code::kCorrupt || status.code() == Code::kUnsupported;
}

using Decode = std::function<Status(Bytes)>;

Status root_status(Bytes object) {
  return decode_root(object).status();
}
Status header_status(Bytes object) {
  return decode_header(object).status();
}
// All that can be decoded of a slot.
Status slot_status(Bytes object) {
  const auto slot = decode_slot(object);
  if (!slot) return slot.status();
  for (const Run& run : slot->index.runs) {
    if (auto entries = decode_run(*slot, run); !entries) return entries.status();
  }
  return {};
}
Status checkpoint_status(Bytes object) {
  const auto head = decode_checkpoint_head(object);
  const auto whole = decode_checkpoint(object, [](const ViewDelta&) { return Status(); });
  if (whole.ok()) CHECK(head.ok());
  return whole.status();
}

// The decoder must refuse each of these; the first that it takes is told.
void every_bit_flipped_is_refused(const ByteVector& object, const Decode& decode) {
  ByteVector bytes = object;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    const Status status = decode(Exact(bytes).bytes());
    if (!refused(status)) FAIL_CHECK("bit " << bit << ": " << status.to_string());
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}
void every_cut_is_refused(const ByteVector& object, const Decode& decode) {
  for (size_t size = 0; size < object.size(); ++size) {
    const Status status = decode(Exact(Bytes(object).first(size)).bytes());
    if (status.code() != Code::kCorrupt) FAIL_CHECK(size << " bytes: " << status.to_string());
  }
}
// With right checksums a change may make sense. It must do no harm, and fail with these codes only.
void every_change_with_right_checksums_is_harmless(const ByteVector& object, const Decode& decode,
                                                   const std::function<bool(ByteVector&)>& repair) {
  size_t taken = 0;
  const auto look = [&](ByteVector bytes, const std::string& what) {
    if (!repair(bytes)) return;
    const Status status = decode(Exact(bytes).bytes());
    taken += status.ok();
    if (!status.ok() && !refused(status)) FAIL_CHECK(what << ": " << status.to_string());
  };
  for (size_t bit = 0; bit < object.size() * 8; ++bit) {
    ByteVector bytes = object;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    look(std::move(bytes), "bit " + std::to_string(bit));
  }
  for (size_t at = 0; at < object.size(); ++at) {
    for (const int value : {0x00, 0x7f, 0x80, 0xff}) {
      ByteVector bytes = object;
      bytes[at] = static_cast<std::byte>(value);
      look(std::move(bytes), "byte " + std::to_string(at));
    }
    look(ByteVector(object.begin(), object.begin() + static_cast<ptrdiff_t>(at)), "cut");
  }
  CHECK(taken > 0);
}

bool repair_slot_and_index(ByteVector& object) {
  return repair_slot(object, true);
}

constexpr const char* kSlots[] = {"one_log",    "many_logs", "closed", "fence",
                                  "compressed", "segment",   "upkeep", "properties"};

// A change of a header, with a right checksum.
Status with_header(std::string_view name, const std::function<void(SlotHeader&)>& change) {
  ByteVector bytes = sample(name).bytes;
  auto header = decode_header(bytes);
  require_ok(header.status());
  change(*header);
  encode_header(*header, bytes.data());
  return header_status(bytes);
}

template <class T>
ByteVector with_field(const ByteVector& object, size_t offset, T value) {
  ByteVector bytes = object;
  store_fixed<T>(bytes.data() + offset, value);
  return bytes;
}

bool mentions(const Status& status, std::string_view text) {
  return status.message().find(text) != std::string::npos;
}

}  // namespace

// --------------------------------------------------------------------------------------- the root

TEST_CASE("C30: a root object with any bit flipped, or cut anywhere, is refused") {
  const ByteVector& root = sample("root").bytes;
  every_bit_flipped_is_refused(root, root_status);
  every_cut_is_refused(root, root_status);
  every_change_with_right_checksums_is_harmless(root, root_status, repair_root);
  ByteVector longer = root;
  longer.push_back(std::byte{0});
  CHECK_CODE(root_status(longer), Code::kCorrupt);
}

TEST_CASE("C30: a root of another version is refused by name") {
  ByteVector newer = with_field<uint16_t>(sample("root").bytes, 8, 2);
  REQUIRE(repair_root(newer));
  CHECK_CODE(root_status(newer), Code::kUnsupported);
  CHECK(mentions(root_status(newer), "version 2"));
  CHECK(mentions(root_status(newer), "knows 1"));
}

TEST_CASE("C30: a root of a newer version may have any length, and is refused by name") {
  ByteVector newer = with_field<uint16_t>(sample("root").bytes, 8, 3);
  newer.resize(100);
  store_fixed<uint16_t>(newer.data() + 10, 100);
  REQUIRE(repair_root(newer));
  CHECK_CODE(root_status(newer), Code::kUnsupported);
  CHECK(mentions(root_status(newer), "version 3"));
}

TEST_CASE("C30: a root that holds more than is known is refused as newer, and not as damaged") {
  ByteVector longer = with_field<uint16_t>(sample("root").bytes, 10, 48);
  longer.resize(48);
  REQUIRE(repair_root(longer));
  CHECK_CODE(root_status(longer), Code::kUnsupported);
}

TEST_CASE("C30: a root without a creator makes no sense") {
  ByteVector nobody = with_field<uint64_t>(sample("root").bytes, 28, 0);
  REQUIRE(repair_root(nobody));
  CHECK_CODE(root_status(nobody), Code::kCorrupt);
}

// -------------------------------------------------------------------------------------- slots

TEST_CASE("C30: a slot with any bit flipped, or cut anywhere, is refused") {
  for (const char* name : kSlots) {
    CAPTURE(name);
    const ByteVector& bytes = sample(name).bytes;
    every_bit_flipped_is_refused(bytes, slot_status);
    every_cut_is_refused(bytes, slot_status);
  }
}

TEST_CASE("C30: a header is read from the first bytes of an object, and from fewer not at all") {
  for (const char* name : kSlots) {
    const ByteVector& bytes = sample(name).bytes;
    CHECK(decode_header(Exact(Bytes(bytes).first(kSlotHeaderBytes)).bytes()).ok());
    every_cut_is_refused({bytes.begin(), bytes.begin() + kSlotHeaderBytes}, header_status);
  }
}

TEST_CASE("C30: a change of a slot with right checksums does no harm") {
  for (const char* name : kSlots) {
    CAPTURE(name);
    every_change_with_right_checksums_is_harmless(sample(name).bytes, slot_status,
                                                  repair_slot_and_index);
  }
}

TEST_CASE("C30: a slot of another version is refused by name") {
  for (const uint16_t version : {0, 2, 65'535}) {
    ByteVector other = with_field<uint16_t>(sample("fence").bytes, 8, version);
    REQUIRE(repair_slot(other, false));
    CHECK_CODE(header_status(other), Code::kUnsupported);
    CHECK(mentions(header_status(other), "version " + std::to_string(version) + ","));
  }
}

TEST_CASE("C30: kinds and flags that are not known are refused as newer") {
  for (const uint16_t kind : {0, 4, 256, 65'535}) {
    ByteVector bytes = with_field<uint16_t>(sample("one_log").bytes, 12, kind);
    REQUIRE(repair_slot(bytes, false));
    CHECK_CODE(header_status(bytes), Code::kUnsupported);
  }
  for (int bit = 2; bit < 16; ++bit) {
    ByteVector bytes =
        with_field<uint16_t>(sample("one_log").bytes, 14, static_cast<uint16_t>(1 << bit));
    REQUIRE(repair_slot(bytes, false));
    CHECK_CODE(header_status(bytes), Code::kUnsupported);
    CHECK(mentions(header_status(bytes), std::to_string(1 << bit)));
  }
}

TEST_CASE("C30: a longer header is read, and what is not known in it is passed over") {
  const ByteVector& bytes = sample("many_logs").bytes;
  for (const uint16_t size : {184, 1000, 4096}) {
    CAPTURE(size);
    ByteVector longer(bytes.begin(), bytes.begin() + 176);
    store_fixed<uint16_t>(longer.data() + 10, size);
    longer.resize(size, std::byte{0xee});
    longer.insert(longer.end(), bytes.begin() + kSlotHeaderBytes, bytes.end());
    REQUIRE(repair_slot(longer, false));
    const auto slot = decode_slot(longer);
    require_ok(slot.status());
    CHECK(slot->header.header_bytes == size);
    CHECK(slot->header.object_bytes() == longer.size());
    CHECK(header_digest(slot->header, longer) == sha256(Bytes(longer).first(size)));
    for (const Run& run : slot->index.runs) CHECK(decode_run(*slot, run).ok());
  }
  for (const uint16_t size : {0, 4, 12, 179, 4097, 65'535}) {
    CAPTURE(size);
    ByteVector wrong = with_field<uint16_t>(bytes, 10, size);
    wrong.resize(70'000);
    if (size >= 4) store_fixed(wrong.data() + size - 4, crc32c(Bytes(wrong).first(size - 4u)));
    CHECK_CODE(header_status(wrong), Code::kCorrupt);
  }
}

TEST_CASE("C30: a header that contradicts itself is refused") {
  const auto refuses = [](std::string_view name, auto change) {
    CHECK_CODE(with_header(name, change), Code::kCorrupt);
  };
  CHECK(with_header("one_log", [](SlotHeader&) {}).ok());
  refuses("one_log", [](SlotHeader& h) { h.slot.epoch = 0; });
  refuses("one_log", [](SlotHeader& h) { h.slot.owner = h.author = 0; });
  refuses("one_log", [](SlotHeader& h) { h.slot.seq = 1; });         // and nothing before it
  refuses("one_log", [](SlotHeader& h) { h.prev.slot.owner = 1; });  // before the first slot
  refuses("one_log", [](SlotHeader& h) { h.author ^= 1; });
  refuses("one_log", [](SlotHeader& h) { h.index_bytes = UINT32_MAX; });
  refuses("one_log", [](SlotHeader& h) { h.body_bytes = (uint64_t{1} << 40) + 1; });
  refuses("one_log", [](SlotHeader& h) { h.body_bytes = UINT64_MAX; });
  refuses("many_logs", [](SlotHeader& h) { h.prev.slot.seq = 1; });
  refuses("many_logs", [](SlotHeader& h) { h.prev.slot.epoch = 2; });
  refuses("many_logs", [](SlotHeader& h) { h.prev.slot.owner ^= 1; });
  refuses("many_logs", [](SlotHeader& h) {
    h.slot.seq = kSeqMax + 1;
    h.prev.slot.seq = kSeqMax;
  });
  refuses("compressed", [](SlotHeader& h) { h.prev.slot.epoch = 2; });
  refuses("compressed", [](SlotHeader& h) { h.prev.slot.owner = 0; });
  refuses("fence", [](SlotHeader& h) { h.author = 0; });
  refuses("fence", [](SlotHeader& h) { h.entries = 1; });
  refuses("fence", [](SlotHeader& h) { h.body_bytes = 1; });
  refuses("fence", [](SlotHeader& h) { h.closed = true; });
  CHECK(with_header("segment", [](SlotHeader&) {}).ok());
  refuses("segment", [](SlotHeader& h) { h.slot.seq = kSegmentFirst + kSeqMax + 1; });
  refuses("segment", [](SlotHeader& h) { h.slot.seq = kSegmentFirst - 1; });
  refuses("segment", [](SlotHeader& h) { h.author ^= 1; });
  refuses("segment", [](SlotHeader& h) { h.prev.slot.epoch = 1; });
  refuses("segment", [](SlotHeader& h) { h.prev.digest[31] = std::byte{1}; });
  refuses("segment", [](SlotHeader& h) { h.closed = true; });
  refuses("segment", [](SlotHeader& h) { h.entries = 0; });
  refuses("segment", [](SlotHeader& h) { h.index_bytes = 0; });
  refuses("fence", [](SlotHeader& h) { h.properties = true; });
}

// -------------------------------------------------------------------------------------- the index

namespace {

// What decoding an index of these bytes says, with a header that fits as far as possible.
Result<SlotIndex> index_of(const ByteVector& bytes, uint64_t entries, uint64_t block_bytes,
                           bool properties = false) {
  SlotHeader header;
  header.properties = properties;
  header.entries = entries;
  header.index_bytes = static_cast<uint32_t>(bytes.size());
  header.index_crc = crc32c(bytes);
  header.body_bytes = bytes.size() + block_bytes;
  const Exact exact(bytes);
  return decode_index(header, exact.bytes());
}

ByteVector varints(std::initializer_list<uint64_t> values) {
  ByteVector out;
  for (const uint64_t value : values) put_varint(out, value);
  return out;
}

// An index with one raw block of ten bytes and these runs.
ByteVector runs_of(uint64_t runs, std::initializer_list<uint64_t> values) {
  ByteVector out = varints({0, 1, 10, 10, 0});
  put_fixed<uint32_t>(out, 0);
  put_varint(out, runs);
  put_bytes(out, varints(values));
  return out;
}

}  // namespace

TEST_CASE("C30: an index without entries is three zeros, and an empty one is a fence's only") {
  CHECK(index_of(varints({0, 0, 0}), 0, 0).ok());
  CHECK_CODE(index_of(varints({0, 0, 0}), 1, 0), Code::kCorrupt);  // the header counts one
  CHECK_CODE(index_of(varints({0, 0, 0}), 0, 1), Code::kCorrupt);  // bytes behind it
  CHECK_CODE(index_of(varints({0, 0, 0, 0}), 0, 0), Code::kCorrupt);
  CHECK_CODE(index_of(varints({0, 0}), 0, 0), Code::kCorrupt);
  CHECK_CODE(index_of({}, 0, 0), Code::kCorrupt);
  SlotHeader fence;
  fence.kind = SlotKind::kFence;
  CHECK(decode_index(fence, {}).ok());
  fence.index_crc = 1;
  CHECK_CODE(decode_index(fence, {}), Code::kCorrupt);
}

TEST_CASE("C30: what an index says of properties is taken only as it is written") {
  // One piece of one entry.
  const ByteVector runs = runs_of(1, {1, 1, 10, 0, 1, 0, 0, 10, 1, 0});
  const auto status = [&](std::initializer_list<uint32_t> hashes, uint64_t number,
                          size_t more = 0) {
    ByteVector bytes = runs;
    put_varint(bytes, number);
    for (const uint32_t hash : hashes) put_fixed(bytes, hash);
    bytes.resize(bytes.size() + more);
    return index_of(bytes, 1, 10, true).status();
  };
  CHECK(index_of(runs, 1, 10).ok());
  CHECK(status({}, 0).ok());
  CHECK(status({7}, 2).ok());
  CHECK(status({0, 7, UINT32_MAX}, 4).ok());
  CHECK_CODE(index_of(runs, 1, 10, true), Code::kCorrupt);  // it is not there
  CHECK_CODE(status({}, 1), Code::kCorrupt);                // it says nothing
  CHECK_CODE(status({7, 7}, 3), Code::kCorrupt);
  CHECK_CODE(status({8, 7}, 3), Code::kCorrupt);
  CHECK_CODE(status({7}, 3), Code::kCorrupt);
  CHECK_CODE(status({7}, 2, 1), Code::kCorrupt);
  CHECK_CODE(status({7}, UINT64_MAX), Code::kCorrupt);
  ByteVector most = runs, too_many = runs;
  put_varint(most, 33);
  put_varint(too_many, 34);
  for (uint32_t hash = 0; hash < 33; ++hash) {
    if (hash < 32) put_fixed(most, hash);
    put_fixed(too_many, hash);
  }
  CHECK(index_of(most, 1, 10, true).ok());
  CHECK_CODE(index_of(too_many, 1, 10, true), Code::kCorrupt);
  // With the flag alone set, or alone taken away, nothing fits.
  for (const char* name : {"one_log", "properties"}) {
    ByteVector bytes = sample(name).bytes;
    bytes[14] ^= std::byte{2};
    REQUIRE(repair_slot(bytes, false));
    CHECK_CODE(slot_status(bytes), Code::kCorrupt);
  }
}

TEST_CASE("C30: absurd counts and lengths in an index are refused before anything is allocated") {
  for (const uint64_t count :
       {uint64_t{100}, uint64_t{1} << 31, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
    CAPTURE(count);
    CHECK_CODE(index_of(varints({count}), 0, 0), Code::kCorrupt);              // records
    CHECK_CODE(index_of(varints({0, count}), 0, 0), Code::kCorrupt);           // blocks
    CHECK_CODE(index_of(varints({0, 0, count}), 0, 0), Code::kCorrupt);        // runs
    CHECK_CODE(index_of(varints({1, 1, count, 1}), 0, 0), Code::kCorrupt);     // a record's length
    CHECK_CODE(index_of(varints({1, 1, 2, 1, count}), 0, 0), Code::kCorrupt);  // a name's length
    CHECK_CODE(index_of(runs_of(1, {1, 1, 1, 0, count, 0, 0}), 1, 10), Code::kCorrupt);  // pieces
    CHECK_CODE(index_of(runs_of(1, {1, 1, 1, 0, 1, count, 0, 1, 1, 0}), 1, 10), Code::kCorrupt);
    CHECK_CODE(index_of(runs_of(1, {1, 1, 1, 0, 1, 0, count, 1, 1, 0}), 1, 10), Code::kCorrupt);
    CHECK_CODE(index_of(runs_of(1, {1, 1, 1, 0, 1, 0, 0, count, 1, 0}), 1, 10), Code::kCorrupt);
    CHECK_CODE(index_of(runs_of(1, {1, 1, 1, 0, 1, 0, 0, 1, count, 0}), count, 10), Code::kCorrupt);
  }
}

TEST_CASE(
    "C30: records that are not known are refused as newer, those that make no sense are not") {
  const auto record = [](std::initializer_list<uint64_t> values, std::string_view name = {}) {
    ByteVector out = varints({1});
    put_bytes(out, varints(values));
    put_bytes(out, as_bytes(name));
    put_bytes(out, varints({0, 0}));
    return index_of(out, 0, 0);
  };
  CHECK(record({1, 3, 1, 1}, "a").ok());
  CHECK(record({2, 3, 1, 1, 0}).ok());
  CHECK(record({3, 1, 1}).ok());
  for (const uint64_t type : {uint64_t{0}, uint64_t{9}, uint64_t{257}, UINT64_MAX}) {
    CHECK_CODE(record({type, 1, 1}), Code::kUnsupported);
  }
  CHECK(mentions(record({9, 1, 1}).status(), "type 9"));
  CHECK_CODE(record({3, 2, 1, 0}), Code::kCorrupt);     // more than it has
  CHECK_CODE(record({3, 0}), Code::kCorrupt);           // less
  CHECK_CODE(record({3, 1, 0}), Code::kCorrupt);        // of no log
  CHECK_CODE(record({2, 3, 1, 0, 0}), Code::kCorrupt);  // to LSN 0
  CHECK_CODE(record({1, 2, 1, 0}), Code::kCorrupt);     // without a name
  CHECK_CODE(record({3, 10, kNumberEnd}), Code::kCorrupt);
  CHECK_CODE(record({2, 12, 1, kNumberEnd + 1, 0}), Code::kCorrupt);
  CHECK(record({1, 515, 1, 512}, std::string(512, 'n')).ok());
  CHECK_CODE(record({1, 516, 1, 513}, std::string(513, 'n')), Code::kCorrupt);
}

namespace {

// What decoding a record of that type with these numbers as its body says.
Status record_status(RecordType type, const ByteVector& body) {
  ByteVector out = varints({1, static_cast<uint64_t>(type), body.size()});
  put_bytes(out, body);
  put_bytes(out, varints({0, 0}));
  return index_of(out, 0, 0).status();
}
Status record_status(RecordType type, std::initializer_list<uint64_t> body) {
  return record_status(type, varints(body));
}
ByteVector named(std::initializer_list<uint64_t> before, std::string_view name,
                 std::initializer_list<uint64_t> after) {
  ByteVector out = varints(before);
  put_text(out, name);
  put_bytes(out, varints(after));
  return out;
}

}  // namespace

TEST_CASE("C30: retention and cursors that cannot be are refused") {
  const auto retain = [](std::initializer_list<uint64_t> body) {
    return record_status(RecordType::kRetain, body);
  };
  CHECK(retain({1, 0, 0, 0, 0, 0}).ok());
  CHECK(retain({1, kNumberEnd - 1, UINT64_MAX, 1, kNumberEnd - 1, UINT64_MAX}).ok());
  CHECK_CODE(retain({0, 0, 0, 0, 0, 0}), Code::kCorrupt);
  CHECK_CODE(retain({kNumberEnd, 0, 0, 0, 0, 0}), Code::kCorrupt);
  CHECK_CODE(retain({1, kNumberEnd, 0, 0, 0, 0}), Code::kCorrupt);
  CHECK_CODE(retain({1, 0, 0, 2, 0, 0}), Code::kCorrupt);
  CHECK_CODE(retain({1, 0, 0, 0, kNumberEnd, 0}), Code::kCorrupt);
  CHECK_CODE(retain({1, 0, 0, 0, 0}), Code::kCorrupt);
  CHECK_CODE(retain({1, 0, 0, 0, 0, 0, 0}), Code::kCorrupt);

  const auto cursor = [](LogId log, size_t name_bytes, uint64_t committed) {
    return record_status(RecordType::kCursor,
                         named({log}, std::string(name_bytes, 'n'), {committed, 1}));
  };
  CHECK(cursor(1, 1, 0).ok());
  CHECK(cursor(kNumberEnd - 1, 128, kNumberEnd - 1).ok());
  CHECK_CODE(cursor(0, 1, 0), Code::kCorrupt);
  CHECK_CODE(cursor(1, 0, 0), Code::kCorrupt);
  CHECK_CODE(cursor(1, 129, 0), Code::kCorrupt);
  CHECK_CODE(cursor(1, 1, kNumberEnd), Code::kCorrupt);
  CHECK_CODE(record_status(RecordType::kCursor, named({1}, "n", {0})), Code::kCorrupt);
  CHECK_CODE(record_status(RecordType::kCursor, named({1}, "n", {0, 0, 0})), Code::kCorrupt);

  CHECK(record_status(RecordType::kCursorDrop, named({1}, "n", {})).ok());
  CHECK_CODE(record_status(RecordType::kCursorDrop, named({1}, "", {})), Code::kCorrupt);
  CHECK_CODE(record_status(RecordType::kCursorDrop, named({0}, "n", {})), Code::kCorrupt);
  CHECK_CODE(record_status(RecordType::kCursorDrop, named({1}, std::string(129, 'n'), {})),
             Code::kCorrupt);
}

TEST_CASE("C30: publications that cannot be are refused") {
  const auto publish = [](std::initializer_list<uint64_t> body) {
    return record_status(RecordType::kPublish, body);
  };
  //   number, bytes, entries, runs; step, first, count, bytes before, bytes, first time, span
  CHECK(publish({0, 500, 9, 1, 1, 1, 9, 0, 9, 0, 0}).ok());
  CHECK(publish({kSeqMax, uint64_t{1} << 40, 9, 1, 1, 1, 5, 1, UINT64_MAX - 1, 0, 0}).ok());
  CHECK(publish({0, 500, 9, 2, 1, 1, 4, 0, 9, 0, 0, 1, 1, 5, 0, 9, 0, 0}).ok());
  CHECK_CODE(publish({kSeqMax + 1, 500, 9, 1, 1, 1, 9, 0, 9, 0, 0}), Code::kCorrupt);
  CHECK_CODE(publish({0, 0, 9, 1, 1, 1, 9, 0, 9, 0, 0}), Code::kCorrupt);
  CHECK_CODE(publish({0, (uint64_t{1} << 40) + 1, 9, 1, 1, 1, 9, 0, 9, 0, 0}), Code::kCorrupt);
  CHECK_CODE(publish({0, 500, 9, 0}), Code::kCorrupt);                       // of nothing
  CHECK_CODE(publish({0, 500, 8, 1, 1, 1, 9, 0, 9, 0, 0}), Code::kCorrupt);  // too many
  CHECK_CODE(publish({0, 500, 9, 1, 0, 1, 9, 0, 9, 0, 0}), Code::kCorrupt);  // no log
  CHECK_CODE(publish({0, 500, 9, 1, 1, 0, 9, 0, 9, 0, 0}), Code::kCorrupt);  // LSN 0
  CHECK_CODE(publish({0, 500, 9, 1, 1, 1, 0, 0, 9, 0, 0}), Code::kCorrupt);  // no entry
  CHECK_CODE(publish({0, 500, 9, 1, 1, 1, 9, 2, UINT64_MAX - 1, 0, 0}), Code::kCorrupt);
  CHECK_CODE(publish({0, 500, 9, 1, kNumberEnd, 1, 9, 0, 9, 0, 0}), Code::kCorrupt);
  CHECK_CODE(publish({0, 500, 9, 1, 1, kNumberEnd - 5, 9, 0, 9, 0, 0}), Code::kCorrupt);
  CHECK_CODE(publish({0, 500, UINT64_MAX, 1, 1, 2, UINT64_MAX, 0, 9, 0, 0}), Code::kCorrupt);
  CHECK_CODE(publish({0, 500, 9, 2, 1, 1, 4, 0, 9, 0, 0, 0, 5, 4, 9, 9, 0, 0}), Code::kCorrupt);
  for (const uint64_t count : {uint64_t{2}, uint64_t{1} << 40, UINT64_MAX}) {
    CHECK_CODE(publish({0, 500, 9, count, 1, 1, 1, 0, 9, 0, 0}), Code::kCorrupt);
  }
}

TEST_CASE("C30: what was forgotten cannot be more than there can be") {
  const auto forget = [](std::initializer_list<uint64_t> body) {
    return record_status(RecordType::kForget, body);
  };
  //   bytes, ranges; kind, epoch, number, count
  CHECK(forget({0, 1, 0, 1, 0, 1}).ok());
  CHECK(forget({UINT64_MAX, 2, 1, UINT32_MAX, kSeqMax, 1, 0, 1, 0, kForgottenMax - 1}).ok());
  CHECK_CODE(forget({0, 0}), Code::kCorrupt);
  CHECK_CODE(forget({0, 1, 2, 1, 0, 1}), Code::kCorrupt);                  // no such kind
  CHECK_CODE(forget({0, 1, 0, 0, 0, 1}), Code::kCorrupt);                  // no epoch
  CHECK_CODE(forget({0, 1, 0, uint64_t{1} << 32, 0, 1}), Code::kCorrupt);  // no such epoch
  CHECK_CODE(forget({0, 1, 0, 1, 0, 0}), Code::kCorrupt);                  // of nothing
  CHECK_CODE(forget({0, 1, 0, 1, kSeqMax + 1, 1}), Code::kCorrupt);        // no such number
  CHECK_CODE(forget({0, 1, 0, 1, kSeqMax, 2}), Code::kCorrupt);            // past the last
  CHECK_CODE(forget({0, 1, 1, 1, 0, kForgottenMax + 1}), Code::kCorrupt);  // too many
  CHECK_CODE(forget({0, 2, 0, 1, 0, kForgottenMax, 0, 2, 0, 1}), Code::kCorrupt);
  CHECK_CODE(forget({0, 1, 0, 1, 0, UINT64_MAX}), Code::kCorrupt);
  CHECK_CODE(forget({0, 2, 0, 1, 0, 1}), Code::kCorrupt);  // one is missing
  CHECK_CODE(forget({0, UINT64_MAX, 0, 1, 0, 1}), Code::kCorrupt);
}

TEST_CASE("C30: a segment holds entries only") {
  const DecodedSlot segment = *decode_slot(sample("segment").bytes);
  SlotIndex index = segment.index;
  const auto status_with = [&] {
    ByteVector bytes = encode_index(index, segment.header.time_base_ms);
    SlotHeader header = segment.header;
    header.body_bytes += bytes.size() - header.index_bytes;
    header.index_bytes = static_cast<uint32_t>(bytes.size());
    header.index_crc = crc32c(bytes);
    return decode_index(header, bytes).status();
  };
  CHECK(status_with().ok());
  index.records.push_back({RecordType::kDrop, 1, "", 0, 0});
  CHECK_CODE(status_with(), Code::kCorrupt);
}

TEST_CASE("C30: descriptions of blocks: ways that are not known, and lengths that cannot be") {
  const auto block = [](uint64_t raw, uint64_t stored, uint8_t way) {
    ByteVector out = varints({0, 1, raw, stored});
    put_fixed<uint8_t>(out, way);
    put_fixed<uint32_t>(out, 0);
    put_varint(out, 0);
    return index_of(out, 0, stored);
  };
  CHECK(block(10, 10, 0).ok());
  CHECK(block(10, 5, 1).ok());
  CHECK_CODE(block(10, 10, 2), Code::kUnsupported);
  CHECK_CODE(block(10, 10, 255), Code::kUnsupported);
  CHECK_CODE(block(10, 9, 0), Code::kCorrupt);
  CHECK_CODE(block(0, 0, 0), Code::kCorrupt);
  CHECK_CODE(block(0, 9, 1), Code::kCorrupt);
  CHECK_CODE(block(uint64_t{1} << 32, 9, 1), Code::kCorrupt);
  CHECK_CODE(block(9, uint64_t{1} << 32, 1), Code::kCorrupt);
  CHECK_CODE(block(UINT64_MAX, UINT64_MAX, 0), Code::kCorrupt);
}

TEST_CASE("C30: runs that cannot be are refused") {
  const auto run = [](std::initializer_list<uint64_t> values, uint64_t entries = 1) {
    return index_of(runs_of(1, values), entries, 10);
  };
  //         step, first, bytes, time, pieces, block, offset, bytes, count, time
  CHECK(run({1, 1, 1, 0, 1, 0, 0, 10, 1, 0}).ok());
  CHECK(run({1, 1, 1, 0, 1, 0, 5, 5, 5, 0}, 5).ok());
  CHECK_CODE(run({0, 1, 1, 0, 1, 0, 0, 10, 1, 0}), Code::kCorrupt);              // no log
  CHECK_CODE(run({1, 0, 1, 0, 1, 0, 0, 10, 1, 0}), Code::kCorrupt);              // LSN 0
  CHECK_CODE(run({1, 1, 1, 0, 0, 0, 0}, 0), Code::kCorrupt);                     // no piece
  CHECK_CODE(run({1, 1, 1, 0, 1, 1, 0, 10, 1, 0}), Code::kCorrupt);              // no such block
  CHECK_CODE(run({1, 1, 1, 0, 1, 0, 11, 1, 1, 0}), Code::kCorrupt);              // behind its end
  CHECK_CODE(run({1, 1, 1, 0, 1, 0, 1, 10, 1, 0}), Code::kCorrupt);              // past its end
  CHECK_CODE(run({1, 1, 1, 0, 1, 0, 0, 0, 1, 0}), Code::kCorrupt);               // an empty piece
  CHECK_CODE(run({1, 1, 1, 0, 1, 0, 0, 10, 0, 0}, 0), Code::kCorrupt);           // without entries
  CHECK_CODE(run({1, 1, 1, 0, 1, 0, 0, 10, 11, 0}, 11), Code::kCorrupt);         // more than bytes
  CHECK_CODE(run({1, 1, 1, 0, 2, 0, 0, 10, 1, 0, 1, 1, 0}, 2), Code::kCorrupt);  // no second block
  for (const uint64_t end : {kNumberEnd, UINT64_MAX}) {
    CHECK_CODE(run({1, end, 1, 0, 1, 0, 0, 10, 1, 0}), Code::kCorrupt);
    CHECK_CODE(run({end, 1, 1, 0, 1, 0, 0, 10, 1, 0}), Code::kCorrupt);
  }
  CHECK(run({kNumberEnd - 1, kNumberEnd - 1, 1, 0, 1, 0, 0, 10, 1, 0}).ok());
  CHECK_CODE(run({1, kNumberEnd - 1, 1, 0, 1, 0, 0, 10, 2, 0}, 2), Code::kCorrupt);
  CHECK_CODE(run({1, 1, 1, 0, 1, 0, 0, 10, 1, 0}, 2), Code::kCorrupt);    // the header counts two
  CHECK_CODE(index_of(runs_of(2, {1,          1, 1, 0, 1, 0, 0, 1, 1, 0,  //
                                  UINT64_MAX, 1, 1, 0, 1, 0, 1, 1, 1, 0}),
                      2, 10),
             Code::kCorrupt);  // the log's id passes every limit
}

// --------------------------------------------------------------------------- blocks and entries

TEST_CASE("C30: a block with any bit flipped, or cut anywhere, is refused") {
  for (const std::string& text : {noise(1, 300), std::string(300, 'a') + noise(2, 50)}) {
    ByteVector stored;
    const BlockInfo info = encode_block(as_bytes(text), 1, stored);
    const auto decode = [&](Bytes bytes) { return decode_block(info, bytes).status(); };
    every_bit_flipped_is_refused(stored, decode);
    every_cut_is_refused(stored, decode);
    // As if the index had been written for it.
    const auto trusted = [&](Bytes bytes) {
      BlockInfo own = info;
      own.stored_bytes = static_cast<uint32_t>(bytes.size());
      own.crc = crc32c(bytes);
      if (!own.compressed) own.raw_bytes = own.stored_bytes;
      return decode_block(own, bytes).status();
    };
    every_change_with_right_checksums_is_harmless(stored, trusted,
                                                  [](ByteVector&) { return true; });
  }
}

TEST_CASE("C30: a block that names another size than the index is refused before it is decoded") {
  const std::string text(100'000, 'a');
  ByteVector stored;
  BlockInfo info = encode_block(as_bytes(text), 1, stored);
  for (const uint32_t raw : {1u, 99'999u, 100'001u, UINT32_MAX}) {
    info.raw_bytes = raw;
    CHECK_CODE(decode_block(info, stored), Code::kCorrupt);
  }
}

TEST_CASE("C30: entries that are cut, or of absurd lengths, are none") {
  const Property properties[] = {{"key", "value"}, {"k", ""}};
  ByteVector encoded(properties_bytes(properties));
  store_properties(encoded.data(), properties);
  ByteVector bytes(1000);
  bytes.resize(static_cast<size_t>(store_entry(bytes.data(), -5, encoded, as_bytes("the payload")) -
                                   bytes.data()));
  for (size_t size = 0; size <= bytes.size(); ++size) {
    const Exact exact(Bytes(bytes).first(size));
    EntryCursor cursor(nullptr, exact.bytes(), 7, 1000);
    Entry entry;
    CHECK(cursor.next(&entry) == (size == bytes.size()));
    EntryCursor skipping(nullptr, exact.bytes(), 7, 1000);
    CHECK(skipping.skip() == (size == bytes.size()));
  }
  for (const uint64_t length : {uint64_t{100}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
    const Exact payload(varints({length & ~uint64_t{1}, 0, 1, 2, 3}));
    const Exact with_properties(varints({3, 0, length, 1, 2}));
    Entry entry;
    CHECK_FALSE(EntryCursor(nullptr, payload.bytes(), 1, 0).next(&entry));
    CHECK_FALSE(EntryCursor(nullptr, with_properties.bytes(), 1, 0).next(&entry));
  }
}

TEST_CASE("C30: properties that make no sense end where they do") {
  const auto entry_with = [](Bytes properties) {
    ByteVector bytes(1000);
    bytes.resize(static_cast<size_t>(store_entry(bytes.data(), 0, properties, {}) - bytes.data()));
    return bytes;
  };
  const Property two[] = {{"key", "value"}, {"other", "one"}};
  ByteVector encoded(properties_bytes(two));
  store_properties(encoded.data(), two);
  for (size_t size = 1; size <= encoded.size(); ++size) {
    const Exact bytes(entry_with(Bytes(encoded).first(size)));
    EntryCursor cursor(nullptr, bytes.bytes(), 1, 0);
    Entry entry;
    REQUIRE(cursor.next(&entry));
    const size_t whole = size == encoded.size() ? 2 : size >= 10 ? 1 : 0;
    CHECK(entry.properties().size() == whole);
    CHECK(entry.property("key").has_value() == (whole > 0));
    CHECK(entry.property("other").has_value() == (whole > 1));
  }
}

// ------------------------------------------------------------------------------------ checkpoints

namespace {

ByteVector decompressed(Bytes frame) {
  ByteVector out(1 << 20);
  const size_t size = ZSTD_decompress(out.data(), out.size(), frame.data(), frame.size());
  REQUIRE_FALSE(ZSTD_isError(size));
  out.resize(size);
  return out;
}

ByteVector compressed(const ByteVector& rows) {
  ByteVector out(ZSTD_compressBound(rows.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), rows.data(), rows.size(), 1));
  return out;
}

// A checkpoint with that header and these rows, with right checksums.
ByteVector checkpoint_of(Bytes header, const ByteVector& rows) {
  ByteVector object(header.begin(), header.end());
  put_bytes(object, compressed(rows));
  REQUIRE(repair_checkpoint(object));
  return object;
}

Status with_view(const std::function<void(ViewDelta&)>& change) {
  ViewDelta delta = sample_view();
  change(delta);
  MemView view(std::make_shared<MemViewData>());
  require_ok(view.apply(delta));
  const auto encoded = encode_checkpoint(view, 1);
  require_ok(encoded.status());
  return checkpoint_status(*encoded);
}

}  // namespace

TEST_CASE("C30: a checkpoint with any bit flipped, or cut anywhere, is refused") {
  for (const ByteVector& bytes : {sample_checkpoint(), upkeep_checkpoint()}) {
    require_ok(checkpoint_status(bytes));
    every_bit_flipped_is_refused(bytes, checkpoint_status);
    every_cut_is_refused(bytes, checkpoint_status);
  }
}

TEST_CASE("C30: a change of a checkpoint with right checksums does no harm") {
  for (const ByteVector& bytes : {sample_checkpoint(), upkeep_checkpoint()}) {
    every_change_with_right_checksums_is_harmless(bytes, checkpoint_status, repair_checkpoint);
    const Bytes header = Bytes(bytes).first(kCheckpointHeaderBytes);
    const ByteVector rows = decompressed(Bytes(bytes).subspan(kCheckpointHeaderBytes));
    const auto decode = [&](Bytes changed) {
      return checkpoint_status(checkpoint_of(header, {changed.begin(), changed.end()}));
    };
    every_change_with_right_checksums_is_harmless(rows, decode, [](ByteVector&) { return true; });
    every_cut_is_refused(rows, decode);
  }
}

TEST_CASE("C30: a checkpoint of another version, or with flags, is refused by name") {
  const ByteVector bytes = sample_checkpoint();
  ByteVector newer = with_field<uint16_t>(bytes, 8, 2);
  REQUIRE(repair_checkpoint(newer));
  CHECK_CODE(checkpoint_status(newer), Code::kUnsupported);
  CHECK(mentions(checkpoint_status(newer), "version 2"));
  // The first one promises rows, which the sample has not.
  ByteVector upkeep = with_field<uint32_t>(bytes, 12, 1);
  REQUIRE(repair_checkpoint(upkeep));
  CHECK_CODE(checkpoint_status(upkeep), Code::kCorrupt);
  for (int bit = 1; bit < 32; ++bit) {
    ByteVector flagged = with_field<uint32_t>(bytes, 12, uint32_t{1} << bit);
    REQUIRE(repair_checkpoint(flagged));
    CHECK_CODE(checkpoint_status(flagged), Code::kUnsupported);
    CHECK(mentions(checkpoint_status(flagged), std::to_string(uint32_t{1} << bit)));
  }
}

TEST_CASE("C30: a longer header of a checkpoint is read, and what is not known is passed over") {
  const ByteVector bytes = sample_checkpoint();
  ByteVector longer(bytes.begin(), bytes.begin() + 124);
  store_fixed<uint16_t>(longer.data() + 10, 200);
  longer.resize(200, std::byte{0xee});
  put_bytes(longer, Bytes(bytes).subspan(kCheckpointHeaderBytes));
  REQUIRE(repair_checkpoint(longer));
  CHECK(checkpoint_status(longer).ok());
}

TEST_CASE("C30: rows of a checkpoint that contradict each other are refused") {
  CHECK(with_view([](ViewDelta&) {}).ok());
  const auto refuses = [](auto change) { CHECK_CODE(with_view(change), Code::kCorrupt); };
  refuses([](ViewDelta& v) { v.head.last.slot.epoch = 0; });
  refuses([](ViewDelta& v) { v.head.last.slot.owner = 0; });
  refuses([](ViewDelta& v) { v.head.last.slot.seq = 7; });
  refuses([](ViewDelta& v) { v.head.next.seq = 2; });
  refuses([](ViewDelta& v) { v.head.next = {4, 1, 0}; });
  refuses([](ViewDelta& v) { v.head.logs = 2; });
  refuses([](ViewDelta& v) { v.head.log_id_next = 301; });
  refuses([](ViewDelta& v) { v.epochs.clear(); });
  refuses([](ViewDelta& v) { v.epochs[0].ended = false; });
  refuses([](ViewDelta& v) { v.epochs[0].owner = 0; });
  refuses([](ViewDelta& v) { v.epochs[1].owner ^= 1; });
  refuses([](ViewDelta& v) { v.epochs.push_back({3, 7, false, false, 0}); });
  refuses([](ViewDelta& v) { v.logs[0].lsn_first = v.logs[0].lsn_next + 1; });
  refuses([](ViewDelta& v) { v.logs[0].bytes_begin = v.logs[0].bytes_end + 1; });
  refuses([](ViewDelta& v) { v.logs[0].name = std::string(513, 'n'); });
  refuses([](ViewDelta& v) { v.runs.back().count = 1'000'000; });
  refuses([](ViewDelta& v) { v.runs.back().count = 0; });
  refuses([](ViewDelta& v) { v.runs.front().count = 100; });
  refuses([](ViewDelta& v) { v.runs.front().seq = kSeqMax + 1; });
  refuses([](ViewDelta& v) { v.runs.front().seq = kSegmentFirst + kSeqMax + 1; });
}

TEST_CASE("C30: settings and objects of a checkpoint that cannot be are refused") {
  const auto settings = [](std::vector<CursorRow> cursors) {
    return with_view([&](ViewDelta& v) { v.logs[0].settings.cursors = std::move(cursors); });
  };
  CHECK(settings({{"a", 0, 0}, {"b", kNumberEnd - 1, INT64_MIN}}).ok());
  CHECK_CODE(settings({{"b", 0, 0}, {"a", 0, 0}}), Code::kCorrupt);
  CHECK_CODE(settings({{"a", 0, 0}, {"a", 0, 0}}), Code::kCorrupt);
  CHECK_CODE(settings({{"", 0, 0}}), Code::kCorrupt);
  CHECK_CODE(settings({{"a", kNumberEnd, 0}}), Code::kCorrupt);
  CHECK_CODE(settings({{std::string(129, 'n'), 0, 0}}), Code::kCorrupt);
  std::vector<CursorRow> most;
  for (int i = 100; i < 200; ++i) {
    most.push_back({std::string(125, 'n') + std::to_string(i), kNumberEnd - 1, INT64_MIN});
  }
  CHECK(settings(most).ok());
  most.push_back({"o", 0, 0});
  CHECK_CODE(settings(most), Code::kCorrupt);
  CHECK_CODE(with_view([](ViewDelta& v) { v.logs[0].settings.retention.age = Duration{-1}; }),
             Code::kCorrupt);

  const auto object = [](Seq seq, uint64_t dead) {
    return with_view([&](ViewDelta& v) { v.slots.push_back({9, seq, 100, 1, dead}); });
  };
  const uint64_t now = sample_view().head.slots;
  CHECK(object(kSeqMax, now).ok());
  CHECK(object(kSegmentFirst + kSeqMax, 0).ok());
  CHECK(object(kSegmentFirst, now).ok());
  CHECK_CODE(object(1, now + 1), Code::kCorrupt);  // it died later than now
  CHECK_CODE(object(kSeqMax + 1, 0), Code::kCorrupt);
  CHECK_CODE(object(kSeqMax + 1, 1), Code::kCorrupt);
  CHECK_CODE(object(kSegmentFirst + kSeqMax + 1, 0), Code::kCorrupt);
}

TEST_CASE("C30: rows of settings and objects stand where they belong, and nowhere else") {
  const ByteVector bytes = upkeep_checkpoint();
  const Bytes header = Bytes(bytes).first(kCheckpointHeaderBytes);
  const ByteVector start = varints({302, 5, 180, 1, 1, 2, 0xfedcba9876543210, 0, 0, 0});
  const ByteVector log = named({1}, "a", {301, 1, 5, 0, 40, 0}),
                   run = varints({2, 301, 1, 4, 1, 0, 0, 40, 0, 0});
  const ByteVector settings = varints({4, 5, 0, 0, 0, 0, 0}),
                   object = varints({5, 1, 1, 7, 100, 4, 0});
  const ByteVector slot = varints({3, 1, 0, 100, 4}), end = varints({0});
  const auto status_of = [&](std::initializer_list<const ByteVector*> rows) {
    ByteVector all = start;
    for (const ByteVector* row : rows) put_bytes(all, *row);
    return checkpoint_status(checkpoint_of(header, all));
  };
  CHECK(status_of({&log, &settings, &run, &slot, &object, &end}).ok());
  CHECK(status_of({&log, &settings, &end}).ok());
  CHECK(status_of({&log, &object, &end}).ok());
  CHECK_CODE(status_of({&log, &run, &slot, &end}), Code::kCorrupt);  // none of what was promised
  CHECK_CODE(status_of({&settings, &log, &end}), Code::kCorrupt);
  CHECK_CODE(status_of({&log, &settings, &settings, &end}), Code::kCorrupt);
  CHECK_CODE(status_of({&log, &run, &settings, &end}), Code::kCorrupt);
  CHECK_CODE(status_of({&log, &object, &settings, &end}), Code::kCorrupt);
  CHECK_CODE(status_of({&log, &object, &slot, &end}), Code::kCorrupt);  // segments come last
  CHECK_CODE(status_of({&log, &object, &object, &end}), Code::kCorrupt);
  CHECK_CODE(status_of({&object, &log, &end}), Code::kCorrupt);
  const ByteVector nothing = varints({4, 0, 0, 0, 0, 0, 0});  // settings that say nothing
  CHECK_CODE(status_of({&log, &nothing, &end}), Code::kCorrupt);
  const ByteVector plain = varints({5, 0, 1, 0, 100, 4, 0});  // an object that is a plain slot
  CHECK_CODE(status_of({&log, &plain, &end}), Code::kCorrupt);
  const ByteVector kind = varints({5, 2, 1, 0, 100, 4, 1});
  CHECK_CODE(status_of({&log, &kind, &end}), Code::kCorrupt);
}

TEST_CASE("C30: numbers of a checkpoint that do not fit their fields are refused") {
  const ByteVector bytes = sample_checkpoint();
  const Bytes header = Bytes(bytes).first(kCheckpointHeaderBytes);
  const auto start = [&](uint64_t epoch, uint64_t ended, uint64_t closed) {
    ByteVector rows = varints({1, 1, 180, 0, 2});
    put_bytes(rows, varints({epoch, 5, ended, closed, 0}));
    put_bytes(rows, varints({2, 0xfedcba9876543210, 0, 0, 0}));
    rows.push_back(std::byte{0});
    return checkpoint_status(checkpoint_of(header, rows));
  };
  CHECK(start(1, 1, 1).ok());
  CHECK(start(1, 1, 0).ok());
  CHECK_CODE(start((uint64_t{1} << 32) + 1, 1, 1), Code::kCorrupt);
  CHECK_CODE(start(1, 2, 1), Code::kCorrupt);
  CHECK_CODE(start(1, 1, 2), Code::kCorrupt);
  CHECK_CODE(start(2, 1, 1), Code::kCorrupt);  // not before the last
  // More epochs than there are.
  for (const uint64_t count : {uint64_t{2}, uint64_t{1} << 32, UINT64_MAX}) {
    ByteVector rows = varints({1, 1, 180, 0, count, 2, 0xfedcba9876543210, 0, 0, 0, 0});
    CHECK_CODE(checkpoint_status(checkpoint_of(header, rows)), Code::kCorrupt);
  }
}

TEST_CASE("C30: a checkpoint of many rows comes back whole") {
  MemView view(std::make_shared<MemViewData>());
  ViewDelta delta = sample_view();
  for (LogId id = 1000; id < 5000; ++id) {
    delta.logs.push_back({id, "log " + std::to_string(id), 1, 4, 0, 30, kSampleTimeMs});
    if (id % 3 != 0) delta.logs.back().settings.cursors = {{"c", id, 0}};
    for (Lsn lsn = 1; lsn < 4; ++lsn) {
      delta.runs.push_back({id, lsn, 1, 1, 1, (lsn - 1) * 10, 10, kSampleTimeMs, kSampleTimeMs});
    }
  }
  delta.logs.push_back({5000, std::string(512, '~'), 1, 1, 0, 0, 0});
  delta.head.logs = delta.logs.size();
  delta.head.log_id_next = 5001;
  require_ok(view.apply(delta));
  const auto encoded = encode_checkpoint(view, 1);
  require_ok(encoded.status());
  auto data = std::make_shared<MemViewData>();
  MemView copy(data);
  const auto head =
      decode_checkpoint(*encoded, [&](const ViewDelta& part) { return copy.apply(part); });
  require_ok(head.status());
  CHECK(data->times_applied() > 1);
  const auto was = view.logs("", 10'000), is = copy.logs("", 10'000);
  require_ok(is.status());
  CHECK((*was == *is));
  for (const LogRow& log : *was) {
    if (!(*view.runs(log.id, 1, 10) == *copy.runs(log.id, 1, 10))) FAIL_CHECK(log.name);
  }
  const auto again = encode_checkpoint(copy, 1);
  require_ok(again.status());
  CHECK((*encoded == *again));
}

}  // namespace wp
