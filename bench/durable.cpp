// Durable appends in a directory, beside the same file operations as the store does for one object
// (stores/directory_files.cpp): a file without a name, write, fdatasync, link, fsync of the
// directory.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "bench/bench.h"

namespace bench {
namespace {

constexpr size_t kEntryBytes = 1024;
constexpr size_t kThreads = 32;

// Files in a directory, each synced and then named.
class RawFiles {
 public:
  explicit RawFiles(const std::string& dir) {
    fd_ = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check_call(fd_ >= 0, "open");
  }
  ~RawFiles() { ::close(fd_); }
  RawFiles(const RawFiles&) = delete;
  RawFiles& operator=(const RawFiles&) = delete;

  void put(wp::Bytes bytes) {
    const std::string name = std::to_string(next_.fetch_add(1));
    const int file = ::openat(fd_, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    check_call(file >= 0, "open a file without a name");
    check_call(::pwrite(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
               "write");
    check_call(::fdatasync(file) == 0, "fdatasync");
    const std::string path = "/proc/self/fd/" + std::to_string(file);
    check_call(::linkat(AT_FDCWD, path.c_str(), fd_, name.c_str(), AT_SYMLINK_FOLLOW) == 0, "link");
    check_call(::fsync(fd_) == 0, "fsync of the directory");
    ::close(file);
  }

 private:
  int fd_ = -1;
  std::atomic<uint64_t> next_{0};
};

// How long each of them took, all threads taken together.
struct Times {
  double seconds = 0;
  Samples each;
};
template <class Call>
Times time_of(size_t threads, uint64_t count_each, Call call) {
  std::vector<std::vector<double>> seconds(threads);
  Times times;
  times.seconds = seconds_of([&] {
    std::vector<std::thread> running;
    for (size_t t = 0; t < threads; ++t) {
      running.emplace_back([&, t] {
        for (uint64_t i = 0; i < count_each; ++i) {
          seconds[t].push_back(seconds_of([&] { call(t * count_each + i); }));
        }
      });
    }
    for (std::thread& thread : running) thread.join();
  });
  for (const auto& list : seconds) {
    for (const double value : list) times.each.add(value);
  }
  return times;
}

// The files of the raw limit lie beside the root: the same disk, and a directory that grows alike.
struct Place {
  explicit Place(const Settings& settings)
      : root(settings), files_dir(settings), files(files_dir.path()) {}
  TempDir root, files_dir;
  RawFiles files;
};

}  // namespace

void bench_durable(const Settings& settings) {
  const uint64_t count = settings.times(500, 50);
  constexpr uint64_t kTurn = 25;  // so often one, then the other
  const Lines lines(kEntryBytes);
  Row p50{"latency, p50", Unit::kSeconds, "write, fdatasync, link, fsync", {}, {}};
  Row p99{"latency, p99", Unit::kSeconds, "the same", {}, {}};
  Place place(settings);
  auto wal = check(wp::Wal::open(place.root.path()));
  wp::Log log = check(wal->log("a"));
  (void)check(log.append(lines.line(0)));
  for (size_t round = 0; round < settings.rounds(); ++round) {
    Samples ours, raw;
    for (uint64_t turn = 0; turn < count / kTurn; ++turn) {
      const auto add = [&](Samples& to, const Times& times) {
        for (const double value : times.each.values()) to.add(value);
      };
      add(raw, time_of(1, kTurn, [&](uint64_t i) { place.files.put(lines.line(i)); }));
      add(ours, time_of(1, kTurn, [&](uint64_t i) { (void)check(log.append(lines.line(i))); }));
    }
    p50.value.add(ours.at(0.5));
    p50.limit.add(raw.at(0.5));
    p99.value.add(ours.at(0.99));
    p99.limit.add(raw.at(0.99));
  }
  check(wal->close());
  print_table({p50, p99});
}

void bench_crowd(const Settings& settings) {
  const uint64_t count = settings.times(150, 20);
  const Lines lines(kEntryBytes);
  Row rate{"appends by 32 threads", Unit::kPerSecond, "32 threads with a file each", {}, {}};
  Row p50{"latency, p50", Unit::kSeconds, "the same", {}, {}};
  Row p99{"latency, p99", Unit::kSeconds, "the same", {}, {}};
  Row entries{"entries in a fragment", Unit::kCount, "", {}, {}};
  Place place(settings);
  auto wal = check(wp::Wal::open(place.root.path()));
  wp::Log log = check(wal->log("a"));
  (void)check(log.append(lines.line(0)));
  for (size_t round = 0; round < settings.rounds(); ++round) {
    const Times raw = time_of(kThreads, count, [&](uint64_t i) { place.files.put(lines.line(i)); });
    const wp::Stats before = wal->stats();
    const Times ours =
        time_of(kThreads, count, [&](uint64_t i) { (void)check(log.append(lines.line(i))); });
    const wp::Stats after = wal->stats();
    const auto n = static_cast<double>(kThreads * count);
    rate.value.add(n / ours.seconds);
    rate.limit.add(n / raw.seconds);
    p50.value.add(ours.each.at(0.5));
    p50.limit.add(raw.each.at(0.5));
    p99.value.add(ours.each.at(0.99));
    p99.limit.add(raw.each.at(0.99));
    entries.value.add(n / static_cast<double>(after.fragments_stored - before.fragments_stored));
  }
  check(wal->close());
  print_table({rate, p50, p99, entries});
}

}  // namespace bench
