#include "bench/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <new>
#include <random>

#include "stores/memory.h"

// ------------------------------------------------------------------------------ counting
// allocations

namespace {
thread_local uint64_t allocations = 0;
}  // namespace

void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}

namespace bench {

uint64_t allocations_now() {
  return allocations;
}

// ------------------------------------------------------------------------------------------
// results

double Samples::at(double share) const {
  if (values_.empty()) return std::nan("");
  std::vector<double> sorted = values_;
  std::sort(sorted.begin(), sorted.end());
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - static_cast<double>(below));
}

namespace {

std::string format(const char* pattern, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, pattern, value);
  return buffer;
}

// Three digits or so.
std::string number(double value) {
  if (value == 0) return "0";
  const double size = std::fabs(value);
  return format(size < 0.1 ? "%.3f" : size < 10 ? "%.2f" : size < 100 ? "%.1f" : "%.0f", value);
}

std::string scaled(double value, const char* unit) {
  if (value >= 1e9) return number(value / 1e9) + " G" + unit;
  if (value >= 1e6) return number(value / 1e6) + " M" + unit;
  if (value >= 1e4) return number(value / 1e3) + " k" + unit;
  return number(value) + " " + unit;
}

std::string text_of(double value, Unit unit) {
  switch (unit) {
    case Unit::kPerSecond:
      return scaled(value, "/s");
    case Unit::kBytesPerSecond:
      return scaled(value, "B/s");
    case Unit::kCount:
      return number(value);
    case Unit::kSeconds:
      break;
  }
  const double size = std::fabs(value);
  if (size >= 1) return number(value) + " s";
  if (size >= 1e-3) return number(value * 1e3) + " ms";
  return number(value * 1e6) + " us";
}

std::string text_of(const Samples& samples, Unit unit) {
  if (samples.empty()) return "";
  if (samples.values().size() == 1) return text_of(samples.median(), unit);
  return text_of(samples.median(), unit) + " (" + text_of(samples.at(0), unit) + " .. " +
         text_of(samples.at(1), unit) + ")";
}

std::string ratio_of(const Row& row) {
  Samples ratios;
  const size_t rounds = std::min(row.value.values().size(), row.limit.values().size());
  for (size_t i = 0; i < rounds; ++i)
    if (row.limit.values()[i] != 0) ratios.add(row.value.values()[i] / row.limit.values()[i]);
  return ratios.empty() ? "" : format("%.2f", ratios.median());
}

}  // namespace

void print_table(const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> cells{{"figure", "seen", "raw limit", "seen", "ratio"}};
  for (const Row& row : rows) {
    cells.push_back({row.name, text_of(row.value, row.unit), row.limit_name,
                     text_of(row.limit, row.unit), ratio_of(row)});
  }
  std::vector<int> widths(cells[0].size(), 0);
  for (const auto& line : cells) {
    for (size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], static_cast<int>(line[i].size()));
    }
  }
  for (const auto& line : cells) {
    std::string out = " ";
    for (size_t i = 0; i < line.size(); ++i) {
      out += " " + line[i] + std::string(static_cast<size_t>(widths[i]) - line[i].size() + 1, ' ');
    }
    out.resize(out.find_last_not_of(' ') + 1);
    std::printf("%s\n", out.c_str());
  }
  std::fflush(stdout);
}

// --------------------------------------------------------------------------------------------
// tools

namespace {

double read_clock(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

size_t files_in(const char* path) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path)) ++count;
  return count;
}

}  // namespace

double seconds_now() {
  return read_clock(CLOCK_MONOTONIC);
}
double cpu_seconds_now() {
  return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}
size_t threads_now() {
  return files_in("/proc/self/task");
}
size_t descriptors_now() {
  return files_in("/proc/self/fd") - 1;  // without the one that looks
}

void die(const std::string& why) {
  std::fprintf(stderr, "bench: %s\n", why.c_str());
  std::exit(1);
}

void check(const wp::Status& status) {
  if (!status.ok()) die(status.to_string());
}

void check_call(bool ok, const char* call) {
  if (!ok) die(std::string(call) + ": " + std::strerror(errno));
}

Lines::Lines(size_t bytes) : bytes_(bytes) {
  static constexpr const char* kLevels[] = {"INFO ", "INFO ", "INFO ", "DEBUG", "WARN ", "ERROR"};
  static constexpr const char* kVerbs[] = {"GET", "GET", "GET", "POST", "PUT", "DELETE"};
  static constexpr const char* kPlaces[] = {"users", "orders", "carts", "items", "search", "login"};
  static constexpr const char* kEnds[] = {"from cache", "upstream ok",     "retried once",
                                          "slow query", "partial content", "connection reused"};
  std::mt19937_64 random(1);
  const auto one_of = [&](const auto& list) { return list[random() % std::size(list)]; };
  text_.reserve(kCount * bytes_);
  for (uint64_t i = 0; i < kCount; ++i) {
    std::string line;
    while (line.size() < bytes_) {
      char part[160];
      std::snprintf(part, sizeof part,
                    "2026-03-01T12:%02d:%02d.%03dZ %s [worker-%02d] %s /api/v1/%s/%05d %d %dB "
                    "%d.%dms %s; ",
                    static_cast<int>(i / 900 % 60), static_cast<int>(i / 15 % 60),
                    static_cast<int>(random() % 1000), one_of(kLevels),
                    static_cast<int>(random() % 16), one_of(kVerbs), one_of(kPlaces),
                    static_cast<int>(random() % 100'000), random() % 10 == 0 ? 404 : 200,
                    static_cast<int>(random() % 4000), static_cast<int>(random() % 90),
                    static_cast<int>(random() % 10), one_of(kEnds));
      line += part;
    }
    const wp::Bytes text = wp::as_bytes(std::string_view(line).substr(0, bytes_));
    text_.insert(text_.end(), text.begin(), text.end());
  }
}

TempDir::TempDir(const Settings& settings) : path_(settings.dir + "/wp-bench-XXXXXX") {
  check_call(mkdtemp(path_.data()) != nullptr, "mkdtemp");
}

TempDir::~TempDir() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

TempMemory::TempMemory() {
  static int number = 0;
  name_ = "bench-" + std::to_string(++number);
}

TempMemory::~TempMemory() {
  const auto bucket = wp::memory_bucket(name_, false);
  if (bucket == nullptr) return;
  for (const std::string& key : bucket->keys()) bucket->erase(key);
}

}  // namespace bench
