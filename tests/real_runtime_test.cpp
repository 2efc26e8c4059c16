// Real threads and clocks: order, timers, waiting, stopping. Nothing here depends on how long
// something takes: tests wait until what they expect has happened.
#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "platform/real_runtime.h"
#include "platform/thread_pool.h"

namespace wp {
namespace {

using std::chrono::milliseconds;

// Counts up to something that a thread waits for.
class Counter {
 public:
  void add() {
    MutexLock lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  void wait(int count) {
    MutexLock lock(mutex_);
    while (count_ < count) changed_.native().wait(lock);
  }
  int count() {
    MutexLock lock(mutex_);
    return count_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int count_ WP_GUARDED_BY(mutex_) = 0;
};

// Everything that is due or posted before has run.
void settle(RealRuntime& runtime) {
  Counter done;
  runtime.post([&] { done.add(); });
  done.wait(1);
}

auto threads_now() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

}  // namespace

TEST_CASE("posted tasks run in order, one at a time, on the event thread") {
  RealRuntime runtime(2);
  std::vector<int> order;  // only the event thread touches it
  std::thread::id thread;
  CHECK(!runtime.on_event_thread());
  for (int i = 0; i < 1000; ++i) {
    runtime.post([&, i] {
      CHECK(runtime.on_event_thread());
      if (i == 0) thread = std::this_thread::get_id();
      CHECK(std::this_thread::get_id() == thread);
      order.push_back(i);
      if (i < 500) runtime.post([&, i] { order.push_back(1000 + i); });
    });
  }
  Counter done;
  runtime.post([&] { runtime.post([&] { done.add(); }); });
  done.wait(1);
  settle(runtime);
  REQUIRE(order.size() == 1500);
  int next = 0, next_inner = 1000;
  for (const int i : order) {
    if (i < 1000) {
      CHECK(i == next++);
    } else {
      CHECK(i == next_inner++);
      CHECK(i - 1000 < next);  // behind the task that posted it
    }
  }
}

TEST_CASE("the event thread of one runtime is not that of another") {
  RealRuntime a(1), b(1);
  Counter done;
  a.post([&] {
    CHECK(a.on_event_thread());
    CHECK(!b.on_event_thread());
    done.add();
  });
  done.wait(1);
}

TEST_CASE("tasks posted by many threads all run, those of each in order") {
  RealRuntime runtime(1);
  constexpr int kThreads = 8, kEach = 2000;
  std::vector<int> last(kThreads, -1);
  Counter done;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        runtime.post([&, t, i] {
          if (last[t] != i - 1) MESSAGE("out of order");
          last[t] = i;
          if (i == kEach - 1) done.add();
        });
        if (i % 500 == 0) settle(runtime);  // so that it falls asleep now and then
      }
    });
  }
  done.wait(kThreads);
  for (std::thread& thread : threads) thread.join();
  for (const int i : last) CHECK(i == kEach - 1);
}

TEST_CASE("timers run in the order of their times and never before them") {
  RealRuntime runtime(1);
  Counter done;
  std::vector<int> order;
  const TimePoint start = runtime.now();
  const auto at = [&](int ms, int name) {
    const TimePoint when = start + milliseconds{ms};
    runtime.call_at(when, [&, when, name] {
      CHECK(runtime.now() >= when);
      CHECK(runtime.on_event_thread());
      order.push_back(name);
      done.add();
    });
  };
  // While the event thread is held up, so that all are made before any is due.
  Counter begun, made;
  runtime.post([&] {
    begun.add();
    made.wait(1);
  });
  begun.wait(1);
  at(30, 5);
  at(10, 2);
  at(20, 3);
  at(20, 4);
  at(-1000, 1);
  made.add();
  done.wait(5);
  CHECK(order == std::vector<int>{1, 2, 3, 4, 5});
}

TEST_CASE("an earlier timer wakes the event thread that sleeps for a later one") {
  RealRuntime runtime(1);
  Counter done;
  const TimerId late = runtime.call_at(runtime.now() + std::chrono::hours{24 * 365 * 200}, [] {});
  settle(runtime);
  runtime.call_at(runtime.now() + milliseconds{1}, [&] { done.add(); });
  done.wait(1);
  runtime.post([&] { done.add(); });
  done.wait(2);
  runtime.cancel(late);
}

