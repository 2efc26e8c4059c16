// The simulator: one thread at a time, virtual time, one seed. Several engines run in it, each on a
// SimMachine, so that a whole history of openings, crashes and pauses is one deterministic run: the
// same seed gives the same history, event for event, and its hash shows it.
//
// What runs: posted tasks, in the order of posting per machine; timers and workers by virtual time;
// events of the simulated store; and actors, which call blocking functions of the engine as a
// program would, each on a stack of its own. All are on one thread, so only one of them runs at any
// moment; which of several that could run goes next is the seed's choice. The test's own thread
// drives everything: from Runtime::wait, when it calls a blocking function itself, or from step(),
// run_for() and the like.
//
// Never: a sleep, a look at a real clock, or a decision by an address.
#ifndef WP_TESTS_SIM_RUNTIME_H_
#define WP_TESTS_SIM_RUNTIME_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/runtime.h"
#include "tests/fiber.h"
#include "wp.h"

namespace wp {

// Random numbers that are the same everywhere for one seed.
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  uint64_t next();
  uint64_t below(uint64_t n) { return n == 0 ? 0 : next() % n; }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  bool chance(double probability);

 private:
  uint64_t state_;
};

class SimMachine;

class SimRuntime {
 public:
  explicit SimRuntime(uint64_t seed);
  ~SimRuntime();  // actors that still wait are unwound
  SimRuntime(const SimRuntime&) = delete;
  SimRuntime& operator=(const SimRuntime&) = delete;

  uint64_t seed() const { return seed_; }
  SimRandom& random() { return random_; }
  TimePoint now() const { return now_; }

  // A new machine; `wall_offset` is how far its clock is off. One engine runs on it.
  std::shared_ptr<SimMachine> machine(std::string name, Duration wall_offset = {});

  // Runs `body` as an actor on that machine. It goes on from a wait when it was notified or its
  // deadline has passed, and never without a reason: a lost wake-up is a deadlock.
  void spawn(std::shared_ptr<SimMachine> machine, std::string name, std::function<void()> body);
  size_t actors_left() const;

  // The world's own events: the store, the test's script. With a machine, they wait while it is
  // paused. They may call blocking functions.
  void call_after(Duration delay, Task task, SimMachine* machine = nullptr);
  void call_after(std::chrono::nanoseconds delay, Task task, SimMachine* machine);

  // Runs one thing, time going on to it, but not past `limit`. False: there was none.
  bool step(TimePoint limit = kNever);
  // Until nothing is left but actors that wait for ever.
  void run_until_idle();
  void run_for(Duration duration);
  // Until it is true; false: nothing is left to run, or the time is over.
  bool run_until(const std::function<bool()>& done, Duration limit = std::chrono::hours{24 * 365});
  // Until every actor ended. A deadlock, or more time than that, is reported and ends the program.
  void run_actors(Duration limit = std::chrono::hours{24 * 30});

  // What happened: a hash of everything, and the newest lines of it as text.
  void note(std::string_view what);
  uint64_t trace_hash() const { return hash_; }
  std::string trace_text() const;
  uint64_t events() const { return events_; }
  // The number of things that are to happen at a time: 0 on a world at rest.
  size_t timed() const { return timed_.size(); }

  // How often something happened, for whoever wants to know what a history had in it.
  void count(std::string_view what);
  const std::map<std::string, uint64_t, std::less<>>& counts() const { return counts_; }

  [[noreturn]] void fail(std::string_view why);

 private:
  friend class SimMachine;

  enum class Kind : uint8_t { kWorld, kTimer, kWork };
  struct Event {
    Task task;
    SimMachine* machine;
    Kind kind;
    uint64_t id = 0;
  };
  using TimeKey = std::pair<TimePoint, uint64_t>;

  struct Actor {
    std::string name;
    std::shared_ptr<SimMachine> machine;
    std::unique_ptr<Fiber> fiber;
    enum class State : uint8_t { kReady, kRunning, kWaiting, kDone } state = State::kReady;
    TimePoint deadline = kNever;
    const CondVar* waits_on = nullptr;
    uint64_t notified_before = 0;  // of waits_on, when the wait began
    bool unwind = false;
  };
  struct Unwind {};  // thrown from a wait of an actor whose machine was killed

  uint64_t add_event(TimePoint when, SimMachine* machine, Kind kind, Task task);
  void run_event(Event event);
  void run_actor(Actor& actor);
  bool actor_wait(Actor& actor, MutexLock& lock, CondVar& cv, TimePoint deadline);
  bool may_go_on(const Actor& actor) const;
  void forget_done_actors();
  void hold_or_run(std::map<TimeKey, Event>::iterator it);
  void find_candidates();
  TimePoint next_time() const;
  void forget_machine(SimMachine* machine, bool world_too);

  Actor* current_actor_ = nullptr;  // null: the test itself, or an event

  const uint64_t seed_;
  SimRandom random_;
  TimePoint now_{0};
  uint64_t id_next_ = 1;
  uint64_t events_ = 0;
  uint64_t events_at_ = 0;  // events_ when time last went on
  uint64_t hash_ = 14695981039346656037ull;
  std::deque<std::string> lines_;
  std::map<std::string, uint64_t, std::less<>> counts_;
  SimMachine* event_machine_ = nullptr;
  std::vector<std::shared_ptr<SimMachine>> machines_;
  std::map<TimeKey, Event> timed_;
  std::map<uint64_t, TimePoint> times_;  // of the timed events by id
  std::vector<std::unique_ptr<Actor>> actors_;

  // One of the things that could run now.
  struct Candidate {
    SimMachine* posted = nullptr;  // its first posted task
    Actor* actor = nullptr;
    std::map<TimeKey, Event>::iterator due{};  // neither of these
  };
  std::vector<Candidate> candidates_;
};

// One computer in the simulation, as an engine's Runtime.
class SimMachine final : public Runtime {
 public:
  SimMachine(SimRuntime& sim, std::string name, Duration wall_offset)
      : sim_(sim), name_(std::move(name)), wall_offset_(wall_offset) {}

  TimePoint now() override { return sim_.now_; }
  int64_t wall_ms() override;
  uint64_t random() override { return sim_.random_.next(); }
  void post(Task task) override;
  TimerId call_at(TimePoint when, Task task) override;
  void cancel(TimerId timer) override;
  void work(Task task) override;
  bool wait(MutexLock& lock, CondVar& cv, TimePoint deadline) override;
  bool on_event_thread() override;
  void stop() override;

  // Nothing of this machine runs until resume(): tasks, timers, workers, answers of its store, its
  // actors. Time goes on.
  void pause();
  void resume();
  bool paused() const { return paused_; }
  // Nothing of it ever runs again, and nobody is told. Its actors are unwound.
  void kill();
  bool killed() const { return killed_; }
  // Its clock on the wall jumps.
  void jump(Duration by) { wall_offset_ += by; }
  // For actors: lets virtual time pass.
  void sleep(Duration duration);

  SimRuntime& sim() { return sim_; }
  const std::string& name() const { return name_; }

 private:
  friend class SimRuntime;

  SimRuntime& sim_;
  const std::string name_;
  Duration wall_offset_;
  bool paused_ = false;
  bool killed_ = false;
  bool stopped_ = false;
  std::deque<Task> posted_;
  std::vector<SimRuntime::Event> held_;  // became due while paused
  Mutex sleep_mutex_;
  CondVar sleep_cv_;
};

}  // namespace wp

#endif  // WP_TESTS_SIM_RUNTIME_H_
