// What the subjects of the benchmark share. Each figure is measured in rounds, beside its raw
// limit: what the same machine does in the same moment with nothing of wp's in between. A round
// takes one after the other, so that noise meets both; the table gives medians of the rounds, and
// the ratio is the median of the rounds' ratios.
#ifndef WP_BENCH_BENCH_H_
#define WP_BENCH_BENCH_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wp.h"

namespace bench {

struct Settings {
  bool quick = false;  // less of everything: to see that it works
  std::string dir;     // where roots and files of the raw limits are made
  size_t rounds() const { return quick ? 2 : 5; }
  // How often something is done in a round.
  uint64_t times(uint64_t full, uint64_t in_quick) const { return quick ? in_quick : full; }
};

// ------------------------------------------------------------------------------------------
// results

class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  bool empty() const { return values_.empty(); }
  // With a share of 0.5 the median, with 0 the least, with 1 the greatest.
  double at(double share) const;
  double median() const { return at(0.5); }
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_;
};

enum class Unit : uint8_t { kPerSecond, kBytesPerSecond, kSeconds, kCount };

// One figure, and what limits it; a figure without a raw limit has no `limit_name`.
struct Row {
  std::string name;
  Unit unit;
  std::string limit_name;
  Samples value, limit;
};

void print_table(const std::vector<Row>& rows);

// --------------------------------------------------------------------------------------------
// tools

double seconds_now();      // of a clock that never goes back
double cpu_seconds_now();  // of all threads of the process
double thread_cpu_seconds_now();
// The measure of one call.
template <class Call>
double seconds_of(Call call) {
  const double begin = seconds_now();
  call();
  return seconds_now() - begin;
}

// The same with the CPU time of all threads beside it, which says more on a busy machine.
struct Cost {
  double seconds = 0, cpu = 0;
};
template <class Call>
Cost cost_of(Call call) {
  const double begin = seconds_now(), cpu_begin = cpu_seconds_now();
  call();
  return {seconds_now() - begin, cpu_seconds_now() - cpu_begin};
}

size_t threads_now();
size_t descriptors_now();
// Of the calling thread, by operator new.
uint64_t allocations_now();

// Ends the program where something fails: a figure of it would mean nothing.
[[noreturn]] void die(const std::string& why);
void check(const wp::Status& status);
template <class T>
T check(wp::Result<T> result) {
  check(result.status());
  return std::move(result).value();
}
void check_call(bool ok, const char* call);  // dies with errno

// Lines like those of a server's log, each of exactly so many bytes. They differ as much as such
// lines do: zstd -1 makes about a fifth of them.
class Lines {
 public:
  explicit Lines(size_t bytes);
  wp::Bytes line(uint64_t number) const {
    return {text_.data() + (number % kCount) * bytes_, bytes_};
  }

 private:
  static constexpr uint64_t kCount = 1 << 15;
  const size_t bytes_;
  std::vector<std::byte> text_;
};

// A new directory, gone with all in it at the end.
class TempDir {
 public:
  explicit TempDir(const Settings& settings);
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A name of a root in memory, which is emptied at the end; names are not used twice.
class TempMemory {
 public:
  TempMemory();
  ~TempMemory();
  TempMemory(const TempMemory&) = delete;
  TempMemory& operator=(const TempMemory&) = delete;
  std::string url() const { return "mem://" + name_; }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

// -----------------------------------------------------------------------------------------
// subjects

void bench_append(const Settings& settings);
void bench_durable(const Settings& settings);
void bench_crowd(const Settings& settings);
void bench_read(const Settings& settings);
void bench_open(const Settings& settings);
void bench_subscribe(const Settings& settings);
void bench_logs(const Settings& settings);
void bench_space(const Settings& settings);

}  // namespace bench

namespace wp {

// What the S3 client costs of CPU per MB, against `curl` sending the same bytes to the same server,
// and how many threads and connections a crowd of puts takes. Returns an exit status.
int bench_s3_client();

}  // namespace wp

#endif  // WP_BENCH_BENCH_H_
