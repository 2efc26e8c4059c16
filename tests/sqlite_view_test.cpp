// What is particular to the view in SQLite: versions, other programs' files, damage, full disks,
// crashes. tests/view_test.cpp has what every view must do.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>

#include "meta_sqlite/database.h"
#include "meta_sqlite/page_sums.h"
#include "meta_sqlite/sqlite_status.h"
#include "meta_sqlite/sqlite_view.h"
#include "tests/sim_store.h"
#include "tests/store_contract.h"
#include "tests/view_rows.h"
#include "tests/with_mount.h"

namespace wp {
namespace {

using namespace view_test;
using store_test::TempDir;
namespace fs = std::filesystem;

std::unique_ptr<SqliteView> open_view(const std::string& path, const DatabaseSetup& setup = {}) {
  return got(SqliteView::open(path, setup));
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const fs::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

// As the file of a view, with nothing beside it.
void put_view(const std::string& path, std::string_view bytes) {
  for (const char* suffix : {"-wal", "-shm", "-journal"}) fs::remove(path + suffix);
  write_file(path, bytes);
}

using Snapshot = std::map<std::string, std::string>;
Snapshot files_of(const TempDir& directory) {
  Snapshot files;
  for (const auto& entry : fs::directory_iterator(directory.path())) {
    files[entry.path().filename()] = read_file(entry.path());
  }
  return files;
}

// The n-th of a series of changes: some logs, appended to and truncated; now and then one is
// dropped.
ViewDelta change(uint64_t n, uint64_t logs = 5) {
  ViewDelta delta;
  for (uint64_t i = 0; i < logs; ++i) {
    const LogId id = 1 + (n + i) % (2 * logs);
    delta.logs.push_back(
        log_row(id, "log " + std::to_string(id), n > 20 ? n * 10 - 195 : 1, n * 10 + 1));
    delta.runs.push_back(
        run_row(id, n * 10 - 9, 10, static_cast<int64_t>(n), static_cast<int64_t>(n)));
  }
  if (n % 10 == 0) delta.dropped.push_back(1 + n % (2 * logs));
  delta.slots.push_back(slot_row(1, n * 10 - 9, n * 100, 10 * logs));
  delta.epochs.push_back(epoch_row(static_cast<Epoch>(1 + n / 10), n));
  delta.head = head_of(n);
  return delta;
}

// A view of some tens of pages, closed.
Answers make_view(const std::string& path) {
  const auto view = open_view(path);
  for (uint64_t n = 1; n <= 40; ++n) must(view->apply(change(n, 60)));
  must(view->set_note("fact", "noted"));
  Answers answers = all_of(*view);
  must(view->close());
  return answers;
}

// Every question that make_view's view can be asked is answered as before, or with kCorrupt.
// Returns what was answered otherwise; empty: nothing.
std::string wrong_answer(View& view, const Answers& expected) {
  const auto fits = [](const auto& got, const auto& wanted) {
    return got.ok() ? *got == wanted : got.code() == Code::kCorrupt;
  };
  if (!fits(view.head(), expected.head)) return "head";
  if (!fits(view.logs("", SIZE_MAX), expected.logs)) return "logs";
  if (!fits(view.epochs(), expected.epochs)) return "epochs";
  if (!fits(view.slots(0, 0, SIZE_MAX), expected.slots)) return "slots";
  for (const LogRow& log : expected.logs) {
    if (!fits(view.log_by_id(log.id), std::optional<LogRow>(log))) return "log by id";
    if (!fits(view.log_by_name(log.name), std::optional<LogRow>(log))) return "log by name";
    std::vector<RunRow> runs;
    for (const RunRow& run : expected.runs) {
      if (run.log == log.id) runs.push_back(run);
    }
    if (!fits(view.runs(log.id, log.lsn_first, SIZE_MAX), runs)) return "runs";
  }
  const std::string note = view.note("fact");
  return note.empty() || note == "noted" ? "" : "note";
}

// What every call answers of a view that cannot be used; empty: one answered otherwise.
std::string the_one_error(View& view, Code code) {
  std::string message = view.head().status().message();
  const std::vector<Status> all = {view.head().status(),
                                   view.apply(change(1)),
                                   view.log_by_name("a").status(),
                                   view.log_by_id(1).status(),
                                   view.logs("", 1).status(),
                                   view.runs(1, 1, 1).status(),
                                   view.run_at_time(1, 1).status(),
                                   view.epoch(1).status(),
                                   view.epochs().status(),
                                   view.slots(0, 0, 1).status(),
                                   view.objects(0, 0, 1).status(),
                                   view.unused(0, 0, 1).status(),
                                   view.dead(1, 1).status(),
                                   view.runs_in({1, 1}, 0, 0, 1).status(),
                                   view.logs_with_settings(0, 1).status(),
                                   view.set_note("a", "b")};
  for (const Status& status : all) {
    INFO(status.to_string());
    CHECK(code_name(status.code()) == code_name(code));
  }
  CHECK(view.note("a").empty());
  return message;
}

// A connection of another program; with the sums of pages, if wanted.
void run_sql(const std::string& path, const std::string& sql, bool with_sums = false) {
  const PageSumVfs sums(sqlite3_vfs_find(nullptr));
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                          with_sums ? sums.name() : nullptr) == SQLITE_OK);
  char* error = nullptr;
  const int rc = sqlite3_exec(db, ("PRAGMA locking_mode = EXCLUSIVE; " + sql).c_str(), nullptr,
                              nullptr, &error);
  INFO((error == nullptr ? "" : error));
  CHECK(rc == SQLITE_OK);
  sqlite3_free(error);
  CHECK(sqlite3_close(db) == SQLITE_OK);
}

// Runs the body in a child that is nobody in particular, and gives the code it answers.
Code as_nobody(const std::function<Status()>& body) {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 ||
                           setresuid(65534, 65534, 65534) != 0)) {
      _exit(255);
    }
    _exit(static_cast<int>(body().code()));
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  return static_cast<Code>(WEXITSTATUS(status));
}

}  // namespace

