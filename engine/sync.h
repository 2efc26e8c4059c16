// A mutex and a condition variable that clang's thread-safety analysis understands: libstdc++'s own
// are not annotated. Members guarded by a lock say so with WP_GUARDED_BY.
#ifndef WP_ENGINE_SYNC_H_
#define WP_ENGINE_SYNC_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#if defined(__clang__)
#define WP_TSA(x) __attribute__((x))
#else
#define WP_TSA(x)
#endif
#define WP_CAPABILITY(x) WP_TSA(capability(x))
#define WP_SCOPED_CAPABILITY WP_TSA(scoped_lockable)
#define WP_GUARDED_BY(x) WP_TSA(guarded_by(x))
#define WP_PT_GUARDED_BY(x) WP_TSA(pt_guarded_by(x))
#define WP_REQUIRES(...) WP_TSA(requires_capability(__VA_ARGS__))
#define WP_EXCLUDES(...) WP_TSA(locks_excluded(__VA_ARGS__))
#define WP_ACQUIRE(...) WP_TSA(acquire_capability(__VA_ARGS__))
#define WP_RELEASE(...) WP_TSA(release_capability(__VA_ARGS__))

namespace wp {

class WP_CAPABILITY("mutex") Mutex {
 public:
  void lock() WP_ACQUIRE() { mutex_.lock(); }
  void unlock() WP_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// Holds a Mutex for a scope; may let go of it in between.
class WP_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) WP_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() WP_RELEASE() {
    if (held_) mutex_.unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  void unlock() WP_RELEASE() {
    held_ = false;
    mutex_.unlock();
  }
  void lock() WP_ACQUIRE() {
    mutex_.lock();
    held_ = true;
  }

 private:
  Mutex& mutex_;
  bool held_ = true;
};

// Engine code waits on it only through Runtime::wait, so that a simulated runtime can wait in
// virtual time.
class CondVar {
 public:
  void notify_all() {
    times_notified_.fetch_add(1, std::memory_order_relaxed);
    cv_.notify_all();
  }
  std::condition_variable_any& native() { return cv_; }
  uint64_t times_notified() const { return times_notified_.load(std::memory_order_relaxed); }

 private:
  std::condition_variable_any cv_;
  std::atomic<uint64_t> times_notified_{0};
};

}  // namespace wp

#endif  // WP_ENGINE_SYNC_H_
