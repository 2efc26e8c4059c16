#include "platform/process_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <vector>

namespace wp {

// All locks of this process. Its mutex is held over fork(), so that a child sees a descriptor
// either not opened yet or listed. (A std::mutex, because handlers of fork() take and release it in
// different functions, which the thread-safety analysis cannot follow.)
struct ProcessLocks {
  std::mutex mutex;
  std::vector<ProcessLock*> locks;

  static ProcessLocks& all() {
    static ProcessLocks& all = *[] {
      pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
      return new ProcessLocks;  // never destroyed: locks may be let go while the process exits
    }();
    return all;
  }

  static void before_fork() { all().mutex.lock(); }
  static void after_fork_in_parent() { all().mutex.unlock(); }
  static void after_fork_in_child() {
    // The lock belongs to what parent and child share: only closing leaves it with the parent.
    for (ProcessLock* lock : all().locks) {
      ::close(lock->fd_);
      lock->fd_ = -1;
    }
    all().locks.clear();
    all().mutex.unlock();
  }
};

namespace {

constexpr int kRoundsMax = 20;
constexpr timespec kRoundPause{0, 2'000'000};

bool set_lock(int fd, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;  // and the whole file
  int result;
  do {
    result = ::fcntl(fd, F_OFD_SETLK, &lock);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

// The process that the file names; 0: none, or it is being written just now.
pid_t read_holder(int fd) {
  char text[32];
  const ssize_t count = ::pread(fd, text, sizeof text, 0);
  if (count <= 1 || text[count - 1] != '\n') return 0;
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text, text + count - 1, pid);
  return error == std::errc{} && end == text + count - 1 && pid > 0 ? pid : 0;
}

bool is_running(pid_t pid) {
  return ::kill(pid, 0) == 0 || errno == EPERM;
}

// For the messages of others only: if it fails, the lock holds all the same.
void write_holder(int fd) {
  const std::string text = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0) return;
  [[maybe_unused]] const ssize_t written = ::pwrite(fd, text.data(), text.size(), 0);
}

Status failed(const std::string& path, int error) {
  const std::string tried = "lock " + path + ": ";
  const std::string what = ::strerror(error);
  switch (error) {
    case ENOENT:
      return Status(Code::kNotFound, tried + "its directory is not there; create it");
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return Status(Code::kInvalid, tried + what + "; name another place");
    case EACCES:
    case EPERM:
    case EROFS:
      return Status(Code::kDenied,
                    tried + what + "; give this user the permission, or open with read_only");
    case ENOSPC:
    case EDQUOT:
      return Status(Code::kNoSpace, tried + what + "; free space there");
    case EINVAL:
    case ENOLCK:
    case EOPNOTSUPP:
    case ENOSYS:
      return Status(Code::kUnsupported,
                    tried + "the file system has no such locks (" + what + "); use another one");
    default:
      return Status(Code::kUnavailable, tried + what + "; look at the disk");
  }
}

}  // namespace

Result<std::unique_ptr<ProcessLock>> ProcessLock::acquire(const std::string& path) {
  ProcessLocks& all = ProcessLocks::all();
  pid_t holder = 0;
  for (int round = 0; round < kRoundsMax; ++round) {
    if (round > 0) ::nanosleep(&kRoundPause, nullptr);
    const std::lock_guard guard(all.mutex);
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) return failed(path, errno);
    if (set_lock(fd, F_WRLCK)) {
      write_holder(fd);
      std::unique_ptr<ProcessLock> lock(new ProcessLock(fd));
      all.locks.push_back(lock.get());
      return lock;
    }
    const int error = errno;
    if (error == EAGAIN || error == EACCES) holder = read_holder(fd);
    ::close(fd);
    if (error != EAGAIN && error != EACCES) return failed(path, error);
    // A name that nobody bears was left by an earlier holder, or belongs to another container.
    if (holder != 0 && is_running(holder)) break;
  }
  const std::string who =
      holder == 0 ? std::string("another process") : "process " + std::to_string(holder);
  return Status(Code::kBusy, "open " + path + " for writing: held by " + who +
                                 "; close it there, or open with read_only");
}

ProcessLock::~ProcessLock() {
  ProcessLocks& all = ProcessLocks::all();
  const std::lock_guard guard(all.mutex);
  if (fd_ < 0) return;
  std::erase(all.locks, this);
  // Explicitly, for a copy of the descriptor may be in a child that has not come to exec yet.
  [[maybe_unused]] const int truncated = ::ftruncate(fd_, 0);
  set_lock(fd_, F_UNLCK);
  ::close(fd_);
}

}  // namespace wp
