// Which process this is, in the sense of fork(): what was opened before a fork belongs to the
// parent, and the child knows it by a number that differs.
#ifndef WP_PLATFORM_FORK_H_
#define WP_PLATFORM_FORK_H_

#include <atomic>
#include <cstdint>

namespace wp {

// How many forks lie behind this process since the first call, in it or in a process it was forked
// from. Costs a read of memory. (A child made by vfork, posix_spawn or a bare clone is not
// counted.)
uint64_t fork_generation();

// The one object of this type that the process has. A child of fork() gets one of its own, because
// the lock of the parent's may be held by a thread that the child does not have; the parent's stays
// as it is, and keeps alive what the child must not end. Never destroyed: who uses it may be
// static.
template <class T>
T& of_this_process() {
  struct Held {
    const uint64_t generation;
    Held* const before;
    T object{};
  };
  static std::atomic<Held*> current{nullptr};
  const uint64_t generation = fork_generation();
  Held* found = current.load();
  while (found == nullptr || found->generation != generation) {
    auto* made = new Held{generation, found};
    if (current.compare_exchange_strong(found, made)) return made->object;
    delete made;
  }
  return found->object;
}

}  // namespace wp

#endif  // WP_PLATFORM_FORK_H_
