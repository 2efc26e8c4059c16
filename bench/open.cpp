// Opening a root for write after a crash, in a directory, beside reading the first 64 KiB of as
// many files. With the local view only what the view had not written yet is read; without it the
// newest checkpoint and what follows; and where there is none either, the head of every fragment.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "bench/bench.h"

namespace bench {
namespace {

namespace fs = std::filesystem;

// A root with so many fragments of one small entry, left as a crash leaves it.
void write(const std::string& path, uint64_t fragments, uint32_t checkpoint_slots) {
  const Lines lines(100);
  wp::Options options;
  options.sync = false;
  options.checkpoint_slots = checkpoint_slots;
  auto wal = check(wp::Wal::open(path, options));
  wp::Log log = check(wal->log("a"));
  for (uint64_t i = 0; i < fragments; ++i) (void)check(log.append(lines.line(i)));
  wal->abandon();
}

double read_heads(const std::string& path) {
  std::vector<std::byte> head(64 << 10);
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(path + "/j")) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  return seconds_of([&] {
    for (const std::string& file : files) {
      const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
      check_call(fd >= 0 && ::pread(fd, head.data(), head.size(), 0) > 0, "read a head");
      ::close(fd);
    }
  });
}

void forget_view(const std::string& path) {
  for (const char* end : {"", "-wal", "-shm", "-journal"}) {
    fs::remove(path + "/wp.sqlite" + end);
  }
}

// Ends as a crash would, so that the next opening finds the same but for one more fence.
double open(const std::string& path, uint32_t checkpoint_slots, uint64_t fragments) {
  wp::Options options;
  options.checkpoint_slots = checkpoint_slots;
  double seconds = 0;
  std::unique_ptr<wp::Wal> wal;
  seconds = seconds_of([&] { wal = check(wp::Wal::open(path, options)); });
  if (check(wal->find("a")).info().lsn_durable != fragments) die("not all was found");
  wal->abandon();
  return seconds;
}

void measure(const Settings& settings, uint64_t fragments, std::vector<Row>& rows) {
  constexpr uint32_t kNoCheckpoints = 1'000'000;
  const uint32_t usual = wp::Options().checkpoint_slots;
  const TempDir with(settings), without(settings);
  write(with.path(), fragments, usual);
  write(without.path(), fragments, kNoCheckpoints);
  const std::string many = std::to_string(fragments) + " fragments, ";
  Row view{many + "with the view", Unit::kSeconds, "reading as many heads", {}, {}};
  Row checkpoint{many + "from a checkpoint", Unit::kSeconds, "the same", {}, {}};
  Row bucket{many + "from fragments alone", Unit::kSeconds, "the same", {}, {}};
  for (size_t round = 0; round < settings.rounds(); ++round) {
    const double limit = read_heads(without.path());
    view.value.add(open(with.path(), usual, fragments));
    forget_view(with.path());
    checkpoint.value.add(open(with.path(), usual, fragments));
    forget_view(without.path());
    bucket.value.add(open(without.path(), kNoCheckpoints, fragments));
    for (Row* row : {&view, &checkpoint, &bucket}) row->limit.add(limit);
  }
  rows.insert(rows.end(), {view, checkpoint, bucket});
}

}  // namespace

void bench_open(const Settings& settings) {
  std::vector<Row> rows;
  measure(settings, settings.times(1'000, 100), rows);
  measure(settings, settings.times(10'000, 300), rows);
  print_table(rows);
}

}  // namespace bench
