// The ledger: what a slot changes, which slots it refuses, and that a refused one changes nothing.
#include "engine/ledger.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/sim_store.h"
#include "tests/test_root.h"

namespace wp {
namespace {

constexpr Nonce kOwner = 11;

// A ledger over a view in memory, and slots for it.
struct Book {
  std::shared_ptr<MemViewData> data = std::make_shared<MemViewData>();
  MemView view{data};
  RamBudget ram{1 << 20};
  Ledger ledger{&view, ram};

  Book() {
    RootObject root;
    root.id[0] = std::byte{1};
    root.creator = kOwner;
    ledger.begin_new(root, Digest{}, &view);
  }

  // A slot that follows.
  SlotHeader header() const {
    SlotHeader header;
    header.root = ledger.head().root_id;
    header.slot = ledger.head().next;
    header.prev = ledger.head().last;
    header.author = header.slot.owner;
    return header;
  }
  Status apply(const SlotHeader& header, const SlotIndex& index = {}) {
    Digest digest{};
    store_fixed(digest.data(), ledger.head().slots + 1);
    return ledger.apply(header, digest, index);
  }
  Status apply(const SlotIndex& index) { return apply(header(), index); }
  Status fence(Nonce author) {
    SlotHeader fence = header();
    fence.kind = SlotKind::kFence;
    fence.author = author;
    return apply(fence);
  }
  void to_view() {
    const ViewDelta delta = ledger.take();
    require_ok(view.apply(delta));
    ledger.applied(delta);
  }
  LogRow row(LogId id) {
    const auto row = view.log_by_id(id);
    require_ok(row.status());
    REQUIRE(row->has_value());
    return **row;
  }
};

Record create(LogId log, std::string name) {
  return {RecordType::kCreate, log, std::move(name), 0, 0};
}
Record truncate(LogId log, Lsn lsn_first, uint64_t bytes_begin = 0) {
  return {RecordType::kTruncate, log, "", lsn_first, bytes_begin};
}
Record drop(LogId log) {
  return {RecordType::kDrop, log, "", 0, 0};
}
Run run(LogId log, Lsn lsn_first, uint64_t count) {
  return {log, lsn_first, count, count * 10, 1000, 1000 + static_cast<int64_t>(count), 0, 0};
}
SlotIndex slot(std::vector<Record> records, std::vector<Run> runs = {}) {
  SlotIndex index;
  index.records = std::move(records);
  index.runs = std::move(runs);
  return index;
}

}  // namespace

TEST_CASE("creation, entries, truncation and drop of a log may stand in one slot") {
  Book book;
  require_ok(book.apply(slot({create(1, "a"), create(2, "b"), truncate(1, 3, 0), drop(2)},
                             {run(1, 1, 4), run(2, 1, 2)})));
  book.to_view();
  const LogRow a = book.row(1);
  CHECK(a.lsn_first == 3);
  CHECK(a.lsn_next == 5);
  CHECK(a.bytes_end == 40);
  CHECK(a.time_last_ms == 1004);
  CHECK_FALSE(book.view.log_by_id(2)->has_value());
  CHECK(book.ledger.head().logs == 1);
  CHECK(book.ledger.head().log_id_next == 3);
}

TEST_CASE("a slot that does not fit the chain changes nothing") {
  Book book;
  require_ok(book.apply(slot({create(1, "a")}, {run(1, 1, 4)})));
  const ViewHead before = book.ledger.head();
  const auto refuses = [&](auto change) {
    SlotHeader header = book.header();
    change(header);
    CHECK_CODE(book.apply(header, slot({}, {run(1, 5, 1)})), Code::kCorrupt);
    CHECK((book.ledger.head() == before));
  };
  refuses([](SlotHeader& h) { h.root[5] = std::byte{9}; });
  refuses([](SlotHeader& h) { ++h.slot.seq; });
  refuses([](SlotHeader& h) { ++h.slot.epoch; });
  refuses([](SlotHeader& h) { ++h.slot.owner; });
  refuses([](SlotHeader& h) { h.prev.digest[31] ^= std::byte{1}; });
  refuses([](SlotHeader& h) { h.prev.slot = h.slot; });
  require_ok(book.apply(slot({}, {run(1, 5, 1)})));
}

TEST_CASE("a slot that contradicts what is known changes nothing") {
  Book book;
  require_ok(book.apply(slot({create(1, "a"), create(2, "b")}, {run(1, 1, 4)})));
  require_ok(book.apply(slot({drop(2)})));
  for (const bool in_view : {false, true}) {
    CAPTURE(in_view);
    if (in_view) book.to_view();
    const ViewHead before = book.ledger.head();
    for (const SlotIndex& wrong :
         {slot({create(1, "again")}), slot({create(3, "c"), create(3, "d")}),
          slot({}, {run(1, 6, 1)}), slot({}, {run(1, 4, 1)}), slot({}, {run(7, 1, 1)}),
          slot({create(3, "c")}, {run(3, 2, 1)}), slot({}, {run(2, 1, 1)})}) {
      CHECK_CODE(book.apply(wrong), Code::kCorrupt);
      CHECK((book.ledger.head() == before));
    }
  }
}

// A truncation may be on its way while another thread drops the log.
TEST_CASE("changes of a log that is gone have no effect") {
  Book book;
  require_ok(book.apply(slot({create(1, "a"), create(2, "b")}, {run(1, 1, 4), run(2, 1, 4)})));
  require_ok(book.apply(slot({drop(1), truncate(1, 3), drop(1)})));
  CHECK(book.ledger.head().logs == 1);
  for (const bool in_view : {false, true}) {
    if (in_view) book.to_view();
    require_ok(book.apply(slot({truncate(1, 3), drop(1), truncate(9, 2), drop(9)})));
    CHECK(book.ledger.head().logs == 1);
  }
  require_ok(book.apply(slot({create(3, "c"), drop(3), truncate(3, 1)})));
  CHECK_CODE(book.apply(slot({create(4, "d"), drop(4), create(4, "d")})), Code::kCorrupt);
  require_ok(book.apply(slot({drop(2), create(5, "b")}, {run(5, 1, 1)})));  // the name is free
  book.to_view();
  CHECK(book.row(5).name == "b");
  CHECK(book.ledger.head().logs == 1);
}

TEST_CASE("a truncation that makes no sense is passed over") {
  Book book;
  require_ok(book.apply(slot({create(1, "a"), truncate(1, 9)}, {run(1, 1, 4)})));
  require_ok(book.apply(slot({truncate(1, 3, UINT64_MAX)})));
  require_ok(book.apply(slot({truncate(1, 2)})));  // back
  book.to_view();
  CHECK(book.row(1).lsn_first == 3);
  CHECK(book.row(1).bytes_begin <= book.row(1).bytes_end);
}

// Logs that nobody holds leave RAM whenever many came in: also in the middle of a slot.
TEST_CASE("a slot that changes more logs than stay in RAM is applied whole") {
  constexpr LogId kLogs = 2'500;
  Book book;
  SlotIndex created;
  for (LogId id = 1; id <= kLogs; ++id) {
    created.records.push_back(create(id, "log" + std::to_string(id)));
    created.runs.push_back(run(id, 1, 3));
  }
  require_ok(book.apply(created));
  book.to_view();
  SlotIndex changes;
  for (LogId id = 1; id <= kLogs; ++id) {
    changes.records.push_back(id % 2 == 0 ? truncate(id, 2, 0) : drop(id));
  }
  require_ok(book.apply(changes));
  book.to_view();
  CHECK(book.ledger.head().logs == kLogs / 2);
  CHECK(book.row(kLogs).lsn_first == 2);
  CHECK_FALSE(book.view.log_by_id(1)->has_value());
}

TEST_CASE("a fence ends an epoch and gives the next one to its author") {
  Book book;
  require_ok(book.apply(slot({create(1, "a")})));
  SlotHeader last = book.header();
  last.closed = true;
  require_ok(book.apply(last));
  require_ok(book.fence(22));
  CHECK(book.ledger.head().next == SlotId{2, 22, 0});
  CHECK(book.ledger.owner_of(1) == kOwner);
  CHECK(book.ledger.owner_of(2) == 22);
  CHECK(book.ledger.owner_of(3) == 0);
  require_ok(book.fence(33));
  book.to_view();
  const auto epochs = book.view.epochs();
  require_ok(epochs.status());
  REQUIRE(epochs->size() == 3);
  CHECK((epochs->at(0) == EpochRow{1, kOwner, true, true, 2}));
  CHECK((epochs->at(1) == EpochRow{2, 22, true, false, 0}));
  CHECK((epochs->at(2) == EpochRow{3, 33, false, false, 0}));
  CHECK(book.view.slots(0, 0, 10)->size() == 4);
}

TEST_CASE("that an owner closed is remembered when its last slot is in the view already") {
  Book book;
  SlotHeader last = book.header();
  last.closed = true;
  require_ok(book.apply(last));
  book.to_view();
  require_ok(book.fence(22));
  book.to_view();
  CHECK((*book.view.epochs())[0].closed);
}

TEST_CASE("what the view does not have yet is counted as RAM, and given back") {
  Book book;
  require_ok(book.apply(slot({create(1, "a")}, {run(1, 1, 4)})));
  CHECK(book.ram.of(Ram::kIndex) > 0);
  CHECK(book.ledger.pending_slots() == 1);
  CHECK(book.ledger.pending());
  book.to_view();
  CHECK(book.ram.of(Ram::kIndex) == 0);
  CHECK_FALSE(book.ledger.pending());
  const LogStatePtr gone = book.ledger.in_ram(LogId{1});
  CHECK(gone == nullptr);  // nobody holds it
  CHECK(book.ledger.load(book.row(1))->lsn_durable == 4);
  CHECK(book.ledger.in_ram("a") != nullptr);
}

}  // namespace wp
