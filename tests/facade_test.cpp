// How a root is found, opened, shared within the process and given back: what stands in wp.cpp.
#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include "meta_sqlite/page_sums.h"
#include "tests/test_root.h"

namespace wp {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool mentions(const Status& status, std::string_view what) {
  INFO(status.to_string());
  return status.message().find(what) != std::string::npos;
}

// Gathers what a root tells.
struct Messages {
  std::mutex mutex;
  std::vector<std::string> warnings;

  void listen(Options& options) {
    options.on_message = [this](Level level, std::string_view text) {
      const std::lock_guard lock(mutex);
      if (level == Level::kWarning) warnings.emplace_back(text);
    };
  }
  size_t count() {
    const std::lock_guard lock(mutex);
    return warnings.size();
  }
};

auto threads_now() {
  return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
}

// With the thread sanitizer a child of a program with threads cannot start any.
bool child_can_have_threads() {
#if defined(__SANITIZE_THREAD__)
  std::printf("\nleft out: what a child of fork() opens, for the thread sanitizer\n");
  return false;
#else
  return true;
#endif
}

// The address sanitizer of g++ 12 does not hold its allocator's locks over fork(): where another
// thread allocates just then, the child hangs at its first allocation.
bool child_can_allocate() {
#if defined(__SANITIZE_ADDRESS__)
  std::printf("\nleft out: a fork while other threads allocate, for the address sanitizer\n");
  return false;
#else
  return child_can_have_threads();
#endif
}

// In a child: the exit status says what went wrong there; 0: nothing.
int in_child(const std::function<int()>& body) {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    alarm(60);  // a child that hangs is a failure, not a hang
    _exit(body());
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1'000 + status;
}

}  // namespace

TEST_CASE("the version is that of the header") {
  CHECK(version() == std::to_string(WP_VERSION_MAJOR) + "." + std::to_string(WP_VERSION_MINOR) +
                         "." + std::to_string(WP_VERSION_PATCH));
}

TEST_CASE("a directory is one root by whatever path") {
  const TestDirectory directory;
  fs::create_directories(directory.path() + "/real");
  fs::create_directory_symlink(directory.path() + "/real", directory.path() + "/link");
  const fs::path before = fs::current_path();
  fs::current_path(directory.path());
  std::vector<std::unique_ptr<Wal>> handles;
  Lsn expected = 0;
  for (const std::string& url :
       {"file://" + directory.path() + "/real", directory.path() + "/real/",
        directory.path() + "/./link/../real", std::string("link"),
        std::string("./real?linger_ms=5"), "file://" + directory.path() + "/%72eal"}) {
    CAPTURE(url);
    auto wal = Wal::open(url);
    require_ok(wal.status());
    Log log = log_of(**wal, "a");
    CHECK(append_text(log, "x") == ++expected);
    handles.push_back(*std::move(wal));
  }
  fs::current_path(before);
  CHECK(handles.front()->info().view_path ==
        fs::canonical(directory.path() + "/real").string() + "/wp.sqlite");
}

TEST_CASE("options of the URL hold where the program sets none, and the program's otherwise") {
  const TestRoot root(each_root());
  require_ok(root.open()->close());
  auto wal = Wal::open(root.url() + "?read_only=1");
  require_ok(wal.status());
  CHECK((*wal)->info().read_only);
  CHECK_CODE((*wal)->log("new"), Code::kReadOnly);
  require_ok((*wal)->close());
  CHECK_CODE(Wal::open(root.url() + "-none?create=0"), Code::kNotFound);
  Options options = root.options();
  options.read_only = true;
  wal = Wal::open(root.url() + "?read_only=0", options);  // who looks must not write
  require_ok(wal.status());
  CHECK((*wal)->info().read_only);
}

TEST_CASE("a handle that is closed is closed, and the others go on") {
  const TestRoot root(each_root());
  auto one = root.open();
  auto two = root.open();
  Log log = log_of(*one, "a");
  append_text(log, "1");
  require_ok(one->close());
  CHECK_CODE(one->log("a"), Code::kClosed);
  CHECK_CODE(one->find("a"), Code::kClosed);
  CHECK_CODE(one->logs(), Code::kClosed);
  CHECK_CODE(one->drop("a"), Code::kClosed);
  CHECK_CODE(one->flush(), Code::kClosed);
  CHECK_CODE(one->verify(), Code::kClosed);
  CHECK(one->stats().entries_durable >= 1);  // what was counted is still told
  CHECK(one->info().logs == 1);
  require_ok(one->close());
  one.reset();
  append_text(log, "2");
  auto three = root.open();
  require_ok(two->close());
  append_text(log, "3");
  require_ok(three->close());
  CHECK_CODE(log.append(as_bytes("4")), Code::kClosed);
  CHECK(read_texts(log_of(*root.open(), "a")) == texts("", 3));
}

