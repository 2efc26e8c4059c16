// What the kinds of crash have in common: what was asked for, processes that work side by side, and
// what they count together.
#ifndef WP_TESTS_CRASH_WORK_H_
#define WP_TESTS_CRASH_WORK_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <iterator>
#include <string>

#include "tests/crash/disk.h"

namespace wp::crash {

using Number = unsigned long long;  // to be printed

inline constexpr uint64_t kFailuresShown = 10;

// main.cpp says what each is.
struct Choice {
  std::string dir, keep;
  uint64_t seed = 1, every = 0;
  bool all = false;
};

// Of all processes.
struct Tally {
  std::atomic<uint64_t> points, disks, wrong;
  std::atomic<uint64_t> lost_workers;  // that came to no good end themselves
  std::atomic<uint64_t> losses[std::size(kLosses)];
  std::atomic<uint64_t> again_points, again_disks;  // in openings that follow a crash
};
Tally& tally();  // first called before there are other processes

// Calls it as (worker, workers), in a process each, so that one that crashes is a failure like any
// other.
void for_each_worker(const std::function<void(size_t, size_t)>& work);

void empty_dir(const std::string& dir);
// Leaves the image alone in the directory, or ends the process.
void lay_out(const Image& image, const std::string& dir);
[[noreturn]] void give_up(const std::string& why);

int lose_power(const Choice& choice);      // power.cpp
int prove_check(const Choice& choice);     // power.cpp
int kill_processes(const Choice& choice);  // kill.cpp

}  // namespace wp::crash

#endif  // WP_TESTS_CRASH_WORK_H_
