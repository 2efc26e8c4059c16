// Which process this is, in the sense of fork(): what was opened before a fork belongs to the
// parent, and the child knows it by a number that differs.
#ifndef WP_PLATFORM_FORK_H_
#define WP_PLATFORM_FORK_H_

#include <cstdint>

namespace wp {

// How many forks lie behind this process since the first call, in it or in a process it was forked
// from. Costs a read of memory. (A child made by vfork, posix_spawn or a bare clone is not
// counted.)
uint64_t fork_generation();

}  // namespace wp

#endif  // WP_PLATFORM_FORK_H_
