// The fixed script that is cut short at each of its system calls: a root is opened, written to,
// truncated, collected and left in every way, again and again.
#ifndef WP_TESTS_CRASH_SCRIPT_H_
#define WP_TESTS_CRASH_SCRIPT_H_

#include <string>
#include <vector>

#include "tests/crash/recorder.h"
#include "wp.h"

namespace wp::crash {

// Small fragments, frequent checkpoints, and nothing that depends on time.
Options small_options();

inline constexpr const char* kLogNames[] = {"cut", "kept", "dropped"};
inline constexpr int kOpenings = 11;

// One opening of the root in `dir`, which need not be there for the first. Notes (recorder.h) what
// it does, in the words of known.h, and:
//
//   unsynced    from here on only a crash of the process is survived
//   synced      no more
Status run_opening(const std::string& dir, int number);

// All openings, one after the other, below a new directory; before each "opening NUMBER" is noted.
// Ends the process where the script fails, or where it changed something unseen.
std::vector<Call> recorded_script(const std::string& dir);

}  // namespace wp::crash

#endif  // WP_TESTS_CRASH_SCRIPT_H_
