// One writing process per root on this machine: a locked file that names its holder. The kernel
// lets go of the lock when the process ends, however it ends; the file stays.
//
// A child of fork() does not hold it: its copy of the descriptor is closed before fork() returns
// there. (A child made by vfork, posix_spawn or a bare clone loses it at exec.)
#ifndef WP_PLATFORM_PROCESS_LOCK_H_
#define WP_PLATFORM_PROCESS_LOCK_H_

#include <memory>
#include <string>

#include "wp.h"

namespace wp {

class ProcessLock {
 public:
  // Never waits for the holder; takes at most 50 ms, and those only to learn the pid of a holder
  // who has just begun. kBusy names it: another process, or this one. The directory must be there.
  static Result<std::unique_ptr<ProcessLock>> acquire(const std::string& path);
  ~ProcessLock();
  ProcessLock(const ProcessLock&) = delete;
  ProcessLock& operator=(const ProcessLock&) = delete;

 private:
  friend struct ProcessLocks;
  explicit ProcessLock(int fd) : fd_(fd) {}

  int fd_;  // guarded by the list of all locks; -1: in a child of fork()
};

}  // namespace wp

#endif  // WP_PLATFORM_PROCESS_LOCK_H_
