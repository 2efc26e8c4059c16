// The Runtime of production: the machine's clocks, one event thread and a few workers.
//
// Threads start at the first task for them and then sleep until there is something to do: an idle
// root causes no wake-up. The event thread runs what is due by time first, then what was posted, in
// order.
//
// In a child of fork() only forked() and on_event_thread() may be called, and the destructor may
// not run: it would wait for threads that are not there.
//
// now() counts on while the machine is suspended, but no sleep does: what was to happen during a
// suspension happens up to that much later than its time, never earlier.
#ifndef WP_PLATFORM_REAL_RUNTIME_H_
#define WP_PLATFORM_REAL_RUNTIME_H_

#include <deque>
#include <map>
#include <thread>
#include <unordered_map>
#include <utility>

#include "engine/runtime.h"
#include "platform/fork.h"
#include "platform/thread_pool.h"

namespace wp {

class RealRuntime final : public Runtime {
 public:
  explicit RealRuntime(size_t workers_max = workers_default());
  ~RealRuntime() override;  // stop()

  // Starts the event thread now. False: the system would not give a thread. Calling it is not
  // needed, but without it a task that is posted when there are no threads to be had waits for the
  // next post.
  [[nodiscard]] bool start();

  TimePoint now() override;
  int64_t wall_ms() override;
  uint64_t random() override;
  void post(Task task) override;
  TimerId call_at(TimePoint when, Task task) override;
  void cancel(TimerId timer) override;
  // Where no worker can be started the event thread does the work.
  void work(Task task) override;
  bool wait(MutexLock& lock, CondVar& cv, TimePoint deadline) override;
  bool on_event_thread() override;
  bool forked() override { return fork_generation() != fork_generation_; }
  // From any thread that is not one of its own, also from several at once. What is posted
  // afterwards is destroyed at once.
  void stop() override;

  static size_t workers_default();  // the number of cores, at most 4

 private:
  bool start_locked() WP_REQUIRES(mutex_);
  bool take_due(Task& task) WP_REQUIRES(mutex_);
  void run();

  const uint64_t fork_generation_ = fork_generation();
  ThreadPool workers_;

  Mutex stop_mutex_;  // held by who stops, before mutex_

  Mutex mutex_;
  CondVar wake_;
  std::deque<Task> posted_ WP_GUARDED_BY(mutex_);
  // By time, and those of one time in the order they were made. A map and not a heap, so that
  // cancel() lets go of the task, and of all it holds, at once.
  std::map<std::pair<TimePoint, TimerId>, Task> timers_ WP_GUARDED_BY(mutex_);
  std::unordered_map<TimerId, TimePoint> timer_times_ WP_GUARDED_BY(mutex_);
  TimerId timer_next_ WP_GUARDED_BY(mutex_) = 1;
  // When the event thread wakes by itself. Below all times: it is awake, or was told to wake, and
  // will look before it sleeps again.
  TimePoint asleep_until_ WP_GUARDED_BY(mutex_) = TimePoint::min();
  bool stopping_ WP_GUARDED_BY(mutex_) = false;
  std::thread event_thread_ WP_GUARDED_BY(mutex_);
};

}  // namespace wp

#endif  // WP_PLATFORM_REAL_RUNTIME_H_