TEST_CASE("a cancelled timer does not run, and what it holds goes at once") {
  std::atomic<int> ran{0};
  RealRuntime runtime(1);
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = held;
  const TimePoint soon = runtime.now() + std::chrono::hours{1};
  const TimerId id = runtime.call_at(soon, [held, &ran] { ++ran; });
  CHECK(id != 0);
  held.reset();
  CHECK(!watched.expired());
  runtime.cancel(id);
  CHECK(watched.expired());
  runtime.cancel(id);
  runtime.cancel(0);
  runtime.cancel(id + 1000);

  // From inside: itself, which does nothing, and one of the same time, which then never runs.
  Counter begun, made, done;
  TimerId first = 0, second = 0;
  runtime.post([&] {
    begun.add();
    made.wait(1);
  });
  begun.wait(1);
  const TimePoint now = runtime.now();
  first = runtime.call_at(now, [&] {
    runtime.cancel(first);
    runtime.cancel(second);
    done.add();
  });
  second = runtime.call_at(now, [&] { ++ran; });
  made.add();
  done.wait(1);
  settle(runtime);
  CHECK(ran == 0);
}

TEST_CASE("work runs side by side, and not on the event thread") {
  RealRuntime runtime(2);
  Counter met;
  for (int i = 0; i < 2; ++i) {
    runtime.work([&] {
      CHECK(!runtime.on_event_thread());
      met.add();
      met.wait(2);  // ends only if the other one runs meanwhile
      met.add();
    });
  }
  met.wait(4);
  Counter done;
  for (int i = 0; i < 1000; ++i) runtime.work([&] { done.add(); });
  done.wait(1000);
  settle(runtime);
}

TEST_CASE("a wait ends when it is notified or at its deadline, and lets the lock go meanwhile") {
  RealRuntime runtime(1);
  Mutex mutex;
  CondVar cv;
  bool flag = false;
  {
    MutexLock lock(mutex);
    CHECK(!runtime.wait(lock, cv, runtime.now() - milliseconds{1}));
    const TimePoint deadline = runtime.now() + milliseconds{5};
    while (runtime.wait(lock, cv, deadline)) {
    }
    CHECK(runtime.now() >= deadline);
  }
  for (const TimePoint deadline :
       {kNever, runtime.now() + std::chrono::hours{1}, kNever - milliseconds{1}}) {
    MutexLock lock(mutex);
    flag = false;
    runtime.post([&] {
      MutexLock inner(mutex);
      flag = true;
      cv.notify_all();
    });
    while (!flag) CHECK(runtime.wait(lock, cv, deadline));
  }
}

TEST_CASE("stop waits for what runs, and destroys what does not") {
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = held;
  RealRuntime runtime(1);
  Counter begun, go;
  std::atomic<int> ended{0}, ran{0};
  runtime.post([&] {
    begun.add();
    go.wait(1);
    ++ended;
  });
  runtime.work([&] {
    begun.add();
    go.wait(1);
    ++ended;
  });
  begun.wait(2);
  for (int i = 0; i < 10; ++i) {
    runtime.post([held, &ran] { ++ran; });
    runtime.call_at(runtime.now(), [held, &ran] { ++ran; });
    runtime.work([held, &ran] { ++ran; });
  }
  held.reset();
  std::vector<std::thread> stoppers;
  for (int i = 0; i < 3; ++i) {
    stoppers.emplace_back([&] {
      runtime.stop();
      CHECK(ended == 2);
      CHECK(watched.expired());
    });
  }
  // Let go only once a stop has begun, which shows in that tasks are refused.
  const auto refuses = [](const std::function<void(Task)>& take) {
    auto probe = std::make_shared<int>(2);
    const std::weak_ptr<int> probe_watched = probe;
    take([probe] {});
    probe.reset();
    return probe_watched.expired();
  };
  while (!refuses([&](Task task) { runtime.call_at(kNever, std::move(task)); }) ||
         !refuses([&](Task task) { runtime.work(std::move(task)); })) {
  }
  go.add();
  for (std::thread& stopper : stoppers) stopper.join();

  auto late = std::make_shared<int>(3);
  const std::weak_ptr<int> late_watched = late;
  runtime.post([late, &ran] { ++ran; });
  runtime.work([late, &ran] { ++ran; });
  CHECK(runtime.call_at(runtime.now(), [late, &ran] { ++ran; }) == 0);
  late.reset();
  CHECK(late_watched.expired());
  runtime.stop();
  CHECK(ran == 0);
}

