// The lock that keeps a root to one process: refused at once and told by whom, gone with its
// process, and not handed on by fork().
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "platform/process_lock.h"
#include "tests/store_contract.h"

namespace wp {
namespace {

using store_test::TempDir;

// A child that runs something, says "ready", and then waits until it is let go or killed.
class Child {
 public:
  // The child's `body` says whether to go on.
  explicit Child(const std::function<bool()>& body) {
    int up[2], down[2];
    REQUIRE(pipe2(up, O_CLOEXEC) == 0);
    REQUIRE(pipe2(down, O_CLOEXEC) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      close(up[0]);
      close(down[1]);
      const char ready = body() ? 'y' : 'n';
      if (write(up[1], &ready, 1) != 1) _exit(3);
      char end;
      (void)!read(down[0], &end, 1);
      _exit(0);
    }
    close(up[1]);
    close(down[0]);
    char ready = '?';
    REQUIRE(read(up[0], &ready, 1) == 1);
    close(up[0]);
    hold_ = down[1];
    CHECK(ready == 'y');
  }
  ~Child() {
    close(hold_);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void kill_it() {
    REQUIRE(kill(pid_, SIGKILL) == 0);
    REQUIRE(waitpid(pid_, nullptr, 0) == pid_);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  int hold_ = -1;
};

std::string refusal(const std::string& path, pid_t pid) {
  return "open " + path + " for writing: held by process " + std::to_string(pid) +
         "; close it there, or open with read_only";
}

}  // namespace

TEST_CASE("C08 a second lock in the same process is refused") {
  TempDir dir;
  const std::string path = dir / "wp.lock";
  {
    const auto lock = ProcessLock::acquire(path);
    REQUIRE_MESSAGE(lock.ok(), lock.status().message());
    const auto second = ProcessLock::acquire(path);
    CHECK(second.code() == Code::kBusy);
    CHECK(second.status().message() == refusal(path, getpid()));
    CHECK(ProcessLock::acquire(dir / "other.lock").ok());
  }
  CHECK(std::filesystem::exists(path));
  CHECK(ProcessLock::acquire(path).ok());
  CHECK(ProcessLock::acquire(path).ok());
}

TEST_CASE("C08 a lock of another process is refused and its pid named, until that one is killed") {
  TempDir dir;
  const std::string path = dir / "wp.lock";
  Child child([&] {
    auto lock = ProcessLock::acquire(path);
    return lock.ok() && std::move(lock).value().release() != nullptr;
  });
  const auto refused = ProcessLock::acquire(path);
  CHECK(refused.code() == Code::kBusy);
  CHECK(refused.status().message() == refusal(path, child.pid()));
  child.kill_it();
  const auto lock = ProcessLock::acquire(path);
  CHECK_MESSAGE(lock.ok(), lock.status().message());
}

TEST_CASE("D23 a child of fork does not keep its parent's lock alive") {
  TempDir dir;
  const std::string path = dir / "wp.lock";
  // A holder that forks; the grandchild outlives it.
  int up[2], down[2];
  REQUIRE(pipe2(up, O_CLOEXEC) == 0);
  REQUIRE(pipe2(down, O_CLOEXEC) == 0);
  Child holder([&] {
    auto lock = ProcessLock::acquire(path);
    if (!lock.ok()) return false;
    std::move(lock).value().release();
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      close(down[1]);
      char byte = 'r';
      (void)!write(up[1], &byte, 1);
      (void)!read(down[0], &byte, 1);  // until the test ends
      _exit(0);
    }
    return grandchild > 0;
  });
  char byte;
  REQUIRE(read(up[0], &byte, 1) == 1);  // the grandchild runs
  CHECK(ProcessLock::acquire(path).code() == Code::kBusy);
  holder.kill_it();
  const auto lock = ProcessLock::acquire(path);
  CHECK_MESSAGE(lock.ok(), lock.status().message());
  for (const int fd : {up[0], up[1], down[0], down[1]}) close(fd);
}

TEST_CASE("D23 a child of fork cannot take its parent's lock away") {
  TempDir dir;
  const std::string path = dir / "wp.lock";
  auto lock = ProcessLock::acquire(path);
  REQUIRE(lock.ok());
  {
    Child child([&] {
      lock.value().reset();  // the copy in the child
      return ProcessLock::acquire(path).code() == Code::kBusy;
    });
  }
  const auto again = ProcessLock::acquire(path);
  CHECK(again.code() == Code::kBusy);
  CHECK(again.status().message() == refusal(path, getpid()));
}

TEST_CASE("a lock let go is free at once, whatever children there are") {
  TempDir dir;
  const std::string path = dir / "wp.lock";
  auto lock = ProcessLock::acquire(path);
  REQUIRE(lock.ok());
  Child child([] { return true; });
  lock.value().reset();
  CHECK(ProcessLock::acquire(path).ok());
}

TEST_CASE("what an earlier holder left in the file is not taken for the holder") {
  TempDir dir;
  const std::string path = dir / "wp.lock";
  Child gone([] { return true; });
  const pid_t dead = gone.pid();
  gone.kill_it();
  std::ofstream(path) << dead << "\n";
  {
    const auto lock = ProcessLock::acquire(path);
    REQUIRE(lock.ok());
    CHECK(ProcessLock::acquire(path).status().message() == refusal(path, getpid()));
  }
  // A holder that has not named itself.
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct flock other {};
  other.l_type = F_WRLCK;
  REQUIRE(fcntl(fd, F_OFD_SETLK, &other) == 0);
  const auto refused = ProcessLock::acquire(path);
  CHECK(refused.code() == Code::kBusy);
  CHECK(refused.status().message().find("held by another process") != std::string::npos);
  close(fd);
}

TEST_CASE("a place that cannot hold a lock is told as what it is") {
  TempDir dir;
  CHECK(ProcessLock::acquire(dir / "none/wp.lock").code() == Code::kNotFound);
  CHECK(ProcessLock::acquire(dir.path()).code() == Code::kInvalid);
  std::filesystem::create_symlink(dir / "elsewhere", dir / "link");
  CHECK(ProcessLock::acquire(dir / "link").code() == Code::kInvalid);
  CHECK(!std::filesystem::exists(dir / "elsewhere"));
}

}  // namespace wp
