// The fixed story that is cut short at each of its system calls: a root is opened, written to,
// truncated, collected and left in every way, again and again.
#ifndef WP_TESTS_CRASH_SCRIPT_H_
#define WP_TESTS_CRASH_SCRIPT_H_

#include <string>

#include "wp.h"

namespace wp::crash {

// Small fragments, frequent checkpoints, and nothing that depends on time.
Options small_options();

inline constexpr int kOpenings = 10;

// One opening of the root in `dir`, which need not be there for the first. Notes (recorder.h) what
// it does, in the words of known.h, and:
//
//   unsynced    from here on only a crash of the process is survived
//   synced      no more
Status run_opening(const std::string& dir, int number);

}  // namespace wp::crash

#endif  // WP_TESTS_CRASH_SCRIPT_H_
