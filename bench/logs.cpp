// A root of many logs beside a root of one: opening it, and what it costs to have it open and do
// nothing. All logs are held, so that none can be let go of.
#include <sys/resource.h>

#include <thread>

#include "bench/bench.h"

namespace bench {
namespace {

std::string name_of(uint64_t number) {
  return "log-" + std::to_string(number);
}

void write(const std::string& path, uint64_t logs) {
  const Lines lines(100);
  wp::Options options;
  options.sync = false;
  auto wal = check(wp::Wal::open(path, options));
  for (uint64_t i = 0; i < logs; ++i) {
    (void)check(check(wal->log(name_of(i))).append_async(lines.line(i)));
  }
  check(wal->close());
}

uint64_t requests_of(const wp::Wal& wal) {
  uint64_t count = 0;
  for (const wp::RequestCount& each : wal.stats().requests) count += each.requests;
  return count;
}

double switches_now() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return static_cast<double>(use.ru_nvcsw + use.ru_nivcsw);
}

struct Seen {
  double open = 0, log = 0, append = 0, close = 0;
  double threads = 0, descriptors = 0;
  double idle_requests = 0, idle_cpu = 0, idle_switches = 0;
};

Seen look(const Settings& settings, const std::string& path, uint64_t logs) {
  Seen seen;
  const Lines lines(100);
  const size_t threads = threads_now(), descriptors = descriptors_now();
  std::unique_ptr<wp::Wal> wal;
  seen.open = seconds_of([&] { wal = check(wp::Wal::open(path)); });
  const auto n = static_cast<double>(logs);
  std::vector<wp::Log> held;
  seen.log = seconds_of([&] {
               for (uint64_t i = 0; i < logs; ++i) held.push_back(check(wal->log(name_of(i))));
             }) /
             n;
  seen.append = seconds_of([&] {
                  for (wp::Log& log : held) (void)check(log.append_async(lines.line(0)));
                  check(wal->flush());
                }) /
                n;
  std::this_thread::sleep_for(std::chrono::seconds(2));  // until the view is written
  seen.threads = static_cast<double>(threads_now() - threads);
  seen.descriptors = static_cast<double>(descriptors_now() - descriptors);
  const uint64_t requests = requests_of(*wal);
  const double switches = switches_now(), cpu = cpu_seconds_now();
  std::this_thread::sleep_for(std::chrono::seconds(settings.quick ? 1 : 5));
  seen.idle_cpu = cpu_seconds_now() - cpu;
  seen.idle_switches = switches_now() - switches - 1;  // without our own sleep
  seen.idle_requests = static_cast<double>(requests_of(*wal) - requests);
  seen.close = seconds_of([&] { check(wal->close()); });
  return seen;
}

}  // namespace

void bench_logs(const Settings& settings) {
  const uint64_t logs = settings.times(10'000, 500);
  const TempDir many(settings), one(settings);
  write(many.path(), logs);
  write(one.path(), 1);
  struct Line {
    const char* name;
    Unit unit;
    double Seen::*of;
  };
  static constexpr Line kLines[] = {
      {"open()", Unit::kSeconds, &Seen::open},
      {"log() of one of them", Unit::kSeconds, &Seen::log},
      {"an entry to each and flush(), per log", Unit::kSeconds, &Seen::append},
      {"close()", Unit::kSeconds, &Seen::close},
      {"threads", Unit::kCount, &Seen::threads},
      {"descriptors", Unit::kCount, &Seen::descriptors},
      {"idle: requests", Unit::kCount, &Seen::idle_requests},
      {"idle: CPU time", Unit::kSeconds, &Seen::idle_cpu},
      {"idle: thread switches", Unit::kCount, &Seen::idle_switches},
  };
  std::vector<Row> rows;
  for (const Line& line : kLines)
    rows.push_back({line.name, line.unit, "a root of one log", {}, {}});
  for (size_t round = 0; round < settings.rounds(); ++round) {
    const Seen of_one = look(settings, one.path(), 1);
    const Seen of_many = look(settings, many.path(), logs);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].value.add(of_many.*kLines[i].of);
      rows[i].limit.add(of_one.*kLines[i].of);
    }
  }
  print_table(rows);
}

}  // namespace bench
