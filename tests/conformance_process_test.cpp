// Several processes: one writer at a time, kill -9, fork, and the RAM of a real process. Children
// are this very program, told by their environment to run only the test case of helpers.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "meta_sqlite/sqlite_view.h"
#include "platform/real_runtime.h"
#include "tests/test_root.h"

extern char** environ;

namespace wp {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// ---------------------------------------------------------------------------------- in the child

void say(const std::string& line) {
  static const int fd = std::atoi(variable("WP_TEST_FD"));
  const std::string whole = line + '\n';
  if (write(fd, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) _exit(3);
}

void helper_open() {
  auto wal = Wal::open(variable("WP_TEST_URL"));
  say(std::string(code_name(wal.code())) + ' ' + wal.status().message());
  if (!wal.ok()) return;
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
}

// Appends until it is killed, and says what was acknowledged.
void helper_append() {
  Options options;
  options.sync = false;
  options.fragment_bytes_max = 4u << 10;
  options.checkpoint_slots = 16;
  auto wal = Wal::open(variable("WP_TEST_URL"), options);
  if (!wal.ok()) return say("open: " + wal.status().to_string());
  auto log = (*wal)->log("a");
  if (!log.ok()) return say("log: " + log.status().to_string());
  for (uint64_t i = 0;; ++i) {
    const std::string text =
        std::string(variable("WP_TEST_ROUND")) + "/" + std::to_string(i) + noise(i, i % 700);
    if (i % 5 == 4) {
      (void)log->append_async(as_bytes(text));
      continue;
    }
    const auto lsn = log->append(as_bytes(text));
    if (!lsn.ok()) return say("append: " + lsn.status().to_string());
    say(std::to_string(*lsn) + ' ' + std::to_string(i));
  }
}

uint64_t resident_bytes_max() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

// A store in memory that takes no PUT while it is down.
class DownStore final : public ObjectStore {
 public:
  std::atomic<bool> down{false};

  void put_if_absent(std::string key, Body body, Cause cause, PutDone done) override {
    if (down) return done({Answer::kUnknown, "put: down", {}});
    store_.put_if_absent(std::move(key), std::move(body), cause, std::move(done));
  }
  void get(std::string key, ByteRange range, Cause cause, GetDone done) override {
    store_.get(std::move(key), range, cause, std::move(done));
  }
  void list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
            ListDone done) override {
    store_.list(std::move(prefix), std::move(after), count_max, cause, std::move(done));
  }
  void remove(std::vector<std::string> keys, Cause cause, RemoveDone done) override {
    store_.remove(std::move(keys), cause, std::move(done));
  }
  void shutdown() override { store_.shutdown(); }
  std::string description() const override { return "mem://down"; }
  std::chrono::milliseconds linger_default() const override { return Duration{0}; }

 private:
  MemoryStore store_{std::make_shared<MemoryBucket>()};
};

void helper_resident() {
  auto store = std::make_shared<DownStore>();
  EngineParts parts;
  parts.store = store;
  parts.runtime = std::make_shared<RealRuntime>();
  parts.view = SqliteView::open("").value();
  Options options;
  options.ram_bytes_max = 64u << 20;
  options.fragment_bytes_max = 4u << 20;
  options.at_limit = AtLimit::kBusy;
  options.close_timeout = Duration{1};
  auto engine = Engine::open(std::move(parts), options).value();
  Log log = engine->log("a").value();
  if (!log.append(as_bytes("first")).ok()) return say("append failed");
  const std::string payload = noise(1, 20'000);
  const uint64_t before = resident_bytes_max();
  store->down = true;
  uint64_t busy = 0;
  while (busy < 20'000) busy += log.append_async(as_bytes(payload)).code() == Code::kBusy;
  say(std::to_string(resident_bytes_max() - before));
  engine->abandon();
}

// --------------------------------------------------------------------------------- in the parent

class Child {
 public:
  Child(const std::string& mode, const std::string& url, const std::string& round = "") {
    int in[2], out[2];
    REQUIRE(pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], 9);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    std::vector<std::string> environment = {"WP_TEST_HELPER=" + mode, "WP_TEST_URL=" + url,
                                            "WP_TEST_ROUND=" + round, "WP_TEST_FD=9"};
    for (char** each = environ; *each != nullptr; ++each) {
      if (!std::string_view(*each).starts_with("WP_TEST_")) environment.emplace_back(*each);
    }
    std::vector<char*> environment_pointers;
    for (std::string& each : environment) environment_pointers.push_back(each.data());
    environment_pointers.push_back(nullptr);
    std::string program = "/proc/self/exe", filter = "-tc=the helper process *";
    char* arguments[] = {program.data(), filter.data(), nullptr};
    const int error = posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments,
                                  environment_pointers.data());
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    stdin_ = in[1];
    out_ = fdopen(out[0], "r");
    REQUIRE(error == 0);
  }
  ~Child() {
    kill();
    if (stdin_ >= 0) close(stdin_);
    std::fclose(out_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // False at the end of what it says.
  bool line(std::string& text) {
    text.clear();
    for (int c; (c = std::fgetc(out_)) != EOF;) {
      if (c == '\n') return true;
      text += static_cast<char>(c);
    }
    return false;
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void finish() {
    close(stdin_);
    stdin_ = -1;
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  int stdin_ = -1;
  FILE* out_ = nullptr;
};

uint64_t rounds(uint64_t otherwise) {
  const std::string text = variable("WP_KILL_ROUNDS");
  return text.empty() ? otherwise : std::stoull(text);
}

}  // namespace

TEST_CASE("the helper process of other tests does what its environment says, if anything") {
  const std::string mode = variable("WP_TEST_HELPER");
  if (mode == "open") helper_open();
  if (mode == "append") helper_append();
  if (mode == "resident") helper_resident();
}

TEST_CASE("C08 a second process is refused at once and told by whom") {
  const TestRoot root(RootKind::kDirectory);
  std::string line;
  {
    Child holder("open", root.url());
    REQUIRE(holder.line(line));
    REQUIRE(line.starts_with("kOk"));
    const auto refused = Wal::open(root.url());
    CHECK_CODE(refused, Code::kBusy);
    INFO(refused.status().to_string());
    CHECK(refused.status().message().find(std::to_string(holder.pid())) != std::string::npos);
    // Beside it, one may look.
    Options read_only;
    read_only.read_only = true;
    CHECK(Wal::open(root.url(), read_only).ok());
    // Who holds it is killed: no stale lock is left.
    holder.kill();
  }
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  {
    Child second("open", root.url());
    REQUIRE(second.line(line));
    CHECK(line.starts_with("kBusy"));
    CHECK(line.find(std::to_string(getpid())) != std::string::npos);
  }
  append_text(log, "2");  // the refused one harmed nothing
  require_ok(wal->close());
  Child third("open", root.url());
  REQUIRE(third.line(line));
  CHECK(line.starts_with("kOk"));
  third.finish();
}

TEST_CASE("D26 C32 kill -9 at any moment: every acknowledged LSN is there, and none is torn") {
  const TestRoot root(RootKind::kDirectory);
  SimRandom random(1);
  std::map<Lsn, std::string> acknowledged;  // the beginning of the text
  const uint64_t count = rounds(25);
  for (uint64_t round = 0; round < count; ++round) {
    CAPTURE(round);
    Child child("append", root.url(), std::to_string(round));
    const uint64_t lines = 1 + random.below(60);
    std::string line;
    for (uint64_t i = 0; child.line(line); ++i) {
      std::istringstream words(line);
      Lsn lsn = 0;
      std::string number;
      words >> lsn >> number;
      INFO(line);
      REQUIRE(lsn != 0);
      CHECK(acknowledged.emplace(lsn, std::to_string(round) + "/" + number).second);
      if (i == lines) child.kill();  // what it still said is read to its end
    }
    child.kill();
    if (round % 7 == 6) root.forget_view();
    const auto wal = root.open();
    const auto entries = read_entries(log_of(*wal, "a"));
    REQUIRE(entries.size() >= acknowledged.rbegin()->first);
    for (const auto& [lsn, begin] : acknowledged) {
      const Entry& entry = entries[lsn - 1];
      CHECK(entry.lsn == lsn);
      const uint64_t i = std::stoull(begin.substr(begin.find('/') + 1));
      CHECK((entry.text() == begin + noise(i, i % 700)));
    }
    if (round % 5 == 4) {
      require_ok(wal->close());
    } else {
      wal->abandon();
    }
  }
  const auto wal = root.open();
  require_ok(wal->verify());
}

TEST_CASE("D23 after fork() every call in the child says kForked, and the parent goes on") {
  const TestRoot root(each_root());
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  auto reader = log.subscribe();
  require_ok(reader.status());
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    int wrong = 0;
    const auto check = [&](Code code, int bit) {
      if (code != Code::kForked) wrong |= bit;
    };
    check(log.append(as_bytes("child")).code(), 1);
    check(log.append_async(as_bytes("child")).code(), 1);
    check(log.publish(as_bytes("child")).code(), 1);
    check(wal->flush().code(), 2);
    check(wal->log("b").code(), 4);
    check(wal->logs().code(), 4);
    check(wal->drop("a").code(), 8);
    check(log.truncate(1).code(), 8);
    check(log.read().code(), 16);
    check(reader->next().code(), 16);
    check(wal->verify().code(), 32);
    check(wal->close().code(), 64);
    wal->abandon();
    wal.reset();  // neither hangs nor gives the parent's lock away
    _exit(wrong);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  append_text(log, "2");
  if (root.kind() == RootKind::kDirectory) {
    Child second("open", root.url());
    std::string line;
    REQUIRE(second.line(line));
    CHECK(line.starts_with("kBusy"));
  }
  require_ok(wal->close());
  wal = root.open();
  CHECK(read_texts(log_of(*wal, "a")) == texts("", 2));
}

TEST_CASE("D04 a real process with the store down keeps its resident memory near the budget") {
  if (kSanitized) return;  // their own bookkeeping would be measured
  Child child("resident", "");
  std::string line;
  REQUIRE(child.line(line));
  CAPTURE(line);
  // 1.25 x 64 MiB, and what an allocator keeps to itself.
  CHECK(std::stoull(line) <= (80u << 20) + (16u << 20));
  child.finish();
}

}  // namespace wp
