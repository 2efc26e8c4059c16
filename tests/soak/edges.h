// Which of the engine's branches a process has been through. Known where the engine was compiled
// with clang's -fsanitize-coverage=inline-8bit-counters, as `make soak` does: an edge is a step
// from one basic block of the code to another, so both ways of an `if` are one each.
#ifndef WP_TESTS_SOAK_EDGES_H_
#define WP_TESTS_SOAK_EDGES_H_

#include <cstdint>
#include <vector>

namespace wp {

// 0: the compiler did not count.
uint64_t edges_in_all();
// Those that this process went through since it last asked and never before, by number.
std::vector<uint64_t> new_edges();

}  // namespace wp

#endif  // WP_TESTS_SOAK_EDGES_H_