TEST_CASE("closing one of two handles stores what was appended by both") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.linger = Duration{60'000};
  auto one = root.open(options);
  auto two = root.open(options);
  Log a = log_of(*one, "a"), b = log_of(*two, "b");
  require_ok(a.append_async(as_bytes("1")).status());
  require_ok(b.append_async(as_bytes("1")).status());
  require_ok(one->close());
  CHECK(a.info().lsn_durable == 1);
  CHECK(b.info().lsn_durable == 1);
}

TEST_CASE("abandoning one handle ends all, and the root can be opened anew at once") {
  const TestRoot root(each_root());
  for (int round = 1; round <= 10; ++round) {
    auto one = root.open();
    auto two = root.open();
    Log log = log_of(*two, "a");
    append_text(log, std::to_string(round));
    one->abandon();
    CHECK_CODE(log.append(as_bytes("x")), Code::kClosed);
    CHECK_CODE(two->log("a"), Code::kClosed);
    auto next = root.open();
    require_ok(two->close());  // of the root that is gone: the new one stays
    one->abandon();
    CHECK(read_texts(log_of(*next, "a")) == texts("", static_cast<size_t>(round)));
    require_ok(next->close());
  }
}

TEST_CASE("a reader of a root that is written in the same process is another root") {
  const TestRoot root(each_root());
  Options look = root.options();
  look.read_only = true;
  auto writer = root.open();
  Log log = log_of(*writer, "a");
  append_text(log, "1");
  auto one = root.open(look);
  auto two = root.open(look);
  CHECK(one->info().read_only);
  CHECK_FALSE(writer->info().read_only);
  CHECK(one->info().view_path.empty());
  CHECK_CODE(log_of(*writer, "a").append(as_bytes("2")), Code::kOk);
  require_ok(one->close());
  auto found = two->find("a");
  require_ok(found.status());
  CHECK(read_texts(*found) == texts("", 2));
  CHECK_CODE(found->append(as_bytes("3")), Code::kReadOnly);
  append_text(log, "3");
  require_ok(writer->close());
  CHECK(read_texts(*found) == texts("", 3));
  two->abandon();
  CHECK(read_texts(log_of(*root.open(), "a")) == texts("", 3));
}

