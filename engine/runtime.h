// The second of the engine's two seams: time, threads and chance. The engine starts no thread and
// reads no clock itself, so the same engine runs on real threads (engine/real_runtime.h) and in the
// tests on one thread in virtual time, where one seed gives one history.
#ifndef WP_ENGINE_RUNTIME_H_
#define WP_ENGINE_RUNTIME_H_

#include <chrono>
#include <cstdint>
#include <functional>

#include "engine/sync.h"

namespace wp {

// Time since some start, never going back, counting while the machine sleeps.
using TimePoint = std::chrono::nanoseconds;
inline constexpr TimePoint kNever = TimePoint::max();

using Task = std::function<void()>;
using TimerId = uint64_t;  // 0 is none

class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual TimePoint now() = 0;
  virtual int64_t wall_ms() = 0;  // since 1970; may jump
  virtual uint64_t random() = 0;  // unpredictable enough for a nonce

  // Runs the task on the event thread, after those posted before it. Any thread; never runs it
  // inline.
  virtual void post(Task task) = 0;
  // The same at a time. cancel() of one that runs already or ran does nothing.
  virtual TimerId call_at(TimePoint when, Task task) = 0;
  virtual void cancel(TimerId timer) = 0;
  // Runs the task on some worker: for what computes long. Tasks run in any order, side by side.
  virtual void work(Task task) = 0;

  // Waits until `cv` is notified, or the deadline: false. May return early, so callers loop. The
  // lock is free meanwhile. Not on the event thread.
  virtual bool wait(MutexLock& lock, CondVar& cv, TimePoint deadline) = 0;
  // True on the event thread: there a wait would wait for itself.
  virtual bool on_event_thread() = 0;

  // True in a child of fork(), where none of the threads exists: nothing there may touch a lock.
  virtual bool forked() { return false; }

  // Runs no further task, waits for those under way and joins the threads. Tasks not begun are
  // destroyed.
  virtual void stop() = 0;
};

}  // namespace wp

#endif  // WP_ENGINE_RUNTIME_H_
