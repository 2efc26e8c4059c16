// Asynchronous appends into memory, beside the least that must be done with the bytes: copying them
// together and compressing them, on one thread. wp compresses on other threads than the one that
// appends, so on several cores it may come out ahead; the CPU time of both is given as well.
#include <zstd.h>

#include <cstring>

#include "bench/bench.h"

namespace bench {
namespace {

constexpr size_t kEntryBytes = 100;

// In blocks as wp makes them.
Cost copy_and_compress(const Lines& lines, uint64_t count) {
  std::vector<std::byte> block(wp::Options().block_bytes);
  std::vector<std::byte> packed(ZSTD_compressBound(block.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  size_t used = 0;
  const auto compress = [&] {
    const size_t size =
        ZSTD_compressCCtx(context, packed.data(), packed.size(), block.data(), used, 1);
    if (ZSTD_isError(size)) die("zstd cannot compress");
    used = 0;
  };
  const Cost cost = cost_of([&] {
    for (uint64_t i = 0; i < count; ++i) {
      if (used + kEntryBytes > block.size()) compress();
      std::memcpy(block.data() + used, lines.line(i).data(), kEntryBytes);
      used += kEntryBytes;
    }
    compress();
  });
  ZSTD_freeCCtx(context);
  return cost;
}

// Over and over into one block.
double copy_only(const Lines& lines, uint64_t count) {
  std::vector<std::byte> block(wp::Options().block_bytes);
  size_t used = 0;
  return seconds_of([&] {
    for (uint64_t i = 0; i < count; ++i) {
      if (used + kEntryBytes > block.size()) used = 0;
      std::memcpy(block.data() + used, lines.line(i).data(), kEntryBytes);
      used += kEntryBytes;
      asm volatile("" ::: "memory");  // so that none of it is left out
    }
  });
}

struct Appended {
  Cost cost;                     // until all is durable
  double seconds_to_return = 0;  // of the appends alone
  double allocations = 0;        // of the thread that appends, for each entry
};

Appended append(const Lines& lines, uint64_t count, bool with_done) {
  const TempMemory memory;
  auto wal = check(wp::Wal::open(memory.url()));
  wp::Log log = check(wal->log("a"));
  // So that threads, contexts and spare memory are there.
  for (uint64_t i = 0; i < 200'000; ++i) (void)check(log.append_async(lines.line(i)));
  check(wal->flush());
  uint64_t acknowledged = 0;  // callbacks run one after the other
  Appended out;
  out.cost = cost_of([&] {
    const double begin = seconds_now();
    const uint64_t allocated = allocations_now();
    for (uint64_t i = 0; i < count; ++i) {
      wp::Done done;
      if (with_done) done = [&acknowledged](const wp::Result<wp::Lsn>&) { ++acknowledged; };
      if (!log.append_async(lines.line(i), std::move(done)).ok()) die("append_async failed");
    }
    out.seconds_to_return = seconds_now() - begin;
    out.allocations =
        static_cast<double>(allocations_now() - allocated) / static_cast<double>(count);
    check(wal->flush());
  });
  check(wal->close());
  if (with_done && acknowledged != count) die("not all was acknowledged");
  return out;
}

}  // namespace

void bench_append(const Settings& settings) {
  const uint64_t count = settings.times(5'000'000, 1'000'000);
  const uint64_t burst = settings.times(1'000'000, 200'000);  // fits into RAM
  const Lines lines(kEntryBytes);
  Row rate{
      "appended until all is durable", Unit::kPerSecond, "copy and zstd -1, one thread", {}, {}};
  Row with_done{"the same with a callback each", Unit::kPerSecond, "the same", {}, {}};
  Row cpu{"CPU time of an entry, all threads", Unit::kSeconds, "the same", {}, {}};
  Row call{"a call in a burst that fits into RAM", Unit::kSeconds, "copy only", {}, {}};
  Row allocations{"allocations of the caller per entry", Unit::kCount, "", {}, {}};
  for (size_t round = 0; round < settings.rounds(); ++round) {
    const auto n = static_cast<double>(count), b = static_cast<double>(burst);
    const Cost limit = copy_and_compress(lines, count);
    const Appended plain = append(lines, count, false);
    rate.limit.add(n / limit.seconds);
    rate.value.add(n / plain.cost.seconds);
    cpu.limit.add(limit.cpu / n);
    cpu.value.add(plain.cost.cpu / n);
    with_done.limit.add(n / limit.seconds);
    with_done.value.add(n / append(lines, count, true).cost.seconds);
    const Appended quick = append(lines, burst, false);
    call.limit.add(copy_only(lines, burst) / b);
    call.value.add(quick.seconds_to_return / b);
    allocations.value.add(plain.allocations);
  }
  print_table({rate, with_done, cpu, call, allocations});
}

}  // namespace bench