TEST_CASE("a task that posts when it is destroyed does no harm to stop") {
  RealRuntime runtime(1);
  struct PostsAtEnd {
    explicit PostsAtEnd(RealRuntime* runtime) : runtime(runtime) {}
    ~PostsAtEnd() {
      runtime->post([] {});
      runtime->cancel(runtime->call_at(runtime->now(), [] {}));
      runtime->work([] {});
    }
    RealRuntime* runtime;
  };
  Counter begun, go;
  runtime.post([&] {
    begun.add();
    go.wait(1);
  });
  begun.wait(1);
  auto one = std::make_shared<PostsAtEnd>(&runtime);
  runtime.call_at(kNever, [one] {});
  one = std::make_shared<PostsAtEnd>(&runtime);
  runtime.post([one] {});
  one.reset();
  go.add();
  runtime.stop();
}

TEST_CASE("C28 a runtime has no thread before it has a task, and few ever") {
  const auto before = threads_now();
  {
    RealRuntime runtime(3);
    CHECK(threads_now() == before);
    settle(runtime);
    CHECK(threads_now() == before + 1);
    Counter done;
    runtime.work([&] { done.add(); });
    done.wait(1);
    CHECK(threads_now() == before + 2);
    for (int i = 0; i < 100; ++i) runtime.work([&] { done.add(); });
    done.wait(101);
    CHECK(threads_now() <= before + 4);
    CHECK(runtime.start());
    CHECK(threads_now() <= before + 4);
  }
  RealRuntime unused;
  CHECK(RealRuntime::workers_default() >= 1);
  CHECK(RealRuntime::workers_default() <= 4);
}

TEST_CASE("the library's threads leave the host's signals alone") {
  RealRuntime runtime(1);
  Counter done;
  const auto check = [&] {
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD, SIGPIPE, SIGXFSZ}) {
      CHECK(sigismember(&mask, signal) == 1);
    }
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) CHECK(sigismember(&mask, signal) == 0);
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    CHECK(std::string(name).starts_with("wp-"));
    done.add();
  };
  runtime.post(check);
  runtime.work(check);
  done.wait(2);
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  CHECK(sigismember(&mask, SIGTERM) == 0);
}

TEST_CASE("a child of fork(), and a child of that, knows that the runtime is its parent's") {
  RealRuntime runtime(1);
  settle(runtime);
  CHECK_FALSE(runtime.forked());
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    int wrong = runtime.forked() ? 0 : 1;
    // What the child makes itself is its own, until it forks.
    auto* own = new RealRuntime(1);
    if (own->forked()) wrong |= 2;
    const pid_t grandchild = fork();
    if (grandchild == 0) _exit(runtime.forked() && own->forked() ? 0 : 1);
    int status = 0;
    waitpid(grandchild, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) wrong |= 4;
    if (own->forked()) wrong |= 8;
    _exit(wrong);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK_FALSE(runtime.forked());
  settle(runtime);
}

TEST_CASE("clocks go forward and random numbers differ") {
  RealRuntime runtime;
  TimePoint last = runtime.now();
  for (int i = 0; i < 1000; ++i) {
    const TimePoint now = runtime.now();
    CHECK(now >= last);
    last = now;
  }
  CHECK(runtime.wall_ms() > 1'600'000'000'000);
  CHECK(runtime.random() != runtime.random());
}

TEST_CASE("a pool that is stopped to run the rest runs it all") {
  ThreadPool pool("wp-test", 2);
  Counter done;
  for (int i = 0; i < 500; ++i) {
    ThreadPool::Task task = [&] { done.add(); };
    REQUIRE(pool.submit(task));
  }
  pool.stop(ThreadPool::Unbegun::kRun);
  CHECK(done.count() == 500);
  ThreadPool::Task late = [&] { done.add(); };
  CHECK(!pool.submit(late));
  CHECK(late != nullptr);  // left as it was
}

}  // namespace wp
