// What every view must do, in the words of engine/view.h: one suite over the view in SQLite, in a
// file and in memory, and over the one of the simulator.
#include <doctest/doctest.h>

#include <atomic>
#include <limits>
#include <thread>

#include "meta_sqlite/sqlite_view.h"
#include "tests/sim_store.h"
#include "tests/store_contract.h"
#include "tests/view_rows.h"

namespace wp {
namespace {

using namespace view_test;

constexpr uint64_t kKeyMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kTimeMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kTimeMax = std::numeric_limits<int64_t>::max();

enum class ViewKind : uint8_t { kSimulated, kSqliteMemory, kSqliteFile };

// Runs the test case once for each kind of view.
ViewKind each_view() {
  ViewKind kind = ViewKind::kSimulated;
  SUBCASE("of the simulator") {
    kind = ViewKind::kSimulated;
  }
  SUBCASE("in SQLite, in memory") {
    kind = ViewKind::kSqliteMemory;
  }
  SUBCASE("in SQLite, in a file") {
    kind = ViewKind::kSqliteFile;
  }
  return kind;
}

// Where one view lies, and the view.
class ViewPlace {
 public:
  explicit ViewPlace(ViewKind kind) : kind_(kind) { view_ = open(); }

  View* operator->() const { return view_.get(); }
  View& operator*() const { return *view_; }
  ViewKind kind() const { return kind_; }
  // Closes and opens it; nothing happens to one that lives only as long as it is open.
  void reopen() {
    if (kind_ == ViewKind::kSqliteMemory) return;
    must(view_->close());
    view_.reset();
    view_ = open();
  }

 private:
  std::unique_ptr<View> open() {
    if (kind_ == ViewKind::kSimulated) return std::make_unique<MemView>(data_);
    return got(SqliteView::open(kind_ == ViewKind::kSqliteFile ? directory_ / "view" : ""));
  }

