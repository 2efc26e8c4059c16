#include "platform/real_runtime.h"

#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <utility>

namespace wp {
namespace {

thread_local const RealRuntime* event_thread_of = nullptr;

TimePoint read_clock(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
}

// Longer sleeps would overflow the sum with the clock.
constexpr std::chrono::nanoseconds kSleepMax = std::chrono::hours{24 * 365};

}  // namespace

size_t RealRuntime::workers_default() {
  return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 4);
}

RealRuntime::RealRuntime(size_t workers_max) : workers_("wp-work", workers_max) {}

RealRuntime::~RealRuntime() {
  stop();
}

bool RealRuntime::start() {
  MutexLock lock(mutex_);
  return start_locked();
}

bool RealRuntime::start_locked() {
  if (event_thread_.joinable()) return true;
  return start_thread(event_thread_, "wp-event", [this] { run(); });
}

TimePoint RealRuntime::now() {
  return read_clock(CLOCK_BOOTTIME);
}

int64_t RealRuntime::wall_ms() {
  // An append asks for it each time; a tick of the kernel is exact enough.
  return std::chrono::floor<std::chrono::milliseconds>(read_clock(CLOCK_REALTIME_COARSE)).count();
}

uint64_t RealRuntime::random() {
  uint64_t value = 0;
  // So few bytes come whole, or not at all while the machine boots and a signal arrives.
  while (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
  }
  return value;
}

void RealRuntime::post(Task task) {
  bool wake;
  {
    MutexLock lock(mutex_);
    if (stopping_) return;
    posted_.push_back(std::move(task));
    wake = asleep_until_ != TimePoint::min();
    asleep_until_ = TimePoint::min();
    start_locked();
  }
  if (wake) wake_.notify_all();
}

TimerId RealRuntime::call_at(TimePoint when, Task task) {
  TimerId id;
  bool wake;
  {
    MutexLock lock(mutex_);
    if (stopping_) return 0;
    id = timer_next_++;
    timers_.emplace(std::pair{when, id}, std::move(task));
    timer_times_.emplace(id, when);
    wake = when < asleep_until_;
    if (wake) asleep_until_ = TimePoint::min();
    start_locked();
  }
  if (wake) wake_.notify_all();
  return id;
}

void RealRuntime::cancel(TimerId timer) {
  Task task;  // destroyed behind the lock
  MutexLock lock(mutex_);
  const auto time = timer_times_.find(timer);
  if (time == timer_times_.end()) return;
  const auto it = timers_.find({time->second, timer});
  task = std::move(it->second);
  timers_.erase(it);
  timer_times_.erase(time);
}

void RealRuntime::work(Task task) {
  if (!workers_.submit(task)) post(std::move(task));
}

bool RealRuntime::wait(MutexLock& lock, CondVar& cv, TimePoint deadline) {
  if (deadline == kNever) {
    cv.native().wait(lock);
    return true;
  }
  const TimePoint left = deadline - now();
  if (left <= TimePoint::zero()) return false;
  return cv.native().wait_for(lock, std::min(left, kSleepMax)) == std::cv_status::no_timeout ||
         now() < deadline;
}

bool RealRuntime::on_event_thread() {
  return event_thread_of == this;
}

bool RealRuntime::take_due(Task& task) {
  if (!timers_.empty() && timers_.begin()->first.first <= now()) {
    const auto it = timers_.begin();
    task = std::move(it->second);
    timer_times_.erase(it->first.second);
    timers_.erase(it);
    return true;
  }
  if (posted_.empty()) return false;
  task = std::move(posted_.front());
  posted_.pop_front();
  return true;
}

void RealRuntime::run() {
  event_thread_of = this;
  Task task;
  MutexLock lock(mutex_);
  while (!stopping_) {
    if (take_due(task)) {
      lock.unlock();
      task();
      task = nullptr;  // what it holds goes while no lock is held
      lock.lock();
      continue;
    }
    asleep_until_ = timers_.empty() ? kNever : timers_.begin()->first.first;
    wait(lock, wake_, asleep_until_);
    asleep_until_ = TimePoint::min();
  }
}

void RealRuntime::stop() {
  MutexLock stop_lock(stop_mutex_);
  std::thread event_thread;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    event_thread = std::move(event_thread_);
  }
  wake_.notify_all();
  // Workers first: they take no new task while the event thread ends its last one.
  workers_.stop(ThreadPool::Unbegun::kDrop);
  if (event_thread.joinable()) event_thread.join();

  std::deque<Task> posted;
  std::map<std::pair<TimePoint, TimerId>, Task> timers;
  MutexLock lock(mutex_);
  posted.swap(posted_);
  timers.swap(timers_);
  timer_times_.clear();
}

}  // namespace wp