// ------------------------------------------------------------------------------ opening and
// closing

TEST_CASE("a view in a file is a file, and nothing beside it once it is closed") {
  const TempDir directory;
  const Answers expected = make_view(directory / "view");
  const Snapshot files = files_of(directory);
  REQUIRE(files.size() == 1);
  CHECK(files.begin()->first == "view");
  const auto view = open_view(directory / "view");
  CHECK(view->path() == directory / "view");
  CHECK(all_of(*view) == expected);
  CHECK(view->note("fact") == "noted");
}

TEST_CASE("a view that is closed says so, also twice") {
  const TempDir directory;
  const auto path = [&](bool file) { return file ? directory / "view" : std::string(); };
  for (const bool file : {false, true}) {
    const auto view = open_view(path(file));
    must(view->apply(change(1)));
    must(view->close());
    the_one_error(*view, Code::kClosed);
    CHECK(view->reset().code() == Code::kClosed);
    CHECK(view->close().code() == Code::kClosed);
  }
}

TEST_CASE("paths that SQLite would read as something else are paths") {
  const TempDir directory;
  const fs::path before = fs::current_path();
  fs::current_path(directory.path());
  for (const std::string name : {":memory:", "file:x?mode=memory", "a?b#c%41", "-", " "}) {
    CAPTURE(name);
    const auto view = open_view(name);
    must(view->apply(change(1)));
    must(view->close());
    CHECK(fs::file_size(directory / name) > 0);
  }
  fs::current_path(before);
  CHECK(SqliteView::open(std::string("a\0b", 3)).code() == Code::kInvalid);
}

TEST_CASE("a view that is open is refused to a second opening, and is not harmed by it") {
  const TempDir directory;
  const std::string path = directory / "view";
  const auto view = open_view(path);
  must(view->apply(change(1)));
  const Answers expected = all_of(*view);
  CHECK(SqliteView::open(path).code() == Code::kBusy);
  CHECK(as_nobody([&] { return SqliteView::open(path).status(); }) != Code::kOk);
  must(view->apply(change(2)));
  CHECK(all_of(*view).head == std::optional<ViewHead>(head_of(2)));
  must(view->close());
  CHECK(all_of(*open_view(path)).head == std::optional<ViewHead>(head_of(2)));
}

TEST_CASE("a place where there can be no view is an error that says what to do") {
  const TempDir directory;
  const auto missing = SqliteView::open(directory / "none/view");
  CHECK(missing.code() == Code::kUnavailable);
  CHECK(missing.status().message().find(directory / "none/view") != std::string::npos);
  CHECK(SqliteView::open(directory.path()).code() == Code::kUnavailable);
  write_file(directory / "file", "x");
  CHECK(SqliteView::open(directory / "file/view").code() == Code::kUnavailable);
}

TEST_CASE("a file or directory that may not be written is kDenied") {
  const TempDir directory;
  const std::string path = directory / "view";
  make_view(path);
  const std::string bytes = read_file(path);
  const auto open = [&] { return SqliteView::open(path).status(); };
  REQUIRE(chmod(directory.path().c_str(), 0777) == 0);
  REQUIRE(chmod(path.c_str(), 0444) == 0);
  CHECK(as_nobody(open) == Code::kDenied);
  REQUIRE(chmod(path.c_str(), 0000) == 0);
  CHECK(as_nobody(open) == Code::kDenied);
  REQUIRE(chmod(path.c_str(), 0666) == 0);
  REQUIRE(chmod(directory.path().c_str(), 0555) == 0);
  CHECK(as_nobody(open) == Code::kDenied);
  CHECK(as_nobody([&] { return SqliteView::open(directory / "new").status(); }) == Code::kDenied);
  REQUIRE(chmod(directory.path().c_str(), 0755) == 0);
  CHECK(read_file(path) == bytes);
  CHECK(files_of(directory).size() == 1);
}

// -------------------------------------------------------------------------------- what is no view

