// A few threads that run tasks in the order they came. Threads start when there is work for them,
// and never more than `threads_max`; none wakes up while there is nothing to do.
#ifndef WP_PLATFORM_THREAD_POOL_H_
#define WP_PLATFORM_THREAD_POOL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "engine/sync.h"

namespace wp {

// Starts a thread that takes no signal of the host program's away from it. False: the system would
// not give one.
[[nodiscard]] bool start_thread(std::thread& thread, const char* name, std::function<void()> body);

class ThreadPool {
 public:
  using Task = std::function<void()>;
  enum class Unbegun { kRun, kDrop };  // what stop() does with tasks that no thread has begun

  // `name` is what tools show for the threads; it outlives the pool.
  ThreadPool(const char* name, size_t threads_max);
  ~ThreadPool();  // stop(kDrop)

  // Takes the task to be run. False, with the task left as it was: stopped, or there is no thread
  // and the system would not give one. Any thread.
  [[nodiscard]] bool submit(Task& task);

  // Waits for the tasks under way, and with kRun for all, and joins. Takes no task any more. Not
  // from inside a task; calling it again only waits.
  void stop(Unbegun unbegun);

 private:
  void run();

  const char* const name_;
  const size_t threads_max_;

  Mutex stop_mutex_;  // held by who stops, before mutex_

  Mutex mutex_;
  CondVar wake_;
  std::deque<Task> queue_ WP_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ WP_GUARDED_BY(mutex_);
  size_t idle_ WP_GUARDED_BY(mutex_) = 0;  // threads that wait, those just notified included
  bool stopping_ WP_GUARDED_BY(mutex_) = false;
};

}  // namespace wp

#endif  // WP_PLATFORM_THREAD_POOL_H_
