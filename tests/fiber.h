// A function on a stack of its own, switched to and from by hand: what an actor of the simulator
// runs on. A switch takes well under a microsecond, where handing over to a thread takes twenty.
#ifndef WP_TESTS_FIBER_H_
#define WP_TESTS_FIBER_H_

#include <ucontext.h>

#include <cstddef>
#include <functional>

namespace wp {

// Made, resumed and destroyed on one thread. The body lets no exception out.
class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  ~Fiber();  // the body has ended, or was never begun
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // From outside: runs the body until it yields or ends.
  void resume();
  // From the body: back to whoever resumed it, until that is done again.
  void yield();
  bool done() const { return done_; }

 private:
  struct Exceptions {  // what the C++ runtime keeps per thread, and is each stack's own
    void* caught = nullptr;
    unsigned int uncaught = 0;
  };
  static void begin();
  void switch_to(bool inside);

  std::function<void()> body_;
  std::byte* stack_;
  ucontext_t inside_, outside_;
  Exceptions exceptions_;
  bool done_ = false;

  // For the sanitizers, which want to know about each switch.
  [[maybe_unused]] void* fake_inside_ = nullptr;
  [[maybe_unused]] void* fake_outside_ = nullptr;
  [[maybe_unused]] const void* outside_stack_ = nullptr;
  [[maybe_unused]] size_t outside_bytes_ = 0;
  [[maybe_unused]] void* tsan_inside_ = nullptr;
  [[maybe_unused]] void* tsan_outside_ = nullptr;
};

}  // namespace wp

#endif  // WP_TESTS_FIBER_H_
