#include "platform/thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <system_error>
#include <utility>

namespace wp {

bool start_thread(std::thread& thread, const char* name, std::function<void()> body) {
  // A new thread inherits the mask. Signals that belong to what a thread itself does, and a
  // profiler's, stay as the host has them.
  sigset_t all, before;
  sigfillset(&all);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF}) {
    sigdelset(&all, own);
  }
  pthread_sigmask(SIG_BLOCK, &all, &before);
  bool started = true;
  try {
    thread = std::thread(std::move(body));
    pthread_setname_np(thread.native_handle(), name);
  } catch (const std::system_error&) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

ThreadPool::ThreadPool(const char* name, size_t threads_max)
    : name_(name), threads_max_(threads_max) {}

ThreadPool::~ThreadPool() {
  stop(Unbegun::kDrop);
}

bool ThreadPool::submit(Task& task) {
  bool wake;
  {
    MutexLock lock(mutex_);
    if (stopping_) return false;
    // Every waiting thread is spoken for by a queued task.
    if (queue_.size() >= idle_ && threads_.size() < threads_max_) {
      std::thread thread;
      if (start_thread(thread, name_, [this] { run(); })) {
        threads_.push_back(std::move(thread));
      } else if (threads_.empty()) {
        return false;
      }
    }
    queue_.push_back(std::move(task));
    wake = idle_ > 0;
  }
  if (wake) wake_.native().notify_one();
  return true;
}

void ThreadPool::run() {
  MutexLock lock(mutex_);
  for (;;) {
    while (queue_.empty() && !stopping_) {
      ++idle_;
      wake_.native().wait(lock);
      --idle_;
    }
    if (queue_.empty()) return;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it holds goes while no lock is held
    lock.lock();
  }
}

void ThreadPool::stop(Unbegun unbegun) {
  MutexLock stop_lock(stop_mutex_);
  std::deque<Task> dropped;
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    if (unbegun == Unbegun::kDrop) dropped.swap(queue_);
    threads.swap(threads_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace wp
