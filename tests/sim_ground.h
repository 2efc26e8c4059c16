// What the objects in a bucket say, read as an opener without a view would, but by a walk of its
// own: whether each of the kept checkpoints still leads to everything that was acknowledged.
#ifndef WP_TESTS_SIM_GROUND_H_
#define WP_TESTS_SIM_GROUND_H_

#include <string>

#include "stores/memory.h"
#include "tests/sim_checker.h"

namespace wp {

// What is wrong; empty: nothing is.
std::string check_ground(const MemoryBucket& bucket, const Checker& checker);

}  // namespace wp

#endif  // WP_TESTS_SIM_GROUND_H_
