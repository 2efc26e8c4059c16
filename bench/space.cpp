// What it takes to keep a log small: compaction of many small fragments while readers read, a large
// truncation, and a root of very many logs. The raw limit of compaction is to decompress and to
// compress the same entries once, on one thread.
#include <zstd.h>

#include <atomic>
#include <thread>

#include "bench/bench.h"

namespace bench {
namespace {

constexpr uint64_t kReaders = 16;

uint64_t requests_of(const wp::Wal& wal, std::string_view operation, std::string_view cause) {
  uint64_t count = 0;
  for (const wp::RequestCount& each : wal.stats().requests) {
    if (each.operation == operation && each.cause == cause) count += each.requests;
  }
  return count;
}

std::string name_of(uint64_t number) {
  return "log-" + std::to_string(number);
}

// An order-dependent sum of all entries of a log.
uint64_t sum_of(const wp::Log& log) {
  uint64_t sum = 14695981039346656037ull;
  auto reader = check(log.read());
  for (;;) {
    const auto entries = check(reader.next_batch(1'000, std::chrono::seconds(60)));
    if (entries.empty()) return sum;
    for (const wp::Entry& entry : entries) {
      sum = (sum ^ entry.lsn) * 1099511628211ull;
      for (const std::byte byte : entry.payload) {
        sum = (sum ^ static_cast<uint64_t>(byte)) * 1099511628211ull;
      }
    }
  }
}

// Entries of all logs in turn, in fragments of some logs each.
void fill(wp::Wal& wal, uint64_t logs, uint64_t entries, uint64_t per_fragment) {
  const Lines lines(100);
  std::vector<wp::Log> held;
  for (uint64_t i = 0; i < logs; ++i) held.push_back(check(wal.log(name_of(i))));
  for (uint64_t i = 0; i < entries; ++i) {
    (void)check(held[i % logs].append_async(lines.line(i)));
    if ((i + 1) % per_fragment == 0) check(wal.flush());
  }
  check(wal.flush());
}

double seconds_of_recoding(uint64_t entries) {
  const Lines lines(100);
  std::vector<std::byte> raw, compressed(ZSTD_compressBound(256 << 10)), back(256 << 10);
  for (uint64_t i = 0; i < (256 << 10) / 100; ++i) {
    const wp::Bytes line = lines.line(i);
    raw.insert(raw.end(), line.begin(), line.end());
  }
  const uint64_t blocks = entries / ((256 << 10) / 100) + 1;
  return seconds_of([&] {
    for (uint64_t i = 0; i < blocks; ++i) {
      const size_t size =
          ZSTD_compress(compressed.data(), compressed.size(), raw.data(), raw.size(), 1);
      (void)ZSTD_decompress(back.data(), back.size(), compressed.data(), size);
    }
  });
}

void compact(const Settings& settings, uint64_t reader_count, std::vector<Row>& rows) {
  const uint64_t logs = settings.times(1'000, 100), entries = settings.times(1'000'000, 50'000);
  constexpr uint64_t kPerFragment = 50;
  wp::Options options;
  options.compact_share = 0;
  options.reclaim_grace = wp::Duration{0};
  options.linger = wp::Duration{1'000};
  const TempMemory memory;
  auto wal = check(wp::Wal::open(memory.url(), options));
  fill(*wal, logs, entries, kPerFragment);
  std::vector<uint64_t> before;
  for (uint64_t i = 0; i < logs; ++i) before.push_back(sum_of(check(wal->find(name_of(i)))));

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> read{0};
  std::vector<std::thread> readers;
  for (uint64_t r = 0; r < reader_count; ++r) {
    readers.emplace_back([&, r] {
      for (uint64_t i = r; !stop; i += 7) {
        const uint64_t log = i % logs;
        if (sum_of(check(wal->find(name_of(log)))) != before[log])
          die("a reader saw other entries");
        ++read;
      }
    });
  }
  wp::GcReport report;
  const double beside = seconds_of([&] { report = check(wal->gc()); });
  stop = true;
  for (std::thread& reader : readers) reader.join();
  for (uint64_t i = 0; i < logs; ++i) {
    if (sum_of(check(wal->find(name_of(i)))) != before[i]) die("a log is not what it was");
  }
  const auto fragments = static_cast<double>(entries / kPerFragment);
  Row& speed = rows[reader_count == 0 ? 12 : 0];
  speed.value.add(static_cast<double>(entries) / beside);
  speed.limit.add(static_cast<double>(entries) / seconds_of_recoding(entries));
  if (reader_count == 0) return check(wal->close());
  rows[1].value.add(static_cast<double>(report.segment_bytes_written));
  rows[1].limit.add(static_cast<double>(report.bytes_compacted));
  rows[2].value.add(static_cast<double>(
      requests_of(*wal, "put", "compact") + requests_of(*wal, "delete", "reclaim") +
      requests_of(*wal, "list", "reclaim") + requests_of(*wal, "put", "checkpoint")));
  rows[2].limit.add(fragments / 50);
  rows[3].value.add(static_cast<double>(requests_of(*wal, "get", "compact")));
  rows[3].limit.add(fragments);
  rows[4].value.add(static_cast<double>(read));
  check(wal->close());
}

void truncate(const Settings& settings, std::vector<Row>& rows) {
  const uint64_t bytes = settings.times(uint64_t{1} << 30, 32u << 20);
  wp::Options options;
  options.sync = false;
  options.reclaim_grace = wp::Duration{0};
  const TempDir dir(settings);
  auto wal = check(wp::Wal::open(dir.path(), options));
  const Lines lines(10'000);
  wp::Log log = check(wal->log("a"));
  for (uint64_t i = 0; i < bytes / 10'000; ++i) (void)check(log.append_async(lines.line(i)));
  check(wal->flush());
  check(log.truncate(log.info().lsn_durable - 100));
  rows[5].value.add(seconds_of([&] { (void)check(wal->gc()); }));
  uint64_t held = 0;
  for (const wp::Holding& holding : check(wal->why())) held += holding.bytes;
  rows[6].value.add(static_cast<double>(held));
  rows[6].limit.add(static_cast<double>(options.fragment_bytes_max));
  check(wal->close());
}

void many_logs(const Settings& settings, std::vector<Row>& rows) {
  const uint64_t logs = settings.times(100'000, 2'000);
  wp::Options options;
  options.sync = false;
  options.reclaim_grace = wp::Duration{0};
  options.compact_share = 0;
  const TempDir dir(settings);
  {
    auto wal = check(wp::Wal::open(dir.path(), options));
    fill(*wal, logs, logs * 3, logs / 4);
    check(wal->close());
  }
  std::unique_ptr<wp::Wal> wal;
  rows[7].value.add(seconds_of([&] { wal = check(wp::Wal::open(dir.path(), options)); }));
  rows[8].value.add(seconds_of([&] { fill(*wal, logs, logs, logs); }));
  rows[9].value.add(seconds_of([&] {
    if (check(wal->logs()).size() != logs) die("logs are missing");
  }));
  rows[10].value.add(seconds_of([&] { (void)check(wal->gc()); }));
  rows[11].value.add(static_cast<double>(wal->stats().ram_bytes_peak));
  rows[11].limit.add(static_cast<double>(options.ram_bytes_max));
  check(wal->close());
}

}  // namespace

void bench_space(const Settings& settings) {
  std::vector<Row> rows = {
      {"compacting while 16 readers read: entries", Unit::kPerSecond, "zstd both ways", {}, {}},
      {"  bytes written", Unit::kCount, "bytes compacted", {}, {}},
      {"  requests that write, list or delete", Unit::kCount, "fragments / 50", {}, {}},
      {"  gets", Unit::kCount, "fragments", {}, {}},
      {"  logs that were read meanwhile", Unit::kCount, "", {}, {}},
      {"1 GiB truncated to its tail: gc()", Unit::kSeconds, "", {}, {}},
      {"  bytes left", Unit::kCount, "one fragment", {}, {}},
      {"100,000 logs: open()", Unit::kSeconds, "", {}, {}},
      {"  log() and an entry to each", Unit::kSeconds, "", {}, {}},
      {"  logs()", Unit::kSeconds, "", {}, {}},
      {"  gc()", Unit::kSeconds, "", {}, {}},
      {"  RAM of the budget at most, bytes", Unit::kCount, "ram_bytes_max", {}, {}},
      {"compacting while nobody reads: entries", Unit::kPerSecond, "zstd both ways", {}, {}},
  };
  for (size_t round = 0; round < (settings.quick ? 1 : 3); ++round) {
    compact(settings, kReaders, rows);
    compact(settings, 0, rows);
    truncate(settings, rows);
    many_logs(settings, rows);
  }
  print_table(rows);
}

}  // namespace bench
