// async_backpressure DIR [COUNT]: appends as fast as the store takes it, without waiting for each
// entry, and with a bound on what is under way. Two bounds work together:
//  - ours, on the number of entries: a semaphore that each acknowledgement releases;
//  - the library's, on bytes of RAM: with AtLimit::kBusy an append there fails at once, so that the
//    program chooses what to do. This one waits; a server might answer "busy" to its client.
#include <wp.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <semaphore>
#include <string>

namespace {

constexpr std::ptrdiff_t kInFlightMax = 1'000;

int fail(const wp::Status& status) {
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return 1;
}

// What the acknowledgements tell. `done` callbacks run on the library's thread, so they only count;
// it lives until the root is closed, as every `done` has run by then.
struct Acks {
  std::counting_semaphore<kInFlightMax> room{kInFlightMax};
  std::atomic<uint64_t> durable{0}, failed{0};
  std::atomic<wp::Lsn> last{0};

  void operator()(const wp::Result<wp::Lsn>& result) {
    if (result) {
      last = *result;
      ++durable;
    } else {
      ++failed;
    }
    room.release();
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: async_backpressure DIR [COUNT]\n"), 2;
  const uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 20'000;

  Acks acks;
  wp::Options options;
  options.fragment_bytes_max = 64 << 10;  // small, so that the RAM limit below is met soon
  options.ram_bytes_max = 1 << 20;
  auto wal = wp::Wal::open(argv[1], options);
  if (!wal) return fail(wal.status());
  auto log = (*wal)->log("measurements");
  if (!log) return fail(log.status());

  uint64_t busy = 0;
  wp::AppendOptions at_once;
  at_once.at_limit = wp::AtLimit::kBusy;
  for (uint64_t i = 1; i <= count; ++i) {
    const std::string text = "measurement " + std::to_string(i) + std::string(i % 200, '.');
    acks.room.acquire();
    auto lsn = log->append_async(wp::as_bytes(text), std::ref(acks), at_once);
    while (lsn.code() == wp::Code::kBusy) {
      ++busy;
      if (auto flushed = (*wal)->flush(); !flushed.ok()) return fail(flushed);
      lsn = log->append_async(wp::as_bytes(text), std::ref(acks), at_once);
    }
    if (!lsn) return fail(lsn.status());
    if (i % (count / 4 + 1) == 0) {
      std::printf("appended %llu, acknowledged up to %llu\n", (unsigned long long)*lsn,
                  (unsigned long long)acks.last.load());
    }
  }

  // Stores the rest; every acknowledgement has come when it returns.
  if (auto closed = (*wal)->close(); !closed.ok()) return fail(closed);
  std::printf("durable %llu, failed %llu, last LSN %llu, met the RAM limit %llu times\n",
              (unsigned long long)acks.durable.load(), (unsigned long long)acks.failed.load(),
              (unsigned long long)acks.last.load(), (unsigned long long)busy);
  return acks.failed == 0 ? 0 : 1;
}
