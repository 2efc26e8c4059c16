// One randomised history: machines that open, append, truncate, drop, crash, sleep and take the
// root from each other, on a bucket behind a bad network, with a checker of what they were told and
// a look at the bucket after every deletion. The seed decides all of it.
#ifndef WP_TESTS_SIMULATION_H_
#define WP_TESTS_SIMULATION_H_

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim_checker.h"
#include "tests/sim_store.h"

namespace wp {

// Which history, and what is left out of it: the more is left out of one that fails, the better it
// is understood.
struct SimChoice {
  uint64_t seed = 1;
  uint64_t ops_max = 220;
  std::set<uint64_t> skipped;     // operations, by number
  std::set<std::string> without;  // of kSimParts
  std::string text() const;       // as arguments of the soak program
};
inline constexpr const char* kSimParts[] = {"follower", "pauses",   "outages", "clocks",   "kills",
                                            "faults",   "rollback", "gc",      "machines", "disks"};

class Simulation {
 public:
  explicit Simulation(const SimChoice& choice);
  ~Simulation();
  void run();

  SimWorld& world();
  const Checker& checker() const;

 private:
  class Run;
  const std::unique_ptr<Run> run_;
};

}  // namespace wp

#endif  // WP_TESTS_SIMULATION_H_
