#include "tests/fiber.h"

#include <cxxabi.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace wp {
namespace {

constexpr size_t kStackBytes = 1u << 20, kGuardBytes = 1u << 16;

// Stacks are used again: mapping one takes longer than most of what runs on it.
class Stacks {
 public:
  ~Stacks() {
    for (std::byte* stack : free_) munmap(stack - kGuardBytes, kGuardBytes + kStackBytes);
  }
  std::byte* take() {
    if (!free_.empty()) {
      std::byte* const stack = free_.back();
      free_.pop_back();
      return stack;
    }
    void* const mapped = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED || mprotect(mapped, kGuardBytes, PROT_NONE) != 0) {
      std::perror("a stack for a fiber");
      std::abort();
    }
    return static_cast<std::byte*>(mapped) + kGuardBytes;
  }
  void give_back(std::byte* stack) { free_.push_back(stack); }

 private:
  std::vector<std::byte*> free_;
};

thread_local Stacks stacks;
thread_local Fiber* beginning = nullptr;

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)), stack_(stacks.take()) {
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_;
  inside_.uc_stack.ss_size = kStackBytes;
  inside_.uc_link = nullptr;
  makecontext(&inside_, &Fiber::begin, 0);
#if defined(__SANITIZE_THREAD__)
  tsan_inside_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(tsan_inside_);
#endif
  stacks.give_back(stack_);
}

void Fiber::begin() {
  Fiber* const self = beginning;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &self->outside_stack_, &self->outside_bytes_);
#endif
  self->body_();
  self->body_ = nullptr;
  self->done_ = true;
  self->switch_to(false);
}

void Fiber::resume() {
  beginning = this;
  switch_to(true);
}

void Fiber::yield() {
  switch_to(false);
}

void Fiber::switch_to(bool inside) {
  Exceptions kept;
  auto* const now = reinterpret_cast<Exceptions*>(abi::__cxa_get_globals());
  kept = *now;
  *now = exceptions_;
  exceptions_ = kept;
#if defined(__SANITIZE_THREAD__)
  if (inside) tsan_outside_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(inside ? tsan_inside_ : tsan_outside_, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
  void** const fake = inside ? &fake_outside_ : done_ ? nullptr : &fake_inside_;
  __sanitizer_start_switch_fiber(fake, inside ? stack_ : outside_stack_,
                                 inside ? kStackBytes : outside_bytes_);
#endif
  swapcontext(inside ? &outside_ : &inside_, inside ? &inside_ : &outside_);
#if defined(__SANITIZE_ADDRESS__)
  if (inside) {
    __sanitizer_finish_switch_fiber(fake_outside_, nullptr, nullptr);
  } else {
    __sanitizer_finish_switch_fiber(fake_inside_, &outside_stack_, &outside_bytes_);
  }
#endif
}

}  // namespace wp