TEST_CASE("what SQLite or the operating system says becomes the error that tells what to do") {
  struct Row {
    int rc;
    Code code;
    const char* todo;
  };
  for (const Row& row :
       {Row{SQLITE_CORRUPT, Code::kCorrupt, "rebuild=1"},
        Row{SQLITE_CORRUPT_INDEX, Code::kCorrupt, "rebuild=1"},
        Row{SQLITE_NOTADB, Code::kCorrupt, "rebuild=1"},
        Row{SQLITE_IOERR_DATA, Code::kCorrupt, "does not match its sum"},
        Row{SQLITE_FULL, Code::kNoSpace, "free space"},
        Row{SQLITE_READONLY, Code::kDenied, "writable"},
        Row{SQLITE_READONLY_DIRECTORY, Code::kDenied, "writable"},
        Row{SQLITE_PERM, Code::kDenied, "writable"}, Row{SQLITE_AUTH, Code::kDenied, "writable"},
        Row{SQLITE_BUSY, Code::kBusy, "another process has it open"},
        Row{SQLITE_LOCKED, Code::kBusy, "another process has it open"},
        Row{SQLITE_CANTOPEN, Code::kUnavailable, "the disk is sound"},
        Row{SQLITE_IOERR_READ, Code::kUnavailable, "the disk is sound"},
        Row{SQLITE_NOMEM, Code::kUnavailable, "out of memory"},
        Row{SQLITE_MISUSE, Code::kInternal, "report it"}}) {
    CAPTURE(row.rc);
    const Status status = sqlite_status("update", "/v/wp.sqlite", nullptr, row.rc);
    INFO(status.to_string());
    CHECK(code_name(status.code()) == code_name(row.code));
    CHECK(status.message().starts_with("update the view /v/wp.sqlite: "));
    CHECK(status.message().find(row.todo) != std::string::npos);
  }
  for (const Row& row :
       {Row{ENOSPC, Code::kNoSpace, "free space"}, Row{EDQUOT, Code::kNoSpace, "free space"},
        Row{EFBIG, Code::kNoSpace, "free space"}, Row{EACCES, Code::kDenied, "writable"},
        Row{EPERM, Code::kDenied, "writable"},
        Row{EROFS, Code::kDenied, "choose another meta_path"},
        Row{EIO, Code::kUnavailable, "the disk is sound"}}) {
    CAPTURE(row.rc);
    const Status status = errno_status("open", "", row.rc);
    INFO(status.to_string());
    CHECK(code_name(status.code()) == code_name(row.code));
    CHECK(status.message().starts_with("open the view in memory: "));
    CHECK(status.message().find(row.todo) != std::string::npos);
  }
}

TEST_CASE("a view of a newer version is kUnsupported, stays as it is, and can be replaced") {
  const TempDir directory;
  const std::string path = directory / "view";
  std::vector<const char*> steps(schema_steps().begin(), schema_steps().end());
  steps.push_back("CREATE TABLE future(x)");
  DatabaseSetup newer;
  newer.steps = steps;
  for (const bool crashed : {false, true}) {
    {
      const auto view = open_view(path, newer);
      must(view->apply(change(1)));
      if (!crashed) must(view->close());
    }
    const Snapshot before = files_of(directory);
    CHECK((before.size() > 1) == crashed);
    {
      const auto view = open_view(path);
      const std::string message = the_one_error(*view, Code::kUnsupported);
      CHECK(message.find(path) != std::string::npos);
      CHECK(message.find("version " + std::to_string(steps.size())) != std::string::npos);
    }
    // An empty log may have come to stand beside it.
    const auto unchanged = [&] {
      Snapshot now = files_of(directory);
      if (now["view-wal"].empty()) now.erase("view-wal");
      return now == before;
    };
    CHECK(unchanged());
    must(open_view(path)->close());
    CHECK(unchanged());
    CHECK(all_of(*open_view(path, newer)).head == std::optional<ViewHead>(head_of(1)));
    CHECK(files_of(directory).at("view") == before.at("view"));
    const auto view = open_view(path);
    must(view->reset());
    CHECK(all_of(*view) == Answers());
    must(view->close());
    must(open_view(path)->reset());
    must(SqliteView::open(path, newer).status());
    fs::remove(path);
  }
}

TEST_CASE("the database of another program is kInvalid and stays as it is") {
  for (const std::string pragma :
       {"", "PRAGMA journal_mode = WAL;", "PRAGMA page_size = 512;", "PRAGMA page_size = 65536;",
        "PRAGMA auto_vacuum = FULL; PRAGMA user_version = 1;", "PRAGMA user_version = 1000;",
        "PRAGMA application_id = 252006674;"}) {
    CAPTURE(pragma);
    const TempDir directory;
    const std::string path = directory / "other.sqlite";
    run_sql(path, pragma +
                      "CREATE TABLE meta(id, name); INSERT INTO meta VALUES(1, "
                      "'precious');");
    const Snapshot before = files_of(directory);
    const auto opened = SqliteView::open(path);
    CHECK(opened.code() == Code::kInvalid);
    CHECK(opened.status().message().find(path) != std::string::npos);
    CHECK(files_of(directory) == before);
  }
}

