// Whether a root is as it must be after a crash, and goes on.
#ifndef WP_TESTS_CRASH_CHECK_H_
#define WP_TESTS_CRASH_CHECK_H_

#include <cstdint>
#include <string>

#include "tests/crash/known.h"

namespace wp::crash {

// Opens the root, reads and verifies it, appends an entry and reads that, and closes it. What is
// wrong; empty: nothing. What was found there is known from then on.
std::string check_opening(const std::string& root, Known& known, bool rebuild = false);

// The same. By chance the view is lost before; or what then is there is read again, from the
// objects alone.
std::string check_root(const std::string& root, Known known, uint64_t chance);

}  // namespace wp::crash

#endif  // WP_TESTS_CRASH_CHECK_H_
