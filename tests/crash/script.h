// The fixed story that is cut short at each of its system calls: a root is opened, written to,
// truncated, collected and left in every way, again and again.
#ifndef WP_TESTS_CRASH_SCRIPT_H_
#define WP_TESTS_CRASH_SCRIPT_H_

#include <string>

#include "wp.h"

namespace wp::crash {

// Small fragments, frequent checkpoints, and nothing that depends on time.
Options small_options();

// The root in `dir`, which need not be there. Notes (recorder.h) what it does, in the words of
// known.h.
Status run_script(const std::string& dir);

}  // namespace wp::crash

#endif  // WP_TESTS_CRASH_SCRIPT_H_