TEST_CASE("a file that is no database is kCorrupt and stays as it is until it is replaced") {
  const TempDir directory;
  const std::string path = directory / "view";
  for (const std::string& bytes :
       {std::string("dear reader"), std::string(100'000, '\0'), std::string(4'096, 'x'),
        std::string("SQLite format 3\0", 16),
        std::string("SQLite format 3\0", 16) + std::string(5'000, '\x04'), std::string(2, '\n')}) {
    CAPTURE(bytes.size());
    write_file(path, bytes);
    {
      const auto view = open_view(path);
      the_one_error(*view, Code::kCorrupt);
      must(view->close());
    }
    CHECK(files_of(directory) == Snapshot{{"view", bytes}});
    const auto view = open_view(path);
    must(view->reset());
    must(view->apply(change(1)));
    CHECK(all_of(*view).head == std::optional<ViewHead>(head_of(1)));
    must(view->close());
  }
  write_file(path, "");  // as a crash before the first write leaves it
  CHECK(all_of(*open_view(path)) == Answers());
}

TEST_CASE("leftovers of another view's log do not come back after a reset") {
  const TempDir directory;
  const std::string path = directory / "view";
  {
    const auto view = open_view(path);
    for (uint64_t n = 1; n <= 5; ++n) must(view->apply(change(n)));
  }
  REQUIRE(fs::exists(path + "-wal"));
  write_file(path, "nonsense");
  const auto view = open_view(path);
  must(view->reset());
  CHECK(all_of(*view) == Answers());
  must(view->close());
  CHECK(all_of(*open_view(path)) == Answers());
}

TEST_CASE("a reset that cannot be is an error, and works later") {
  const TempDir directory;
  const std::string path = directory / "view";
  write_file(path, "nonsense");
  const auto view = open_view(path);
  fs::remove(path);
  fs::create_directories(path + "/in the way");
  CHECK(view->reset().code() == Code::kUnavailable);
  the_one_error(*view, Code::kUnavailable);
  fs::remove_all(path);
  must(view->reset());
  must(view->apply(change(1)));
  CHECK(all_of(*view).head == std::optional<ViewHead>(head_of(1)));
}

// --------------------------------------------------------------------------------------- versions

// Rows as an older version wrote them. Their sums are not asked for any more.
constexpr const char* kOlderRows =
    "INSERT INTO meta VALUES(1, zeroblob(16), 1, 7, 5, zeroblob(32), 1, 7, 6, 3, 6, 600, 2, 0, 1);"
    "INSERT INTO logs VALUES(1, 'a', 1, 11, 0, 100, 5, 0), (2, 'b', 1, 1, 0, 0, 0, 0);"
    "INSERT INTO runs VALUES(1, 1, 10, 1, 0, 0, 100, 1, 4, 0);"
    "INSERT INTO epochs VALUES(1, 7, 0, 0, 0, 0); INSERT INTO slots VALUES(1, 0, 100, 10, 0);";

TEST_CASE("a view of every older version becomes a new and empty one of the newest") {
  for (size_t version = 1; version < schema_steps().size(); ++version) {
    CAPTURE(version);
    const TempDir directory;
    const std::string path = directory / "view";
    DatabaseSetup older;
    older.steps = schema_steps().first(version);
    {
      const auto view = open_view(path, older);
      if (version >= 2) must(view->set_note("fact", "noted"));
      must(view->close());
    }
    run_sql(path, kOlderRows, true);
    const auto view = open_view(path);
    CHECK(got(view->head()) == std::nullopt);
    CHECK(all_of(*view) == Answers());
    CHECK(view->note("fact") == (version >= 2 ? "noted" : ""));
    must(view->set_note("a", "b"));
    must(view->apply(change(31)));
    const Answers expected = all_of(*view);
    must(view->close());
    CHECK(open_view(path)->note("a") == "b");
    CHECK(all_of(*open_view(path)) == expected);
    the_one_error(*open_view(path, older), Code::kUnsupported);
  }
}

TEST_CASE("a step to a newer version that fails leaves the view as it was") {
  const TempDir directory;
  const std::string path = directory / "view";
  const Answers expected = make_view(path);
  for (const char* bad :
       {"CREATE TABLE half(x); INSERT INTO half VALUES(1); CREATE TABLE meta(x)",
        "DELETE FROM logs; no such statement", "DROP TABLE runs; INSERT INTO meta(id) VALUES(2)",
        "ALTER TABLE logs ADD COLUMN half; COMMIT; no such statement"}) {
    if (std::string_view(bad).find("COMMIT") != std::string_view::npos) continue;  // ends the trial
    CAPTURE(bad);
    std::vector<const char*> steps(schema_steps().begin(), schema_steps().end());
    steps.push_back("CREATE TABLE good(x)");
    steps.push_back(bad);
    DatabaseSetup newer;
    newer.steps = steps;
    {
      const auto view = open_view(path, newer);
      the_one_error(*view, Code::kInternal);
      must(view->close());
    }
    const auto view = open_view(path);
    CHECK(all_of(*view) == expected);
    CHECK(view->note("fact") == "noted");
    must(view->close());
  }
}

// ----------------------------------------------------------------------------------------- damage

namespace {

// Damage is found when a view is opened, if looking through it is quick, or else when it is met.
DatabaseSetup each_way_to_look() {
  DatabaseSetup setup;
  SUBCASE("found at opening") {
    setup.look_through = true;
  }
  SUBCASE("found when met") {
    setup.look_through = false;
  }
  return setup;
}

}  // namespace

TEST_CASE("D25 a byte that is damaged anywhere is kCorrupt, or changes no answer") {
  const DatabaseSetup setup = each_way_to_look();
  const TempDir directory;
  const Answers expected = make_view(directory / "whole");
  const std::string whole = read_file(directory / "whole");
  REQUIRE(whole.size() > 20 * 4'096);
  const std::string path = directory / "damaged";
  std::string bytes = whole;
  size_t noticed = 0, looked = 0;
  const auto look = [&](size_t offset) {
    put_view(path, bytes);
    const auto view = SqliteView::open(path, setup);
    ++looked;
    if (!view.ok()) {
      FAIL_CHECK("offset " << offset << ": " << view.status().to_string());
      return;
    }
    const std::string wrong = wrong_answer(**view, expected);
    if (!wrong.empty()) FAIL_CHECK("offset " << offset << ": wrong " << wrong);
    Answers answers;
    noticed += !ask_all(**view, &answers).ok();
  };
  for (size_t offset = 0; offset < whole.size();) {
    for (const char mask : {'\x01', '\xff'}) {
      bytes[offset] = static_cast<char>(whole[offset] ^ mask);
      look(offset);
    }
    bytes[offset] = whole[offset];
    offset += offset % 4'096 < 128 ? 9 : 389;
  }
  // Most pages hold rows; free ones may be damaged unseen.
  CHECK(noticed > looked * 8 / 10);
}

TEST_CASE("D25 pages that are lost, swapped, doubled or of zeros are kCorrupt") {
  const DatabaseSetup setup = each_way_to_look();
  const TempDir directory;
  const Answers expected = make_view(directory / "whole");
  const std::string whole = read_file(directory / "whole");
  const std::string path = directory / "damaged";
  const size_t pages = whole.size() / 4'096;
  const auto look = [&](const std::string& bytes) {
    put_view(path, bytes);
    const auto view = open_view(path, setup);
    const std::string wrong = wrong_answer(*view, expected);
    if (!wrong.empty()) FAIL_CHECK("wrong " << wrong);
  };
  for (size_t page = 0; page < pages; ++page) {
    CAPTURE(page);
    std::string bytes = whole;
    bytes.replace(page * 4'096, 4'096, 4'096, '\0');
    look(bytes);
    bytes = whole;
    const size_t other = (page * 7 + 1) % pages;
    bytes.replace(page * 4'096, 4'096, whole, other * 4'096, 4'096);
    look(bytes);
    bytes.replace(other * 4'096, 4'096, whole, page * 4'096, 4'096);
    look(bytes);
    look(whole.substr(0, page * 4'096) + whole.substr((page + 1) * 4'096));
  }
}

TEST_CASE("D25 a file that was cut anywhere is kCorrupt, or changes no answer") {
  const DatabaseSetup setup = each_way_to_look();
  const TempDir directory;
  const Answers expected = make_view(directory / "whole");
  const std::string whole = read_file(directory / "whole");
  const std::string path = directory / "cut";
  for (size_t size = 2; size < whole.size(); size += size < 200 ? 13 : 1'021) {
    put_view(path, std::string_view(whole).substr(0, size));
    const auto view = open_view(path, setup);
    Answers answers;
    const std::string wrong = wrong_answer(*view, expected);
    if (!wrong.empty()) FAIL_CHECK("size " << size << ": wrong " << wrong);
    CHECK(ask_all(*view, &answers).code() == Code::kCorrupt);
  }
  put_view(path, std::string_view(whole).substr(0, 1));  // SQLite takes one byte for none
  CHECK(all_of(*open_view(path)) == Answers());
  put_view(path, whole + std::string(5'000, 'x'));
  CHECK(wrong_answer(*open_view(path), expected).empty());
}

TEST_CASE("a row that is not what was written is kCorrupt though its page is whole") {
  const DatabaseSetup setup = each_way_to_look();
  for (const std::string sql :
       {"UPDATE logs SET lsn_next = lsn_next + 1 WHERE id = 7",
        "UPDATE logs SET name = 'log 1000' WHERE id = 7",
        "UPDATE runs SET count = count + 1 WHERE log = 7",
        "UPDATE runs SET lsn_first = lsn_first + 1 WHERE log = 7 AND lsn_first < 300",
        "UPDATE epochs SET owner = 0 WHERE epoch = 2",
        "UPDATE epochs SET epoch = 4294967296 + epoch WHERE epoch = 2",
        "UPDATE slots SET bytes = bytes - 1 WHERE seq = 91",
        "UPDATE slots SET dead = 1 WHERE seq = 91", "UPDATE logs SET settings = x'00' WHERE id = 7",
        "UPDATE meta SET stored_bytes = 0", "UPDATE meta SET root_id = x'00'",
        "UPDATE notes SET value = 'other'", "UPDATE logs SET sum = 0 WHERE id = 7"}) {
    CAPTURE(sql);
    const TempDir directory;
    const std::string path = directory / "view";
    const Answers expected = make_view(path);
    run_sql(path, sql, true);
    const auto view = open_view(path, setup);
    // A row under another's key may be there and unread; what is asked for is never wrong.
    Answers answers;
    const Status status = ask_all(*view, &answers);
    if (sql.find("notes") == std::string_view::npos) {
      CHECK(status.code() == Code::kCorrupt);
    }
    CHECK(view->note("fact") != "other");
    must(view->reset());
    CHECK(all_of(*view) == Answers());
  }
}

// ------------------------------------------------------------------------------------ crashes

TEST_CASE("without close a process loses nothing that was applied") {
  const TempDir directory;
  const std::string path = directory / "view";
  Answers expected;
  for (uint64_t n = 1; n <= 20; ++n) {
    const auto view = open_view(path);
    CHECK(all_of(*view) == expected);
    must(view->apply(change(n)));
    must(view->set_note("n", std::to_string(n)));
    CHECK(view->note("n") == std::to_string(n));
    expected = all_of(*view);
  }
  CHECK(open_view(path)->note("n") == "20");
}

TEST_CASE("what a power loss takes from the log is a suffix of the deltas") {
  const TempDir directory;
  const std::string path = directory / "view";
  constexpr uint64_t kClosed = 10, kCount = 30;
  std::map<uint64_t, Answers> states;
  {
    const auto view = open_view(path);
    for (uint64_t n = 1; n <= kClosed; ++n) must(view->apply(change(n)));
    states[kClosed] = all_of(*view);
    must(view->close());
  }
  const auto view = open_view(path);
  for (uint64_t n = kClosed + 1; n <= kCount; ++n) {
    must(view->apply(change(n)));
    states[n] = all_of(*view);
  }
  const std::string file = read_file(path), log = read_file(path + "-wal");
  const std::string copy = directory / "copy";
  const auto number_after = [&](const std::string& log_left) {
    write_file(copy, file);
    write_file(copy + "-wal", log_left);
    fs::remove(copy + "-shm");
    const auto other = open_view(copy);
    const Answers answers = all_of(*other);
    const uint64_t number = answers.head->slots;
    CHECK(answers == states.at(number));
    must(other->apply(change(kCount + 1)));
    return number;
  };
  uint64_t last = kClosed;
  for (size_t size = 0; size <= log.size(); size += 1'531) {
    CAPTURE(size);
    const uint64_t number = number_after(log.substr(0, size));
    CHECK(number >= last);
    last = number;
    // Written out of order: what stands behind a hole is lost too.
    std::string hole = log;
    hole.replace(size, std::min<size_t>(512, log.size() - size), 512, '\0');
    if (hole != log) CHECK(number_after(hole) == number);
  }
  CHECK(number_after(log) == kCount);
}

// -------------------------------------------------------------------------------- disks that fail

namespace {

// A way to the disk on which the n-th change and those after it fail, until it is healed.
class WornVfs {
 public:
  WornVfs() : parent_(sqlite3_vfs_find(nullptr)), vfs_(*parent_) {
    vfs_.pNext = nullptr;
    vfs_.zName = "wp-test-worn";
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + parent_->szOsFile;
    vfs_.xOpen = open;
    current = this;
  }
  sqlite3_vfs* vfs() { return &vfs_; }

  uint64_t fails_at = UINT64_MAX;  // the number of the first change that fails, from 1
  bool heals_itself = false;       // after one failure
  int code = SQLITE_FULL;          // of a write; others are I/O errors
  uint64_t changes = 0, failures = 0;
  void heal() { fails_at = UINT64_MAX; }

 private:
  struct alignas(std::max_align_t) File {
    sqlite3_file base;
  };
  static inline WornVfs* current = nullptr;
  static sqlite3_file* real(sqlite3_file* file) {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<File*>(file) + 1);
  }
  bool fails() {
    if (++changes < fails_at) return false;
    ++failures;
    if (heals_itself) heal();
    return true;
  }
  static int open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* flags_out) {
    file->pMethods = nullptr;
    const int rc = current->parent_->xOpen(current->parent_, path, real(file), flags, flags_out);
    if (rc == SQLITE_OK) file->pMethods = &kMethods;
    return rc;
  }
  static int write(sqlite3_file* file, const void* in, int count, sqlite3_int64 offset) {
    if (!current->fails()) return real(file)->pMethods->xWrite(real(file), in, count, offset);
    // Half of it arrives.
    real(file)->pMethods->xWrite(real(file), in, count / 2, offset);
    return current->code;
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    if (current->fails()) return SQLITE_IOERR_TRUNCATE;
    return real(file)->pMethods->xTruncate(real(file), size);
  }
  // No test waits for a disk.
  static int sync(sqlite3_file*, int) { return current->fails() ? SQLITE_IOERR_FSYNC : SQLITE_OK; }
  static const sqlite3_io_methods kMethods;

  sqlite3_vfs* const parent_;
  sqlite3_vfs vfs_;
};

const sqlite3_io_methods WornVfs::kMethods = {
    1,
    [](sqlite3_file* f) { return real(f)->pMethods->xClose(real(f)); },
    [](sqlite3_file* f, void* out, int count, sqlite3_int64 offset) {
      return real(f)->pMethods->xRead(real(f), out, count, offset);
    },
    write,
    truncate,
    sync,
    [](sqlite3_file* f, sqlite3_int64* size) {
      return real(f)->pMethods->xFileSize(real(f), size);
    },
    [](sqlite3_file* f, int level) { return real(f)->pMethods->xLock(real(f), level); },
    [](sqlite3_file* f, int level) { return real(f)->pMethods->xUnlock(real(f), level); },
    [](sqlite3_file* f, int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); },
    [](sqlite3_file* f, int operation, void* argument) {
      return real(f)->pMethods->xFileControl(real(f), operation, argument);
    },
    [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); },
    [](sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); },
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

bool is_failure_of_disk(const Status& status) {
  INFO(status.to_string());
  const bool is = status.code() == Code::kNoSpace || status.code() == Code::kUnavailable;
  CHECK(is);
  return is;
}

// One life of a view on a disk that fails at its n-th change. False: it never came to that.
bool live_on(WornVfs& disk, const std::string& path, uint64_t n, bool crash) {
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) fs::remove(path + suffix);
  DatabaseSetup setup;
  setup.vfs = disk.vfs();
  disk.changes = disk.failures = 0;
  disk.fails_at = n;
  MemView model(std::make_shared<MemViewData>());
  auto opened = SqliteView::open(path, setup);
  if (!opened.ok()) {
    is_failure_of_disk(opened.status());
    disk.heal();
    opened = SqliteView::open(path, setup);
  }
  must(opened.status());
  for (uint64_t i = 1; i <= 6; ++i) {
    const ViewDelta delta = change(i, 300);  // some fifty pages
    Status status = (*opened)->apply(delta);
    if (!status.ok()) {
      is_failure_of_disk(status);
      CHECK(all_of(**opened) == all_of(model));
      disk.heal();
      status = (*opened)->apply(delta);
    }
    must(status);
    must(model.apply(delta));
  }
  CHECK(all_of(**opened) == all_of(model));
  if (!crash) {
    if (const Status status = (*opened)->close(); !status.ok()) is_failure_of_disk(status);
  }
  opened = Result<std::unique_ptr<SqliteView>>(Status(Code::kClosed, ""));
  disk.heal();
  const auto again = open_view(path, setup);
  CHECK(all_of(*again) == all_of(model));
  must(again->apply(change(7, 300)));
  must(again->close());
  return disk.failures > 0;
}

}  // namespace

TEST_CASE("D22 a disk that fails at any change loses no delta that was applied, and half of none") {
  const TempDir directory;
  WornVfs disk;
  for (const bool once : {false, true}) {
    CAPTURE(once);
    disk.code = once ? SQLITE_IOERR_WRITE : SQLITE_FULL;
    disk.heals_itself = once;
    uint64_t n = 1;
    while (live_on(disk, directory / "view", n, n % 3 == 0)) {
      CAPTURE(n);
      n += n < 40 ? 1 : 13 + n % 5;
    }
    CHECK(n > 200);
  }
}

TEST_CASE("D22 a disk that is full is kNoSpace, and the view goes on once there is room") {
  with_mount("the test of a view on a full disk", "size=512k", [](const std::string& directory) {
    const std::string path = directory + "/view";
    const auto view = open_view(path);
    uint64_t n = 1;
    for (; n <= 5; ++n) must(view->apply(change(n)));
    const Answers before = all_of(*view);
    {
      std::ofstream filler(directory + "/filler", std::ios::binary);
      while (filler.write(std::string(4'096, 'x').data(), 4'096).flush()) {
      }
    }
    Status status;
    Answers expected = before;
    while ((status = view->apply(change(n, 20))).ok()) {  // what room its log still has
      expected = all_of(*view);
      REQUIRE(++n < 1'000);
    }
    CHECK(status.code() == Code::kNoSpace);
    CHECK(status.message().find(path) != std::string::npos);
    CHECK(all_of(*view) == expected);
    CHECK(view->apply(change(n, 20)).code() == Code::kNoSpace);
    CHECK(SqliteView::open(directory + "/other").code() == Code::kNoSpace);
    fs::remove(directory + "/other");
    fs::remove(directory + "/filler");
    must(view->apply(change(n, 20)));
    expected = all_of(*view);
    must(view->close());
    CHECK(all_of(*open_view(path)) == expected);
  });
}

TEST_CASE("D22 a file that reaches the limit of its size is refused, and goes on above it") {
  const TempDir directory;
  const std::string path = directory / "view";
  REQUIRE(chmod(directory.path().c_str(), 0777) == 0);
  const Code code = as_nobody([&]() -> Status {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 200'000;
    setrlimit(RLIMIT_FSIZE, &limit);
    auto view = SqliteView::open(path);
    if (!view.ok()) return Status(Code::kInternal, "open");
    uint64_t n = 1;
    Status status;
    while ((status = (*view)->apply(change(n, 20))).ok()) ++n;
    limit.rlim_cur = before;
    setrlimit(RLIMIT_FSIZE, &limit);
    if (!(*view)->apply(change(n, 20)).ok()) return Status(Code::kInternal, "apply");
    const Status closed = (*view)->close();
    return closed.ok() ? status : Status(Code::kInternal, "close");
  });
  // SQLite does not always tell what the system said.
  CHECK((code == Code::kNoSpace || code == Code::kUnavailable));
}

// ----------------------------------------------------------------------------------- odds and ends

TEST_CASE("numbers that would be ordered wrongly are refused, and change nothing") {
  const auto view = open_view("");
  must(view->apply(change(1)));
  const Answers before = all_of(*view);
  constexpr uint64_t kTooLarge = uint64_t{1} << 63;
  const auto refused = [&](auto set) {
    ViewDelta delta = change(2);
    set(delta);
    const Status status = view->apply(delta);
    CHECK(status.code() == Code::kInvalid);
    CHECK(all_of(*view) == before);
  };
  refused([](ViewDelta& d) { d.logs[0].id = kTooLarge; });
  refused([](ViewDelta& d) { d.logs[0].lsn_first = kTooLarge; });
  refused([](ViewDelta& d) { d.runs[0].log = UINT64_MAX; });
  refused([](ViewDelta& d) { d.runs[0].lsn_first = kTooLarge; });
  refused([](ViewDelta& d) { d.runs[0].count = kTooLarge - d.runs[0].lsn_first; });
  refused([](ViewDelta& d) { d.runs[0].count = UINT64_MAX; });
  refused([](ViewDelta& d) { d.slots[0].seq = kTooLarge; });
  refused([](ViewDelta& d) { d.slots[0].seq = kTooLarge - 1; });
  refused([](ViewDelta& d) { d.slots[0].dead = kTooLarge; });
  refused([](ViewDelta& d) { d.published = {run_row(1, kTooLarge, 1)}; });
  refused([](ViewDelta& d) { d.logs[0].settings.retention.age = Duration{-1}; });
  refused([](ViewDelta& d) { d.logs[0].settings.cursors = {{"", 1, 1}}; });
  refused([](ViewDelta& d) { d.logs[0].settings.cursors = {{"b", 1, 1}, {"a", 1, 1}}; });
  ViewDelta fits = change(2);
  fits.dropped = {kTooLarge, UINT64_MAX};  // nothing of these can be there
  must(view->apply(fits));
}

TEST_CASE("the file shrinks after much of it was deleted") {
  const TempDir directory;
  const std::string path = directory / "view";
  const auto view = open_view(path);
  ViewDelta fill;
  for (LogId id = 1; id <= 3'000; ++id) {
    fill.logs.push_back(log_row(id, "a log with a name of some length " + std::to_string(id)));
    for (Lsn lsn = 1; lsn <= 5; ++lsn) fill.runs.push_back(run_row(id, lsn, 1));
  }
  fill.head = head_of(1);
  must(view->apply(fill));
  must(view->close());
  const auto full = fs::file_size(path);
  REQUIRE(full > 500'000);
  const auto again = open_view(path);
  ViewDelta empty;
  for (LogId id = 1; id <= 2'950; ++id) empty.dropped.push_back(id);
  empty.head = head_of(2);
  must(again->apply(empty));
  ViewDelta nothing;
  nothing.head = head_of(3);
  for (int i = 0; i < 20; ++i) must(again->apply(nothing));
  const Answers expected = all_of(*again);
  CHECK(expected.logs.size() == 50);
  must(again->close());
  CHECK(fs::file_size(path) < full / 2);
  CHECK(all_of(*open_view(path)) == expected);
}

// What is appended, truncated and forgotten leaves nothing behind, however often.
TEST_CASE("the file stays small for as long as what is in it does") {
  const TempDir directory;
  const std::string path = directory / "view";
  auto view = open_view(path);
  uintmax_t most = 0;
  for (uint64_t n = 1; n <= 10'000; ++n) {
    ViewDelta delta;
    for (LogId id = 1; id <= 3; ++id) {
      delta.logs.push_back(log_row(id, "log " + std::to_string(id), n, n + 1));
      delta.logs.back().settings.cursors = {{"worker", n, static_cast<int64_t>(n)}};
      delta.runs.push_back(run_row(id, n, 1));
      delta.runs.back().seq = n;
    }
    delta.slots.push_back(slot_row(1, n));
    if (n > 10) {
      delta.slots.push_back(slot_row(1, n - 10));
      delta.slots.back().dead = n;
    }
    if (n > 50) delta.forgotten.push_back({1, n - 50});
    delta.head = head_of(n);
    must(view->apply(delta));
    if (n % 500 == 0) {
      must(view->close());
      most = std::max(most, fs::file_size(path));
      view = open_view(path);
    }
  }
  CHECK(most < 256u << 10);
  CHECK(got(view->slots(0, 0, SIZE_MAX)).size() == 50);
  CHECK(all_of(*view).runs.size() == 3);
}

TEST_CASE("whoever keeps a note may outlive the view") {
  const TempDir directory;
  const std::string path = directory / "view";
  auto view = open_view(path);
  const auto keep = view->note_keeper("fact");
  keep("known");
  CHECK(view->note("fact") == "known");
  must(view->close());
  keep("too late");
  view.reset();
  keep("later still");
  CHECK(open_view(path)->note("fact") == "known");
}

TEST_CASE("a view that was closed opens unclean after a note, as after a delta") {
  const TempDir directory;
  const std::string path = directory / "view";
  make_view(path);
  open_view(path).reset();  // looked at: still as it was closed
  const auto clean = [&] {
    must(open_view(path)->head().status());
    sqlite3* db = nullptr;
    sqlite3_stmt* row = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", nullptr, nullptr, nullptr) == 0);
    REQUIRE(sqlite3_prepare_v2(db, "SELECT clean FROM meta", -1, &row, nullptr) == SQLITE_OK);
    REQUIRE(sqlite3_step(row) == SQLITE_ROW);
    const bool is = sqlite3_column_int(row, 0) != 0;
    sqlite3_finalize(row);
    // Without the checkpoint of a last connection, which would write pages without their sums.
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_close(db);
    return is;
  };
  CHECK(clean());
  must(open_view(path)->set_note("a", "b"));
  CHECK_FALSE(clean());
  must(open_view(path)->close());
  CHECK(clean());
  must(open_view(path)->apply(change(50)));
  CHECK_FALSE(clean());
}

}  // namespace wp
