#include "tests/with_mount.h"

#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <thread>

#include "tests/store_contract.h"

namespace wp {

bool with_mount(const char* what, const char* mount_options,
                const std::function<void(const std::string&)>& body) {
  bool mounted = false;
  std::exception_ptr failure;
  store_test::TempDir dir;
  // Mounts of a thread with a name space of its own are seen by nobody else.
  std::thread([&] {
    mounted = unshare(CLONE_NEWNS | CLONE_FS) == 0 &&
              mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              mount("wp-test", dir.path().c_str(), "tmpfs", 0, mount_options) == 0;
    if (!mounted) {
      std::printf("\nleft out: %s, for want of a mount (%s)\n", what, std::strerror(errno));
      return;
    }
    try {
      body(dir.path());
    } catch (...) {
      failure = std::current_exception();  // of a REQUIRE
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  return mounted;
}

}  // namespace wp
