// Catching up: a root that was just opened is read from its first entry to its last, beside
// decompressing the very same blocks on one thread. wp also finds the blocks, reads them from the
// store, checks their sums, and takes them apart into entries. (On a directory the files are mostly
// in the kernel's cache, as they are when somebody catches up with what was just written.)
#include <zstd.h>

#include "bench/bench.h"
#include "engine/format.h"
#include "stores/directory.h"
#include "stores/memory.h"

namespace bench {
namespace {

constexpr size_t kEntryBytes = 100;

void write(const std::string& url, uint64_t count) {
  const Lines lines(kEntryBytes);
  wp::Options options;
  options.sync = false;
  auto wal = check(wp::Wal::open(url, options));
  wp::Log log = check(wal->log("a"));
  for (uint64_t i = 0; i < count; ++i) (void)check(log.append_async(lines.line(i)));
  check(wal->close());
}

struct RawBlock {
  wp::BlockInfo info;
  std::vector<std::byte> bytes;
};

std::vector<RawBlock> blocks_of(const wp::MemoryBucket& bucket) {
  std::vector<RawBlock> blocks;
  for (const std::string& key : bucket.keys()) {
    wp::SlotId slot;
    if (!wp::parse_slot_key(key, &slot)) continue;
    const wp::Body body = bucket.get(key);
    const wp::Bytes bytes(*body);
    const wp::SlotHeader header = check(wp::decode_header(bytes));
    const wp::SlotIndex index =
        check(wp::decode_index(header, bytes.subspan(header.header_bytes, header.index_bytes)));
    for (const wp::BlockInfo& info : index.blocks) {
      const wp::Bytes stored = bytes.subspan(info.offset, info.stored_bytes);
      blocks.push_back({info, {stored.begin(), stored.end()}});
    }
  }
  return blocks;
}

Cost decompress(const std::vector<RawBlock>& blocks) {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  std::vector<std::byte> raw;
  const Cost cost = cost_of([&] {
    for (const RawBlock& block : blocks) {
      raw.resize(block.info.raw_bytes);
      const size_t size = ZSTD_decompressDCtx(context, raw.data(), raw.size(), block.bytes.data(),
                                              block.bytes.size());
      if (size != raw.size()) die("zstd cannot decompress");
    }
  });
  ZSTD_freeDCtx(context);
  return cost;
}

struct Reading {
  Cost cost;
  double allocations = 0;  // of the thread that reads, for each entry
};
enum class By : uint8_t { kBatch, kOne };

Reading read(const std::string& url, uint64_t count, By by) {
  auto wal = check(wp::Wal::open(url));
  wp::Log log = check(wal->log("a"));
  Reading out;
  uint64_t entries = 0, bytes = 0;
  const uint64_t allocated = allocations_now();
  const auto see = [&](const wp::Entry& entry) {
    ++entries;
    bytes += entry.payload.size() + (static_cast<uint8_t>(entry.payload[0]) == 0 ? 1 : 0);
  };
  out.cost = cost_of([&] {
    wp::Reader reader = check(log.read());
    for (;;) {
      if (by == By::kOne) {
        const auto next = reader.next();
        if (!next.ok()) check(next.status());
        if (!*next) break;
        see(**next);
      } else {
        const auto next = reader.next_batch(1000);
        if (!next.ok()) check(next.status());
        if (next->empty()) break;
        for (const wp::Entry& entry : *next) see(entry);
      }
    }
  });
  out.allocations = static_cast<double>(allocations_now() - allocated) / static_cast<double>(count);
  if (entries != count || bytes != count * kEntryBytes) die("not all was read");
  check(wal->close());
  return out;
}

}  // namespace

void bench_read(const Settings& settings) {
  const uint64_t count = settings.times(3'000'000, 500'000);
  const TempMemory memory;
  const TempDir dir(settings);
  write(memory.url(), count);
  write(dir.path(), count);
  const std::vector<RawBlock> blocks = blocks_of(*wp::memory_bucket(memory.name(), false));
  const auto n = static_cast<double>(count);
  Row from_memory{
      "memory, next_batch()", Unit::kPerSecond, "zstd -d of the blocks, one thread", {}, {}};
  Row from_dir{"directory, next_batch()", Unit::kPerSecond, "the same", {}, {}};
  Row one_by_one{"directory, next()", Unit::kPerSecond, "the same", {}, {}};
  Row cpu{"directory: CPU time of an entry", Unit::kSeconds, "the same", {}, {}};
  Row allocations{"allocations of the caller per entry", Unit::kCount, "", {}, {}};
  for (size_t round = 0; round < settings.rounds(); ++round) {
    const Cost limit = decompress(blocks);
    from_memory.limit.add(n / limit.seconds);
    from_memory.value.add(n / read(memory.url(), count, By::kBatch).cost.seconds);
    const Reading reading = read(dir.path(), count, By::kBatch);
    from_dir.limit.add(n / limit.seconds);
    from_dir.value.add(n / reading.cost.seconds);
    one_by_one.limit.add(n / limit.seconds);
    one_by_one.value.add(n / read(dir.path(), count, By::kOne).cost.seconds);
    cpu.limit.add(limit.cpu / n);
    cpu.value.add(reading.cost.cpu / n);
    allocations.value.add(reading.allocations);
  }
  print_table({from_memory, from_dir, one_by_one, cpu, allocations});
}

}  // namespace bench
