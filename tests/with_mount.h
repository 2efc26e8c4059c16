// A small file system of its own for a test: one that can be full, or read-only.
#ifndef WP_TESTS_WITH_MOUNT_H_
#define WP_TESTS_WITH_MOUNT_H_

#include <functional>
#include <string>

namespace wp {

// Runs the body, on another thread, with an empty tmpfs that has these mount options ("size=1m")
// and goes with it. False, and said aloud, where this user may not mount.
bool with_mount(const char* what, const char* mount_options,
                const std::function<void(const std::string& path)>& body);

}  // namespace wp

#endif  // WP_TESTS_WITH_MOUNT_H_
