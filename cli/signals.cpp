// SIGINT and SIGTERM as something to wait for; see signals.h.
#include "cli/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

namespace wp::cli {
namespace {

sigset_t stop_set() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

void raise_event(int fd) {
  const uint64_t one = 1;
  // Cannot fail on an event counter that is far from full.
  [[maybe_unused]] const ssize_t n = ::write(fd, &one, sizeof(one));
}

}  // namespace

StopSignals::StopSignals() {
  // A shell starts background commands with SIGINT ignored, and what is ignored never arrives.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  const sigset_t set = stop_set();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = ::signalfd(-1, &set, SFD_CLOEXEC);
  stop_event_ = ::eventfd(0, EFD_CLOEXEC);
  wake_event_ = ::eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { run(); });
}

StopSignals::~StopSignals() {
  quit_ = true;
  raise_event(wake_event_);
  thread_.join();
  for (const int fd : {signals_, stop_event_, wake_event_}) ::close(fd);
}

void StopSignals::arm(std::function<void()> on_stop) {
  {
    MutexLock lock(mutex_);
    armed_ = true;
    on_stop_ = std::move(on_stop);
  }
  raise_event(wake_event_);  // the reader to watch may be new
}

void StopSignals::disarm() {
  MutexLock lock(mutex_);
  on_stop_ = {};
}

void StopSignals::pause(int millis) const {
  pollfd wait{stop_event_, POLLIN, 0};
  ::poll(&wait, 1, millis);
}

void StopSignals::run() {
  while (!quit_) {
    // With no events asked for, only the loss of the other side is reported.
    pollfd wait[3] = {{signals_, POLLIN, 0}, {wake_event_, POLLIN, 0}, {reader_.load(), 0, 0}};
    if (::poll(wait, 3, -1) < 0) continue;
    if ((wait[1].revents & POLLIN) != 0) {
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t n = ::read(wake_event_, &count, sizeof(count));
    }
    if ((wait[0].revents & POLLIN) != 0) {
      signalfd_siginfo info{};
      if (::read(signals_, &info, sizeof(info)) == sizeof(info)) {
        got_signal(static_cast<int>(info.ssi_signo));
      }
    }
    if ((wait[2].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
      reader_ = -1;
      stop();
    }
  }
}

void StopSignals::got_signal(int number) {
  bool request = false;
  {
    MutexLock lock(mutex_);
    request = armed_ && !stopped_;
  }
  if (request) {
    stop();
    return;
  }
  const sigset_t set = stop_set();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::raise(number);
}

void StopSignals::stop() {
  stopped_ = true;
  raise_event(stop_event_);
  // Under the lock, so that disarm() waits for it.
  MutexLock lock(mutex_);
  if (on_stop_) on_stop_();
}

}  // namespace wp::cli