  const ViewKind kind_;
  const store_test::TempDir directory_;
  const std::shared_ptr<MemViewData> data_ = std::make_shared<MemViewData>();
  std::unique_ptr<View> view_;
};

std::vector<std::string> names_of(const std::vector<LogRow>& rows) {
  std::vector<std::string> names;
  for (const LogRow& row : rows) names.push_back(row.name);
  return names;
}

std::vector<Lsn> firsts_of(const std::vector<RunRow>& rows) {
  std::vector<Lsn> firsts;
  for (const RunRow& row : rows) firsts.push_back(row.lsn_first);
  return firsts;
}

using Lsns = std::vector<Lsn>;
using Names = std::vector<std::string>;

// The first LSN of the run; 0: none.
Lsn at_time(View& view, LogId log, int64_t time_ms) {
  const auto run = got(view.run_at_time(log, time_ms));
  return run ? run->lsn_first : 0;
}

}  // namespace

TEST_CASE("a new view has nothing, and says so without an error") {
  const ViewPlace view(each_view());
  CHECK(got(view->head()) == std::nullopt);
  CHECK(got(view->log_by_name("a")) == std::nullopt);
  CHECK(got(view->log_by_name("")) == std::nullopt);
  CHECK(got(view->log_by_id(1)) == std::nullopt);
  CHECK(got(view->log_by_id(UINT64_MAX)) == std::nullopt);
  CHECK(got(view->logs("", 10)).empty());
  CHECK(got(view->runs(1, 1, 10)).empty());
  CHECK(got(view->run_at_time(1, 0)) == std::nullopt);
  CHECK(got(view->epoch(1)) == std::nullopt);
  CHECK(got(view->epochs()).empty());
  CHECK(got(view->slots(0, 0, 10)).empty());
  CHECK(view->note("a").empty());
  CHECK(view->path().empty() == (view.kind() != ViewKind::kSqliteFile));
}

TEST_CASE("every column comes back as it was written, also the least and the greatest") {
  ViewPlace view(each_view());
  ViewDelta delta;
  LogRow least{1, "a", 0, 0, 0, 0, kTimeMin};
  LogRow greatest{kKeyMax, std::string(512, 'z'), kKeyMax, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                  kTimeMax};
  delta.logs = {least, greatest};
  RunRow run{1, 1, 1, 0, 0, 0, 0, kTimeMin, kTimeMax};
  RunRow run_greatest{1,          kKeyMax - 9, 9,        UINT32_MAX, UINT64_MAX,
                      UINT64_MAX, UINT64_MAX,  kTimeMax, kTimeMax};
  delta.runs = {run, run_greatest};
  delta.epochs = {{0, 0, false, false, 0}, {UINT32_MAX, UINT64_MAX, true, true, UINT64_MAX}};
  delta.slots = {{0, 0, 0, 0}, {UINT32_MAX, kKeyMax - 1, UINT64_MAX, UINT64_MAX}};
  delta.head.root_id.fill(std::byte{0xff});
  delta.head.last.slot = {UINT32_MAX, UINT64_MAX, UINT64_MAX};
  delta.head.last.digest.fill(std::byte{0x80});
  delta.head.next = {UINT32_MAX, UINT64_MAX, UINT64_MAX};
  delta.head.log_id_next = delta.head.slots = UINT64_MAX;
  delta.head.stored_bytes = delta.head.logs = UINT64_MAX;
  must(view->apply(delta));
  for (int round = 0; round < 2; ++round) {
    CHECK(got(view->head()) == std::optional<ViewHead>(delta.head));
    CHECK(got(view->logs("", 10)) == delta.logs);
    CHECK(got(view->log_by_id(kKeyMax)) == std::optional<LogRow>(greatest));
    CHECK(got(view->log_by_name(greatest.name)) == std::optional<LogRow>(greatest));
    CHECK(got(view->runs(1, 0, 10)) == delta.runs);
    CHECK(got(view->epochs()) == delta.epochs);
    CHECK(got(view->epoch(UINT32_MAX)) == std::optional<EpochRow>(delta.epochs[1]));
    CHECK(got(view->slots(0, 0, 10)) == delta.slots);
    view.reopen();
  }
}

TEST_CASE("an empty delta moves only the head") {
  ViewPlace view(each_view());
  ViewDelta first;
  first.logs = {log_row(1, "a")};
  first.runs = {run_row(1, 1, 5)};
  first.epochs = {epoch_row(1, 7)};
  first.slots = {slot_row(1, 0)};
  first.head = head_of(1);
  must(view->apply(first));
  Answers expected = all_of(*view);
  ViewDelta empty;
  empty.head = head_of(2);
  must(view->apply(empty));
  expected.head = head_of(2);
  CHECK(all_of(*view) == expected);
  must(view->apply(empty));
  CHECK(all_of(*view) == expected);
  view.reopen();
  CHECK(all_of(*view) == expected);
}

TEST_CASE("rows of the same key replace each other, also within one delta") {
  ViewPlace view(each_view());
  for (int round = 0; round < 2; ++round) {
    ViewDelta delta;
    const auto n = static_cast<uint64_t>(round) * 10;
    delta.logs = {log_row(1, "a", 1, n + 1), log_row(1, "a", 1, n + 2)};
    delta.epochs = {epoch_row(1, 7), epoch_row(1, 7, true, n + 1)};
    delta.slots = {slot_row(1, 0, 1), slot_row(1, 0, n + 3)};
    delta.head = head_of(n);
    must(view->apply(delta));
    CHECK(got(view->logs("", 10)) == std::vector<LogRow>{delta.logs[1]});
    CHECK(got(view->epochs()) == std::vector<EpochRow>{delta.epochs[1]});
    CHECK(got(view->slots(0, 0, 10)) == std::vector<SlotRow>{delta.slots[1]});
  }
}

TEST_CASE("logs come in the order of the bytes of their names, page by page") {
  const ViewPlace view(each_view());
  const Names names = {" ", "A", "a", "a ", "a0", "aa", "b", "z", "\x7e", "ä", "日本", "🎈"};
  ViewDelta delta;
  for (size_t i = names.size(); i-- > 0;) delta.logs.push_back(log_row(i + 1, names[i]));
  delta.head = head_of(1);
  must(view->apply(delta));
  CHECK(names_of(got(view->logs("", SIZE_MAX))) == names);
  CHECK(got(view->logs("", 0)).empty());
  for (const size_t page : {1, 2, 5}) {
    Names seen;
    for (std::string after;;) {
      const auto rows = got(view->logs(after, page));
      CHECK(rows.size() <= page);
      if (rows.empty()) break;
      for (const LogRow& row : rows) seen.push_back(row.name);
      after = seen.back();
    }
    CHECK(seen == names);
  }
  CHECK(names_of(got(view->logs("a", 2))) == Names{"a ", "a0"});
  CHECK(names_of(got(view->logs("a00", 1))) == Names{"aa"});  // behind what is not there
  CHECK(got(view->logs("🎈", 10)).empty());
  CHECK(got(view->logs("\xff", 10)).empty());
}

TEST_CASE("runs come from the one that holds the LSN, or the first behind it") {
  const ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a", 5, 41), log_row(2, "b", 1, 9), log_row(3, "c")};
  // Log 1 begins at 5, and has a hole at 20 to 24.
  delta.runs = {run_row(1, 5, 5),   run_row(1, 10, 10), run_row(1, 25, 1),
                run_row(1, 26, 15), run_row(2, 1, 8),   run_row(4, 1, 1)};
  delta.head = head_of(1);
  must(view->apply(delta));
  const auto runs = [&](LogId log, Lsn lsn, size_t count = SIZE_MAX) {
    return firsts_of(got(view->runs(log, lsn, count)));
  };
  const Lsns all = {5, 10, 25, 26};
  for (const Lsn lsn : {0, 1, 4, 5, 6, 9}) CHECK(runs(1, lsn) == all);
  for (const Lsn lsn : {10, 11, 19}) CHECK(runs(1, lsn) == Lsns{10, 25, 26});
  for (const Lsn lsn : {20, 24, 25}) CHECK(runs(1, lsn) == Lsns{25, 26});
  for (const Lsn lsn : {26, 40}) CHECK(runs(1, lsn) == Lsns{26});
  for (const Lsn lsn : {Lsn{41}, Lsn{1000}, kKeyMax, kKeyMax + 1, UINT64_MAX}) {
    CHECK(runs(1, lsn).empty());
  }
  CHECK(runs(1, 11, 0).empty());
  CHECK(runs(1, 11, 1) == Lsns{10});
  CHECK(runs(1, 11, 2) == Lsns{10, 25});
  CHECK(runs(2, 3) == Lsns{1});
  CHECK(runs(2, 9).empty());
  CHECK(runs(3, 1).empty());
  CHECK(runs(0, 1).empty());
  CHECK(runs(UINT64_MAX, 1).empty());
  CHECK(got(view->runs(1, 12, 1)).front() == delta.runs[1]);
}

TEST_CASE("a log whose first LSN grew loses the runs wholly before it, and no others") {
  ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a", 1, 31), log_row(2, "b", 1, 31)};
  for (const LogId log : {1, 2}) {
    for (const Lsn lsn : {1, 11, 21}) delta.runs.push_back(run_row(log, lsn, 10));
  }
  delta.head = head_of(1);
  must(view->apply(delta));
  const auto truncate = [&](Lsn lsn_first) {
    ViewDelta change;
    change.logs = {log_row(1, "a", lsn_first, 31)};
    change.head = head_of(lsn_first);
    must(view->apply(change));
    view.reopen();
    CHECK(firsts_of(got(view->runs(2, 0, 10))) == Lsns{1, 11, 21});
    return firsts_of(got(view->runs(1, 0, 10)));
  };
  CHECK(truncate(1) == Lsns{1, 11, 21});
  CHECK(truncate(10) == Lsns{1, 11, 21});  // the run ends with 10
  CHECK(truncate(11) == Lsns{11, 21});
  CHECK(truncate(12) == Lsns{11, 21});
  CHECK(truncate(30) == Lsns{21});
  CHECK(truncate(31).empty());
  CHECK(truncate(31).empty());
  ViewDelta more;
  more.logs = {log_row(1, "a", 31, 33)};
  more.runs = {run_row(1, 31, 2)};
  more.head = head_of(50);
  must(view->apply(more));
  CHECK(firsts_of(got(view->runs(1, 31, 10))) == Lsns{31});
}

TEST_CASE("a log that is appended to and truncated in one delta keeps what is left") {
  ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a", 1, 11)};
  delta.runs = {run_row(1, 1, 10)};
  delta.head = head_of(1);
  must(view->apply(delta));
  ViewDelta both;
  both.logs = {log_row(1, "a", 25, 31)};
  both.runs = {run_row(1, 11, 10), run_row(1, 21, 10)};
  both.head = head_of(2);
  must(view->apply(both));
  CHECK(firsts_of(got(view->runs(1, 25, 10))) == Lsns{21});
  view.reopen();
  CHECK(firsts_of(got(view->runs(1, 25, 10))) == Lsns{21});
}

TEST_CASE("a dropped log is gone with its runs, and the others stay") {
  ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a"), log_row(2, "b"), log_row(3, "c")};
  for (const LogId log : {1, 2, 3}) delta.runs.push_back(run_row(log, 1, 10));
  delta.head = head_of(1);
  must(view->apply(delta));
  ViewDelta drop;
  drop.dropped = {2, 99};  // what is not there is no error
  drop.head = head_of(2);
  must(view->apply(drop));
  must(view->apply(drop));
  view.reopen();
  CHECK(names_of(got(view->logs("", 10))) == Names{"a", "c"});
  CHECK(got(view->log_by_name("b")) == std::nullopt);
  CHECK(got(view->log_by_id(2)) == std::nullopt);
  CHECK(got(view->runs(2, 1, 10)).empty());
  CHECK(got(view->run_at_time(2, 0)) == std::nullopt);
  CHECK(firsts_of(got(view->runs(1, 1, 10))) == Lsns{1});
  CHECK(firsts_of(got(view->runs(3, 1, 10))) == Lsns{1});
}

TEST_CASE("a name that was dropped may be a new log, in a later delta or the same one") {
  ViewPlace view(each_view());
  ViewDelta first;
  first.logs = {log_row(1, "a", 1, 11)};
  first.runs = {run_row(1, 1, 10)};
  first.head = head_of(1);
  must(view->apply(first));
  ViewDelta same;
  same.logs = {log_row(2, "a", 1, 6)};
  same.runs = {run_row(2, 1, 5)};
  same.dropped = {1};
  same.head = head_of(2);
  must(view->apply(same));
  view.reopen();
  CHECK(got(view->log_by_name("a"))->id == 2);
  CHECK(got(view->log_by_id(1)) == std::nullopt);
  CHECK(got(view->runs(1, 1, 10)).empty());
  CHECK(firsts_of(got(view->runs(2, 1, 10))) == Lsns{1});

  // A log that lives and dies within one delta, between two of its name.
  ViewDelta quick;
  quick.logs = {log_row(2, "a", 1, 9), log_row(3, "a", 1, 3), log_row(4, "a", 1, 2)};
  quick.runs = {run_row(2, 6, 3), run_row(3, 1, 2), run_row(4, 1, 1)};
  quick.dropped = {3, 2};
  quick.head = head_of(3);
  must(view->apply(quick));
  view.reopen();
  CHECK(got(view->log_by_name("a")) == std::optional<LogRow>(quick.logs[2]));
  CHECK(got(view->logs("", 10)).size() == 1);
  CHECK(got(view->runs(2, 1, 10)).empty());
  CHECK(got(view->runs(3, 1, 10)).empty());
  CHECK(firsts_of(got(view->runs(4, 1, 10))) == Lsns{1});

  ViewDelta gone;
  gone.dropped = {4};
  gone.head = head_of(4);
  must(view->apply(gone));
  ViewDelta later;
  later.logs = {log_row(5, "a")};
  later.head = head_of(5);
  must(view->apply(later));
  CHECK(got(view->log_by_name("a"))->id == 5);
}

TEST_CASE("a run is found by time: the first that is not wholly before") {
  ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a"), log_row(2, "b"), log_row(3, "c")};
  delta.runs = {run_row(1, 1, 10, 100, 110),  run_row(1, 11, 10, 110, 110),
                run_row(1, 21, 10, 110, 110), run_row(1, 31, 10, 120, 150),
                run_row(2, 1, 1, 50, 50),     run_row(3, 1, 1, kTimeMin, kTimeMin),
                run_row(3, 2, 1, -5, 0),      run_row(3, 3, 1, kTimeMax, kTimeMax)};
  delta.head = head_of(1);
  must(view->apply(delta));
  const auto at = [&](LogId log, int64_t time_ms) { return at_time(*view, log, time_ms); };
  for (const int64_t time_ms :
       {kTimeMin, int64_t{-1}, int64_t{0}, int64_t{99}, int64_t{105}, int64_t{110}}) {
    CHECK(at(1, time_ms) == 1);
  }
  for (const int64_t time_ms : {111, 119, 120, 150}) CHECK(at(1, time_ms) == 31);
  CHECK(at(1, 151) == 0);
  CHECK(at(1, kTimeMax) == 0);
  CHECK(at(2, 50) == 1);
  CHECK(at(2, 51) == 0);
  CHECK(at(3, kTimeMin) == 1);
  CHECK(at(3, kTimeMin + 1) == 2);
  CHECK(at(3, 0) == 2);
  CHECK(at(3, 1) == 3);
  CHECK(at(3, kTimeMax) == 3);
  CHECK(at(4, 0) == 0);
  CHECK(at(UINT64_MAX, 0) == 0);
  ViewDelta truncated;
  truncated.logs = {log_row(1, "a", 21)};
  truncated.head = head_of(2);
  must(view->apply(truncated));
  CHECK(at(1, 0) == 21);
}

TEST_CASE("a run is found by time among many, of all sizes and gaps") {
  const ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a"), log_row(2, "b"), log_row(3, "c")};
  SimRandom random(1);
  Lsn lsn = 1;
  int64_t time_ms = 0;
  for (int i = 0; i < 500; ++i) {
    const int64_t begin = time_ms + static_cast<int64_t>(random.below(4));
    time_ms = begin + static_cast<int64_t>(random.below(4));
    const uint64_t count = random.chance(0.1) ? 1'000'000 : 1 + random.below(3);
    delta.runs.push_back(run_row(2, lsn, count, begin, time_ms));
    lsn += count + random.below(2);
  }
  delta.runs.push_back(run_row(1, 1, 1, 0, kTimeMax));  // of its neighbours
  delta.runs.push_back(run_row(3, 1, 1, 0, kTimeMax));
  delta.head = head_of(1);
  must(view->apply(delta));
  for (int64_t t = -1; t <= time_ms + 1; ++t) {
    Lsn expected = 0;
    for (const RunRow& run : delta.runs) {
      if (expected == 0 && run.log == 2 && run.time_last_ms >= t) expected = run.lsn_first;
    }
    if (at_time(*view, 2, t) != expected) FAIL_CHECK("time " << t << ": not run " << expected);
  }
}

TEST_CASE("slots and epochs come in their order") {
  ViewPlace view(each_view());
  ViewDelta delta;
  delta.slots = {slot_row(2, 0, 5, 0), slot_row(1, 1),   slot_row(1, 0),
                 slot_row(10, 0),      slot_row(2, 300), slot_row(2, 2)};
  delta.epochs = {epoch_row(10, 3), epoch_row(2, 2, true, 300), epoch_row(1, 1, true, 1)};
  delta.head = head_of(1);
  must(view->apply(delta));
  view.reopen();
  const auto slots = [&](Epoch epoch, Seq seq, size_t count = SIZE_MAX) {
    std::vector<std::pair<Epoch, Seq>> ids;
    for (const SlotRow& row : got(view->slots(epoch, seq, count)))
      ids.emplace_back(row.epoch, row.seq);
    return ids;
  };
  using Ids = std::vector<std::pair<Epoch, Seq>>;
  const Ids all = {{1, 0}, {1, 1}, {2, 0}, {2, 2}, {2, 300}, {10, 0}};
  CHECK(slots(0, 0) == all);
  CHECK(slots(1, 0) == all);
  CHECK(slots(1, 1) == Ids(all.begin() + 1, all.end()));
  CHECK(slots(1, 2) == Ids(all.begin() + 2, all.end()));
  CHECK(slots(1, UINT64_MAX) == Ids(all.begin() + 2, all.end()));
  CHECK(slots(2, 1, 2) == Ids{{2, 2}, {2, 300}});
  CHECK(slots(3, 0) == Ids{{10, 0}});
  CHECK(slots(10, 1).empty());
  CHECK(slots(UINT32_MAX, UINT64_MAX).empty());
  CHECK(slots(0, 0, 0).empty());
  CHECK(got(view->slots(2, 0, 1)).front() == delta.slots[0]);
  const std::vector<EpochRow> epochs = {delta.epochs[2], delta.epochs[1], delta.epochs[0]};
  CHECK(got(view->epochs()) == epochs);
  CHECK(got(view->epoch(2)) == std::optional<EpochRow>(delta.epochs[1]));
  CHECK(got(view->epoch(3)) == std::nullopt);
  CHECK(got(view->epoch(UINT32_MAX)) == std::nullopt);
}

TEST_CASE("a published run takes the place of those within it, and of no others") {
  ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a", 5, 41), log_row(2, "b", 1, 31), log_row(3, "c", 21, 21)};
  delta.runs = {run_row(1, 1, 10), run_row(1, 11, 10), run_row(1, 21, 10), run_row(1, 31, 10),
                run_row(2, 1, 30)};
  delta.dropped = {4};
  const auto segment = [](LogId log, Lsn lsn_first, uint64_t count, uint64_t number) {
    RunRow run = run_row(log, lsn_first, count);
    run.seq = kSegmentFirst + number;
    return run;
  };
  delta.published = {segment(1, 11, 10, 0), segment(1, 1, 25, 1),  // of the third run only a part
                     segment(3, 11, 10, 1),                        // all truncated
                     segment(4, 1, 10, 1), segment(9, 1, 10, 1)};  // gone, and never there
  delta.slots = {slot_row(1, 1), slot_row(1, 11), slot_row(1, kSegmentFirst),
                 slot_row(1, kSegmentFirst + 1), slot_row(2, 0)};
  delta.head = head_of(1);
  must(view->apply(delta));
  view.reopen();
  const std::vector<RunRow> left = {delta.published[1], delta.runs[2], delta.runs[3]};
  CHECK(got(view->runs(1, 1, 10)) == left);
  CHECK(firsts_of(got(view->runs(2, 1, 10))) == Lsns{1});
  CHECK(got(view->runs(3, 1, 10)).empty());
  CHECK(got(view->runs(4, 1, 10)).empty());
  CHECK(got(view->runs(9, 1, 10)).empty());
  const auto objects = got(view->objects(1, 1, 10));
  REQUIRE(objects.size() == 5);
  CHECK(objects[0].runs == 1);  // of log 2
  CHECK(objects[0].entries == 30);
  CHECK(objects[0].bytes == 300);
  CHECK(objects[1].runs == 0);
  CHECK(objects[2].row == delta.slots[2]);
  CHECK(objects[2].runs == 0);
  CHECK(objects[3].entries == 25);
  CHECK(objects[4].row == delta.slots[4]);  // segments come last in their epoch
  const std::vector<SlotRow> unused = {delta.slots[1], delta.slots[2], delta.slots[4]};
  CHECK(got(view->unused(0, 0, 10)) == unused);
  CHECK(got(view->unused(1, 12, 1)) == std::vector<SlotRow>{delta.slots[2]});
  CHECK(got(view->runs_in({1, kSegmentFirst + 1}, 0, 0, 10)) ==
        std::vector<RunRow>{delta.published[1]});
  CHECK(got(view->runs_in({1, kSegmentFirst + 1}, 1, 2, 10)).empty());
}

TEST_CASE("dead objects are found by when they died, and are gone once they are forgotten") {
  ViewPlace view(each_view());
  ViewDelta delta;
  const auto dead = [](Epoch epoch, Seq seq, uint64_t when) {
    SlotRow row = slot_row(epoch, seq);
    row.dead = when;
    return row;
  };
  delta.slots = {dead(1, 0, 7), dead(1, 1, 9), slot_row(1, 2), dead(1, kSegmentFirst, 8),
                 dead(2, 0, kKeyMax)};
  delta.head = head_of(1);
  must(view->apply(delta));
  view.reopen();
  CHECK(got(view->slots(0, 0, 10)) == delta.slots);
  CHECK(got(view->unused(0, 0, 10)) == std::vector<SlotRow>{delta.slots[2]});
  CHECK(got(view->dead(6, 10)).empty());
  CHECK(got(view->dead(8, 10)) == std::vector<SlotRow>{delta.slots[0], delta.slots[3]});
  CHECK(got(view->dead(8, 1)) == std::vector<SlotRow>{delta.slots[0]});
  CHECK(got(view->dead(UINT64_MAX, 10)).size() == 4);
  ViewDelta later;
  later.slots = {dead(1, 2, 10)};
  later.forgotten = {{1, 0}, {1, 2}, {1, kSegmentFirst}, {3, 3}};  // what is not there is no error
  later.head = head_of(2);
  must(view->apply(later));
  must(view->apply(later));
  view.reopen();
  CHECK(got(view->slots(0, 0, 10)) == std::vector<SlotRow>{delta.slots[1], delta.slots[4]});
  CHECK(got(view->dead(UINT64_MAX, 10)).size() == 2);
}

TEST_CASE("settings of a log come back, also all that a log can have, and are found") {
  ViewPlace view(each_view());
  ViewDelta delta;
  LogRow most = log_row(3, "most");
  most.settings.retention = {Duration::max(), UINT64_MAX, true, Duration::max(), UINT64_MAX};
  for (int i = 100; i < 200; ++i) {
    most.settings.cursors.push_back(
        {std::string(125, 'c') + std::to_string(i), kKeyMax, i % 2 == 0 ? kTimeMin : kTimeMax});
  }
  LogRow little = log_row(1, "little");
  little.settings.cursors = {{"a", 0, 0}};
  delta.logs = {little, log_row(2, "none"), most};
  delta.head = head_of(1);
  must(view->apply(delta));
  view.reopen();
  CHECK(got(view->log_by_id(3)) == std::optional<LogRow>(most));
  CHECK(got(view->logs_with_settings(0, 10)) == std::vector<LogRow>{little, most});
  CHECK(got(view->logs_with_settings(1, 10)) == std::vector<LogRow>{most});
  CHECK(got(view->logs_with_settings(0, 1)) == std::vector<LogRow>{little});
  CHECK(got(view->logs_with_settings(UINT64_MAX, 10)).empty());
  ViewDelta later;
  most.settings = {};
  later.logs = {most};
  later.head = head_of(2);
  must(view->apply(later));
  CHECK(got(view->logs_with_settings(0, 10)) == std::vector<LogRow>{little});
  CHECK(got(view->log_by_id(3)) == std::optional<LogRow>(most));
}

TEST_CASE("a view that was reset is a new one") {
  ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a", 1, 11)};
  delta.runs = {run_row(1, 1, 10)};
  delta.epochs = {epoch_row(1, 1)};
  delta.slots = {slot_row(1, 0)};
  delta.head = head_of(1);
  must(view->apply(delta));
  const Answers before = all_of(*view);
  must(view->reset());
  CHECK(all_of(*view) == Answers());
  must(view->reset());
  must(view->apply(delta));
  CHECK(all_of(*view) == before);
  view.reopen();
  CHECK(all_of(*view) == before);
}

namespace {

LogSettings some_settings(SimRandom& random) {
  LogSettings settings;
  if (random.chance(0.5)) {
    settings.retention.age = Duration{static_cast<int64_t>(random.below(1'000))};
    settings.retention.cursors = random.chance(0.5);
    settings.retention.hold_bytes = random.below(2) * random.next();
  }
  for (uint64_t i = random.below(4); i > 0; --i) {
    settings.cursors.push_back({"cursor " + std::to_string(9 - i), random.below(1'000), -5});
  }
  return settings;
}

// What a history does with the objects of a view: gathers runs of some log in a segment, and
// forgets.
void keep_up(SimRandom& random, MemView& model, uint64_t round, ViewDelta& delta) {
  const auto epoch = static_cast<Epoch>(1 + round / 20);
  for (const LogRow& log : got(model.logs("", SIZE_MAX))) {
    if (!random.chance(0.2)) continue;
    const auto runs = got(model.runs(log.id, random.below(log.lsn_next + 1), 1 + random.below(5)));
    if (runs.empty()) continue;
    RunRow all = runs.front();
    all.count = runs.back().lsn_first + runs.back().count - all.lsn_first;
    all.bytes = runs.back().bytes_begin + runs.back().bytes - all.bytes_begin;
    all.time_last_ms = runs.back().time_last_ms;
    all.epoch = epoch;
    all.seq = kSegmentFirst + round;
    delta.published.push_back(all);
  }
  if (!delta.published.empty()) {
    delta.slots.push_back(slot_row(epoch, kSegmentFirst + round, 10, delta.published.size()));
  }
  for (SlotRow row : got(model.unused(0, 0, SIZE_MAX))) {
    row.dead = round;
    if (random.chance(0.3)) delta.slots.push_back(row);
  }
  for (const SlotRow& row : got(model.dead(round - random.below(5), 3))) {
    delta.forgotten.push_back({row.epoch, row.seq});
  }
}

}  // namespace

// A history as a journal may give it: what the simulator's view makes of it is what all must.
TEST_CASE("random deltas give the same answers as the simulator's view") {
  const ViewKind kind = each_view();
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    ViewPlace view(kind);
    MemView model(std::make_shared<MemViewData>());
    SimRandom random(seed);
    std::vector<LogRow> logs;
    LogId id_next = 1;
    int64_t now = 1'000;
    for (uint64_t round = 1; round <= 60; ++round) {
      CAPTURE(round);
      ViewDelta delta;
      for (uint64_t i = random.below(3); i > 0; --i) {
        const LogId id = id_next++;
        logs.push_back(log_row(id, "log " + std::to_string(id % 97) + "/" + std::to_string(id)));
        delta.logs.push_back(logs.back());
      }
      for (size_t i = 0; i < logs.size(); ++i) {
        LogRow& log = logs[i];
        if (random.chance(0.1)) {
          delta.dropped.push_back(log.id);
          LogRow again = log_row(id_next++, log.name);
          if (random.chance(0.5)) {
            log = std::move(again);
            delta.logs.push_back(log);
          } else {
            logs.erase(logs.begin() + static_cast<ptrdiff_t>(i--));
          }
          continue;
        }
        if (random.chance(0.5)) continue;
        std::vector<RunRow> runs;
        for (uint64_t r = random.below(4); r > 0; --r) {
          const uint64_t count = 1 + random.below(20);
          const int64_t begin = now;
          now += static_cast<int64_t>(random.below(3));
          runs.push_back(run_row(log.id, log.lsn_next, count, begin, now));
          runs.back().epoch = static_cast<Epoch>(1 + round / 20);
          runs.back().seq = round;
          log.lsn_next += count;
        }
        if (random.chance(0.3)) {
          log.lsn_first += random.below(log.lsn_next - log.lsn_first + 1);
        }
        for (const RunRow& run : runs) {
          if (run.lsn_first + run.count > log.lsn_first) delta.runs.push_back(run);
        }
        if (random.chance(0.3)) log.settings = some_settings(random);
        delta.logs.push_back(log);
      }
      delta.slots.push_back(slot_row(static_cast<Epoch>(1 + round / 20), round, random.next()));
      delta.epochs.push_back(
          epoch_row(static_cast<Epoch>(1 + round / 20), random.next(), random.chance(0.5), round));
      keep_up(random, model, round, delta);
      delta.head = head_of(round);
      must(view->apply(delta));
      must(model.apply(delta));
      if (round % 7 == 0) view.reopen();
      REQUIRE(all_of(*view) == all_of(model));
      for (const LogRow& log : logs) {
        const Lsn lsn = log.lsn_first + random.below(log.lsn_next - log.lsn_first + 2);
        CHECK(got(view->runs(log.id, lsn, 2)) == got(model.runs(log.id, lsn, 2)));
        const int64_t t = now - static_cast<int64_t>(random.below(100));
        CHECK(got(view->run_at_time(log.id, t)) == got(model.run_at_time(log.id, t)));
        CHECK(got(view->logs_with_settings(log.id, 2)) == got(model.logs_with_settings(log.id, 2)));
      }
      const auto epoch = static_cast<Epoch>(1 + random.below(4));
      const Seq seq = random.below(61) + random.below(2) * kSegmentFirst;
      const LogId log = random.below(id_next);
      const Lsn lsn = random.below(100);
      CHECK(got(view->slots(epoch, seq, 3)) == got(model.slots(epoch, seq, 3)));
      CHECK(got(view->unused(epoch, seq, 3)) == got(model.unused(epoch, seq, 3)));
      CHECK(got(view->dead(seq, 2)) == got(model.dead(seq, 2)));
      CHECK(got(view->runs_in({epoch, seq}, log, lsn, 3)) ==
            got(model.runs_in({epoch, seq}, log, lsn, 3)));
      CHECK(got(view->objects(epoch, seq, 3)).size() == got(model.objects(epoch, seq, 3)).size());
    }
  }
}

TEST_CASE("readers beside a writer see whole deltas") {
  const ViewPlace view(each_view());
  constexpr uint64_t kRounds = 200;
  const auto delta_of = [](uint64_t n) {
    ViewDelta delta;
    delta.logs = {log_row(1, "a", n, n + 1)};
    delta.runs = {run_row(1, n, 1)};
    delta.head = head_of(n);
    return delta;
  };
  must(view->apply(delta_of(1)));
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&] {
      uint64_t last = 0;
      while (!done) {
        const auto log = view->log_by_name("a");
        const auto runs = view->runs(1, 1, 10);
        const auto head = view->head();
        if (!log.ok() || !*log || !runs.ok() || !head.ok() || !*head) {
          FAIL_CHECK("a reader got an error");
          break;
        }
        // One after the other, so each is at least as new as the one before.
        if (!(last <= (*log)->lsn_first && runs->size() == 1 &&
              (*log)->lsn_first <= runs->front().lsn_first &&
              runs->front().lsn_first <= (*head)->slots)) {
          FAIL_CHECK("a reader saw half a delta");
        }
        last = (*head)->slots;
      }
    });
  }
  for (uint64_t n = 2; n <= kRounds; ++n) CHECK(view->apply(delta_of(n)).ok());
  done = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(got(view->head())->slots == kRounds);
}

TEST_CASE("notes come back, or are empty, and change nothing else") {
  ViewPlace view(each_view());
  ViewDelta delta;
  delta.logs = {log_row(1, "a")};
  delta.head = head_of(1);
  must(view->apply(delta));
  const Answers before = all_of(*view);
  must(view->set_note("fact", "first"));
  must(view->set_note("fact", "second"));
  must(view->set_note("other", std::string(100'000, 'x')));
  must(view->set_note("", "of no name"));
  must(view->set_note("empty", "full"));
  must(view->set_note("empty", ""));
  for (int round = 0; round < 2; ++round) {
    CHECK(all_of(*view) == before);
    CHECK(view->note("none").empty());
    CHECK(view->note("empty").empty());
    if (view.kind() == ViewKind::kSimulated) {
      CHECK(view->note("fact").empty());  // it keeps none
    } else {
      CHECK(view->note("fact") == "second");
      CHECK(view->note("other") == std::string(100'000, 'x'));
      CHECK(view->note("") == "of no name");
    }
    view.reopen();
  }
  must(view->reset());
  CHECK(view->note("fact").empty());
}

}  // namespace wp
