#include "platform/fork.h"

#include <pthread.h>

#include <atomic>

namespace wp {

uint64_t fork_generation() {
  static std::atomic<uint64_t> generation{0};
  // Once: a child inherits the handler.
  [[maybe_unused]] static const int registered =
      pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
  return generation.load(std::memory_order_relaxed);
}

}  // namespace wp