TEST_CASE("threads that open, use and close one root at the same time all get what they want") {
  const TestRoot root(each_root());
  require_ok(root.open()->close());
  const auto threads_before = threads_now();
  constexpr int kThreads = 4, kRounds = 25;
  std::atomic<int> appended{0}, failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        auto wal = Wal::open(root.url(), root.options());
        if (!wal) {
          MESSAGE(wal.status().to_string());
          ++failed;
          continue;
        }
        auto log = (*wal)->log("a");
        const bool ok = log.ok() && log->append(as_bytes("x")).ok();
        ok ? ++appended : ++failed;
        if ((i + t) % 3 == 0 && !(*wal)->close().ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(threads_now() <= threads_before);
  auto wal = root.open();
  CHECK(read_entries(log_of(*wal, "a")).size() == static_cast<size_t>(appended));
  require_ok(wal->verify());
}

TEST_CASE("threads that abandon a root under others never leave it locked") {
  const TestRoot root(each_root());
  std::atomic<int> odd{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        auto wal = Wal::open(root.url(), root.options());
        if (!wal) {
          MESSAGE(wal.status().to_string());
          ++odd;
          continue;
        }
        auto log = (*wal)->log("a");
        const Code code = log ? log->append(as_bytes("x")).code() : log.code();
        if (code != Code::kOk && code != Code::kClosed) ++odd;
        if (t % 2 == 0) (*wal)->abandon();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(odd == 0);
  require_ok(root.open()->verify());
}

TEST_CASE("an opening that is not to create anything creates nothing, whatever is there") {
  const TestDirectory directory;
  for (const bool read_only : {false, true}) {
    Options options;
    options.read_only = read_only;
    options.create = read_only;
    const std::string none = directory.path() + "/none/below";
    CHECK_CODE(Wal::open(none, options), Code::kNotFound);
    CHECK(names_in(directory.path()).empty());
    CHECK_CODE(Wal::open(directory.path(), options), Code::kNotFound);
    CHECK(names_in(directory.path()).empty());
    std::ofstream(directory.path() + "/letter.txt") << "dear reader";
    CHECK_CODE(Wal::open(directory.path(), options), Code::kNotFound);
    CHECK(names_in(directory.path()) == std::vector<std::string>{"letter.txt"});
    fs::remove(directory.path() + "/letter.txt");
    CHECK_CODE(Wal::open("mem://never made", options), Code::kNotFound);
    CHECK(memory_bucket("never made", false) == nullptr);
  }
}

TEST_CASE("whoever only reads a directory leaves it as it was") {
  const TestRoot root(RootKind::kDirectory);
  {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    append_text(log, "1");
  }
  for (const char* name : {"wp.sqlite", "wp.lock"}) fs::remove(root.directory() + "/" + name);
  const auto before = names_in(root.directory());
  const auto time = fs::last_write_time(root.directory());
  Options options = root.options();
  options.read_only = true;
  const std::string elsewhere = root.directory() + "/wp.sqlite-mine";
  options.meta_path = elsewhere;  // the view is the writer's
  {
    const auto wal = root.open(options);
    auto log = wal->find("a");
    require_ok(log.status());
    CHECK(read_texts(*log) == texts("", 1));
    CHECK(names_in(root.directory()) == before);
    require_ok(wal->close());
  }
  CHECK(names_in(root.directory()) == before);
  CHECK(fs::last_write_time(root.directory()) == time);
  CHECK_FALSE(fs::exists(elsewhere));
}

TEST_CASE("the view lies where the options say, and in memory where nothing can lie") {
  const TestRoot root(RootKind::kDirectory);
  const TestDirectory directory;
  Options options = root.options();
  options.meta_path = directory.path() + "/view.sqlite";
  {
    const auto wal = root.open(options);
    CHECK(wal->info().view_path == options.meta_path);
    Log log = log_of(*wal, "a");
    append_text(log, "1");
  }
  CHECK(fs::exists(options.meta_path));
  CHECK_FALSE(fs::exists(root.directory() + "/wp.sqlite"));

  options.meta_path = directory.path() + "/none/view.sqlite";
  Messages messages;
  messages.listen(options);
  {
    const auto wal = root.open(options);
    CHECK(wal->info().view_path.empty());
    REQUIRE(messages.count() >= 1);
    CHECK(messages.warnings.front().find(options.meta_path) != std::string::npos);
    Log log = log_of(*wal, "a");
    CHECK(append_text(log, "2") == 2);
    require_ok(wal->close());
  }
  CHECK(names_in(directory.path()) == std::vector<std::string>{"view.sqlite"});
  CHECK(TestRoot(RootKind::kMemory).open()->info().view_path.empty());
}

TEST_CASE("a view that is somebody else's fails the opening, and is not touched") {
  const TestRoot root(RootKind::kDirectory);
  const TestDirectory directory;
  Options options = root.options();
  options.meta_path = directory.path() + "/other.sqlite";
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(options.meta_path.c_str(), &db) == SQLITE_OK);
  REQUIRE(sqlite3_exec(db, "CREATE TABLE t(x)", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
  const auto size = fs::file_size(options.meta_path);
  const auto opened = Wal::open(root.url(), options);
  CHECK_CODE(opened, Code::kInvalid);
  CHECK(mentions(opened.status(), options.meta_path));
  CHECK(fs::file_size(options.meta_path) == size);
  // And the root was let go of.
  options.meta_path.clear();
  require_ok(root.open(options)->close());
}

TEST_CASE("a view that was found wrong is built anew, also where its finder was killed") {
  const TestRoot root(RootKind::kDirectory), as_left(RootKind::kDirectory);
  {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    for (const std::string& text : texts("", 10)) append_text(log, text);
    require_ok(wal->close());
  }
  {
    const PageSumVfs sums(sqlite3_vfs_find(nullptr));
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open_v2((root.directory() + "/wp.sqlite").c_str(), &db, SQLITE_OPEN_READWRITE,
                            sums.name()) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db,
                         "PRAGMA locking_mode = EXCLUSIVE; DELETE FROM runs WHERE lsn_first = 5",
                         nullptr, nullptr, nullptr) == SQLITE_OK);
    REQUIRE(sqlite3_changes(db) == 1);
    REQUIRE(sqlite3_close(db) == SQLITE_OK);
  }
  const auto finder = root.open();
  auto reader = log_of(*finder, "a").read(From::at(5));
  require_ok(reader.status());
  CHECK_CODE(reader->next(), Code::kCorrupt);
  root.copy_objects_to(as_left);
  root.copy_view_to(as_left);
  const auto next = as_left.open();
  CHECK(read_texts(log_of(*next, "a")) == texts("", 10));
  require_ok(next->verify({}));
}

TEST_CASE("two roots cannot share one view") {
  const TestRoot one(RootKind::kDirectory), two(RootKind::kDirectory);
  const TestDirectory directory;
  Options options = one.options();
  options.meta_path = directory.path() + "/view.sqlite";
  const auto wal = one.open(options);
  const auto second = Wal::open(two.url(), options);
  CHECK_CODE(second, Code::kBusy);
  CHECK(mentions(second.status(), options.meta_path));
}

TEST_CASE("a callback may end the last handle, and is told when it may not wait") {
  const TestRoot root(each_root());
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  std::promise<Code> told;
  std::atomic<Wal*> last{wal.get()};
  require_ok(
      log.append_async(as_bytes("1"),
                       [&](const Result<Lsn>&) { told.set_value(last.load()->close().code()); })
          .status());
  CHECK(code_name(told.get_future().get()) == code_name(Code::kInvalid));
  append_text(log, "2");
  std::promise<void> gone;
  auto* handle = wal.release();
  require_ok(log.append_async(as_bytes("3"),
                              [&, handle](const Result<Lsn>&) {
                                delete handle;
                                gone.set_value();
                              })
                 .status());
  gone.get_future().wait();
  // Opening waits until it has ended.
  wal = root.open();
  log = log_of(*wal, "a");
  CHECK(read_texts(log) == texts("", 3));
  std::promise<void> abandoned;
  require_ok(log.append_async(as_bytes("4"),
                              [&](const Result<Lsn>&) {
                                wal->abandon();
                                abandoned.set_value();
                              })
                 .status());
  abandoned.get_future().wait();
  while (log.append(as_bytes("x")).code() != Code::kClosed) std::this_thread::yield();
  wal.reset();
  CHECK(root.open()->logs()->size() == 1);
}

TEST_CASE("D23 a child opens roots of its own, and the parent's is held by the parent") {
  if (!child_can_have_threads()) return;
  const TestRoot root(RootKind::kDirectory), own(RootKind::kDirectory);
  const TestRoot memory(RootKind::kMemory);
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  require_ok(memory.open()->close());
  const std::string parent = std::to_string(getpid());
  CHECK(in_child([&] {
          // Information without an error to say is empty, and a handle goes quietly.
          if (!wal->info().url.empty() || wal->stats().entries_appended != 0) return 1;
          const auto refused = Wal::open(root.url());
          if (refused.code() != Code::kBusy) return 2;
          if (refused.status().message().find(parent) == std::string::npos) return 3;
          auto mine = Wal::open(own.url(), own.options());
          if (!mine) return 4;
          auto mine_log = (*mine)->log("a");
          if (!mine_log || !mine_log->append(as_bytes("child")).ok()) return 5;
          if (wal->log("a").code() != Code::kForked) return 6;
          if (!memory.keys().empty()) return 9;  // memory is the parent's
          if (!Wal::open(memory.url())) return 10;
          const int grandchild = in_child([&] {
            if ((*mine)->flush().code() != Code::kForked) return 1;
            mine->reset();
            return Wal::open(own.url()).code() == Code::kBusy ? 0 : 2;
          });
          if (grandchild != 0) return 7;
          if (!(*mine)->close().ok()) return 8;
          wal.reset();
          return 0;
        }) == 0);
  append_text(log, "2");
  CHECK(read_texts(log_of(*own.open(), "a")) == std::vector<std::string>{"child"});
}

TEST_CASE("D23 a fork in the middle of openings and closings leaves the child able to open") {
  if (!child_can_allocate()) return;
  const RootKind kind = each_root();
  const TestRoot root(kind);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      while (!done) (void)Wal::open(root.url(), root.options());
    });
  }
  for (int i = 0; i < 50; ++i) {
    const TestRoot own(kind);
    CHECK(in_child([&] {
            auto wal = Wal::open(own.url(), own.options());
            return wal.ok() && (*wal)->close().ok() ? 0 : 1;
          }) == 0);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace wp
