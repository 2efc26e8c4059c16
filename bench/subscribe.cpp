// A subscriber in the process that writes: from the moment that an append is acknowledged to the
// moment that the subscriber has the entry, beside waking another thread through a condition
// variable. Both are told at once, so the subscriber may well be first; that counts as less than
// nothing. And from the moment that publish() is called to the moment that the subscriber has what
// is stored nowhere.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "bench/bench.h"

namespace bench {
namespace {

using std::chrono::microseconds;

// Lets both sleep before the next one.
void rest() {
  std::this_thread::sleep_for(microseconds(200));
}

Samples wake_up(uint64_t count) {
  std::mutex mutex;
  std::condition_variable cv;
  uint64_t told = 0;
  std::vector<double> sent(count + 1), got(count + 1);
  std::thread other([&] {
    std::unique_lock lock(mutex);
    for (uint64_t i = 1; i <= count; ++i) {
      cv.wait(lock, [&] { return told >= i; });
      got[i] = seconds_now();
    }
  });
  for (uint64_t i = 1; i <= count; ++i) {
    rest();
    const std::lock_guard lock(mutex);
    told = i;
    sent[i] = seconds_now();
    cv.notify_all();
  }
  other.join();
  Samples samples;
  for (uint64_t i = 1; i <= count; ++i) samples.add(got[i] - sent[i]);
  return samples;
}

struct Latency {
  Samples after_ack, after_call;
};

Latency subscribe(const std::string& url, uint64_t count) {
  const Lines lines(100);
  auto wal = check(wp::Wal::open(url));
  wp::Log log = check(wal->log("a"));
  wp::Reader reader = check(log.subscribe());
  std::vector<double> called(count + 1), acknowledged(count + 1), got(count + 1);
  std::thread subscriber([&] {
    for (uint64_t i = 1; i <= count; ++i) {
      const auto entry = check(reader.next(std::chrono::minutes(1)));
      if (!entry || entry->lsn != i) die("a subscriber missed an entry");
      got[i] = seconds_now();
    }
  });
  for (uint64_t i = 1; i <= count; ++i) {
    rest();
    called[i] = seconds_now();
    (void)check(log.append(lines.line(i)));
    acknowledged[i] = seconds_now();
  }
  subscriber.join();
  check(wal->close());
  Latency latency;
  for (uint64_t i = 1; i <= count; ++i) {
    latency.after_ack.add(got[i] - acknowledged[i]);
    latency.after_call.add(got[i] - called[i]);
  }
  return latency;
}

Samples publish(const std::string& url, uint64_t count) {
  const Lines lines(100);
  auto wal = check(wp::Wal::open(url));
  wp::Log log = check(wal->log("a"));
  wp::Reader reader = check(log.subscribe(wp::From::latest()));
  std::vector<double> called(count + 1), got(count + 1);
  std::thread subscriber([&] {
    for (uint64_t i = 1; i <= count; ++i) {
      const auto entry = check(reader.next(std::chrono::minutes(1)));
      if (!entry || entry->stored) die("a subscriber missed what was published");
      got[i] = seconds_now();
    }
  });
  for (uint64_t i = 1; i <= count; ++i) {
    rest();
    called[i] = seconds_now();
    check(log.publish(lines.line(i)));
  }
  subscriber.join();
  check(wal->close());
  Samples samples;
  for (uint64_t i = 1; i <= count; ++i) samples.add(got[i] - called[i]);
  return samples;
}

}  // namespace

void bench_subscribe(const Settings& settings) {
  const uint64_t count = settings.times(1'000, 100);
  Row memory{"memory: acknowledged to entry, p50", Unit::kSeconds, "waking a thread, p50", {}, {}};
  Row memory_p99{"memory: acknowledged to entry, p99", Unit::kSeconds, "the same, p99", {}, {}};
  Row memory_call{"memory: append() to entry, p50", Unit::kSeconds, "the same, p50", {}, {}};
  Row dir{"directory: acknowledged to entry, p50", Unit::kSeconds, "the same, p50", {}, {}};
  Row dir_p99{"directory: acknowledged to entry, p99", Unit::kSeconds, "the same, p99", {}, {}};
  Row ephemeral{"directory: publish() to entry, p50", Unit::kSeconds, "the same, p50", {}, {}};
  Row ephemeral_p99{"directory: publish() to entry, p99", Unit::kSeconds, "the same, p99", {}, {}};
  for (size_t round = 0; round < settings.rounds(); ++round) {
    const Samples limit = wake_up(count);
    const TempMemory in_memory;
    const TempDir in_dir(settings);
    const Latency of_memory = subscribe(in_memory.url(), count);
    const Latency of_dir = subscribe(in_dir.path(), count);
    memory.value.add(of_memory.after_ack.at(0.5));
    memory_p99.value.add(of_memory.after_ack.at(0.99));
    memory_call.value.add(of_memory.after_call.at(0.5));
    dir.value.add(of_dir.after_ack.at(0.5));
    dir_p99.value.add(of_dir.after_ack.at(0.99));
    const Samples of_ephemeral = publish(in_dir.path(), count);
    ephemeral.value.add(of_ephemeral.at(0.5));
    ephemeral_p99.value.add(of_ephemeral.at(0.99));
    for (Row* row : {&memory, &memory_call, &dir, &ephemeral}) row->limit.add(limit.at(0.5));
    for (Row* row : {&memory_p99, &dir_p99, &ephemeral_p99}) row->limit.add(limit.at(0.99));
  }
  print_table({memory, memory_p99, memory_call, dir, dir_p99, ephemeral, ephemeral_p99});
}

}  // namespace bench
