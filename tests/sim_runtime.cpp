#include "tests/sim_runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace wp {
namespace {

// 2026-01-01: where every simulated wall clock starts.
constexpr int64_t kWallStartMs = 1'767'225'600'000;
constexpr std::chrono::microseconds kWorkDelayMax{800};
constexpr size_t kLinesMax = 4000;
constexpr size_t kDueChoicesMax = 8;
// So many events without time going on are a loop that will not end.
constexpr uint64_t kEventsPerMomentMax = 3'000'000;

}  // namespace

uint64_t SimRandom::next() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);  // splitmix64
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

bool SimRandom::chance(double probability) {
  return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
}

SimRuntime::SimRuntime(uint64_t seed) : seed_(seed), random_(seed) {}

SimRuntime::~SimRuntime() {
  for (size_t i = 0; i < actors_.size(); ++i) {
    Actor& actor = *actors_[i];
    actor.unwind = true;
    while (actor.state != Actor::State::kDone) run_actor(actor);
  }
  actors_.clear();
  for (const auto& machine : machines_) machine->stopped_ = true;
  // What tasks hold may be the last handle of an engine, whose end calls back into this.
  while (!timed_.empty()) {
    const Event event = std::move(timed_.begin()->second);
    times_.erase(timed_.begin()->first.second);
    timed_.erase(timed_.begin());
  }
  for (const auto& machine : machines_) {
    const auto posted = std::move(machine->posted_);
    const auto held = std::move(machine->held_);
  }
}

std::shared_ptr<SimMachine> SimRuntime::machine(std::string name, Duration wall_offset) {
  machines_.push_back(std::make_shared<SimMachine>(*this, std::move(name), wall_offset));
  return machines_.back();
}

void SimRuntime::fail(std::string_view why) {
  std::fprintf(stderr, "the simulation failed: %.*s\nseed %llu, virtual time %.6f s\n%s\n",
               static_cast<int>(why.size()), why.data(), static_cast<unsigned long long>(seed_),
               std::chrono::duration<double>(now_).count(), trace_text().c_str());
  for (const auto& actor : actors_) {
    if (actor->state == Actor::State::kDone) continue;
    std::fprintf(stderr, "actor %s on %s is %s%s\n", actor->name.c_str(),
                 actor->machine->name().c_str(),
                 actor->state == Actor::State::kWaiting ? "waiting" : "ready",
                 actor->machine->paused() ? " (paused)" : "");
  }
  std::abort();
}

// ---------------------------------------------------------------------------------------- trace

void SimRuntime::note(std::string_view what) {
  char stamp[40];
  std::snprintf(stamp, sizeof stamp, "%12.6f ", std::chrono::duration<double>(now_).count());
  std::string line = stamp;
  line += what;
  for (const char c : line) {
    hash_ ^= static_cast<unsigned char>(c);
    hash_ *= 1099511628211ull;
  }
  lines_.push_back(std::move(line));
  if (lines_.size() > kLinesMax) lines_.pop_front();
}

void SimRuntime::count(std::string_view what) {
  const auto it = counts_.find(what);
  ++(it != counts_.end() ? it->second : counts_[std::string(what)]);
}

std::string SimRuntime::trace_text() const {
  std::string text;
  for (const std::string& line : lines_) text += line + '\n';
  return text;
}

// ---------------------------------------------------------------------------------------- events

uint64_t SimRuntime::add_event(TimePoint when, SimMachine* machine, Kind kind, Task task) {
  const uint64_t id = id_next_++;
  when = std::max(when, now_);
  timed_.emplace(TimeKey{when, id}, Event{std::move(task), machine, kind, id});
  times_.emplace(id, when);
  return id;
}

void SimRuntime::call_after(std::chrono::nanoseconds delay, Task task, SimMachine* machine) {
  add_event(now_ + delay, machine, Kind::kWorld, std::move(task));
}

void SimRuntime::call_after(Duration delay, Task task, SimMachine* machine) {
  call_after(std::chrono::nanoseconds{delay}, std::move(task), machine);
}

void SimRuntime::run_event(Event event) {
  SimMachine* const before = event_machine_;
  event_machine_ = event.kind == Kind::kTimer ? event.machine : nullptr;
  event.task();
  event.task = nullptr;
  event_machine_ = before;
}

void SimRuntime::hold_or_run(std::map<TimeKey, Event>::iterator it) {
  Event event = std::move(it->second);
  times_.erase(it->first.second);
  timed_.erase(it);
  if (event.machine != nullptr && event.machine->killed_) return;
  if (event.machine != nullptr && event.machine->paused_) {
    event.machine->held_.push_back(std::move(event));
    return;
  }
  run_event(std::move(event));
}

TimePoint SimRuntime::next_time() const {
  TimePoint next = timed_.empty() ? kNever : timed_.begin()->first.first;
  for (const auto& actor : actors_) {
    if (actor->state == Actor::State::kWaiting && !actor->machine->paused_) {
      next = std::min(next, actor->deadline);
    }
  }
  return next;
}

bool SimRuntime::may_go_on(const Actor& actor) const {
  if (actor.machine->paused_) return false;
  if (actor.state == Actor::State::kReady) return true;
  return actor.state == Actor::State::kWaiting &&
         (actor.unwind || actor.deadline <= now_ ||
          actor.waits_on->times_notified() != actor.notified_before);
}

void SimRuntime::find_candidates() {
  candidates_.clear();
  for (const auto& machine : machines_) {
    if (!machine->posted_.empty() && !machine->paused_) {
      candidates_.push_back({machine.get(), nullptr, {}});
    }
  }
  for (const auto& actor : actors_) {
    if (may_go_on(*actor)) candidates_.push_back({nullptr, actor.get(), {}});
  }
  size_t due = 0;
  for (auto it = timed_.begin(); it != timed_.end() && it->first.first <= now_; ++it) {
    candidates_.push_back({nullptr, nullptr, it});
    if (++due == kDueChoicesMax) break;
  }
}

bool SimRuntime::step(TimePoint limit) {
  if (current_actor_ != nullptr) fail("an actor drives the simulation itself");
  find_candidates();
  if (candidates_.empty()) {
    const TimePoint next = next_time();
    if (next > limit || next == kNever) return false;
    now_ = next;
    events_at_ = events_;
    find_candidates();
  }
  ++events_;
  if (events_ - events_at_ > kEventsPerMomentMax) fail("events without end at one moment");
  const Candidate chosen = candidates_[random_.below(candidates_.size())];
  if (chosen.posted != nullptr) {
    Event event{std::move(chosen.posted->posted_.front()), chosen.posted, Kind::kTimer, 0};
    chosen.posted->posted_.pop_front();
    run_event(std::move(event));
  } else if (chosen.actor != nullptr) {
    run_actor(*chosen.actor);
    if (chosen.actor->state == Actor::State::kDone) forget_done_actors();
  } else {
    hold_or_run(chosen.due);
  }
  return true;
}

void SimRuntime::run_until_idle() {
  while (step()) {
  }
}

void SimRuntime::run_for(Duration duration) {
  const TimePoint until = now_ + duration;
  while (step(until)) {
  }
  now_ = until;
}

bool SimRuntime::run_until(const std::function<bool()>& done, Duration limit) {
  const TimePoint until = now_ + limit;
  while (!done()) {
    if (!step(until)) return done();
  }
  return true;
}

void SimRuntime::run_actors(Duration limit) {
  const TimePoint until = now_ + limit;
  while (actors_left() != 0) {
    if (step(until)) continue;
    if (next_time() != kNever) fail("actors took longer than they may");
    fail("deadlock: every actor waits and nothing is to happen");
  }
}

// ---------------------------------------------------------------------------------------- actors

void SimRuntime::spawn(std::shared_ptr<SimMachine> machine, std::string name,
                       std::function<void()> body) {
  auto actor = std::make_unique<Actor>();
  actor->name = std::move(name);
  actor->machine = std::move(machine);
  actor->unwind = actor->machine->killed();
  Actor* const self = actor.get();
  actor->fiber = std::make_unique<Fiber>([self, body = std::move(body)] {
    if (self->unwind) return;
    try {
      body();
    } catch (const Unwind&) {
    }
  });
  actors_.push_back(std::move(actor));
}

size_t SimRuntime::actors_left() const {
  return static_cast<size_t>(std::count_if(actors_.begin(), actors_.end(), [](const auto& actor) {
    return actor->state != Actor::State::kDone;
  }));
}

void SimRuntime::run_actor(Actor& actor) {
  SimMachine* const before = event_machine_;
  event_machine_ = nullptr;
  actor.state = Actor::State::kRunning;
  current_actor_ = &actor;
  actor.fiber->resume();
  current_actor_ = nullptr;
  if (actor.fiber->done()) actor.state = Actor::State::kDone;
  event_machine_ = before;
}

void SimRuntime::forget_done_actors() {
  std::erase_if(actors_, [](const auto& actor) { return actor->state == Actor::State::kDone; });
}

WP_TSA(no_thread_safety_analysis)  // the caller's lock is given back and taken again
bool SimRuntime::actor_wait(Actor& actor, MutexLock& lock, CondVar& cv, TimePoint deadline) {
  lock.unlock();
  actor.state = Actor::State::kWaiting;
  actor.deadline = deadline;
  actor.waits_on = &cv;
  actor.notified_before = cv.times_notified();
  actor.fiber->yield();
  lock.lock();
  if (actor.unwind) throw Unwind{};
  return now_ < deadline;
}

// --------------------------------------------------------------------------------------- machines

int64_t SimMachine::wall_ms() {
  return kWallStartMs + wall_offset_.count() +
         std::chrono::duration_cast<std::chrono::milliseconds>(sim_.now_).count();
}

void SimMachine::post(Task task) {
  if (stopped_ || killed_) return;
  posted_.push_back(std::move(task));
}

TimerId SimMachine::call_at(TimePoint when, Task task) {
  if (stopped_ || killed_) return 0;
  return sim_.add_event(when, this, SimRuntime::Kind::kTimer, std::move(task));
}

void SimMachine::cancel(TimerId timer) {
  const auto time = sim_.times_.find(timer);
  if (time == sim_.times_.end()) return;
  const auto it = sim_.timed_.find({time->second, timer});
  const Task task = std::move(it->second.task);  // destroyed last
  sim_.timed_.erase(it);
  sim_.times_.erase(time);
}

void SimMachine::work(Task task) {
  if (stopped_ || killed_) return;
  const std::chrono::nanoseconds delay{sim_.random_.below(
      std::chrono::duration_cast<std::chrono::nanoseconds>(kWorkDelayMax).count())};
  sim_.add_event(sim_.now_ + delay, this, SimRuntime::Kind::kWork, std::move(task));
}

WP_TSA(no_thread_safety_analysis)  // the caller's lock is given back and taken again
bool SimMachine::wait(MutexLock& lock, CondVar& cv, TimePoint deadline) {
  if (on_event_thread()) sim_.fail("a wait on the event thread of " + name_);
  if (sim_.now_ >= deadline) return false;
  if (sim_.current_actor_ != nullptr) {
    return sim_.actor_wait(*sim_.current_actor_, lock, cv, deadline);
  }
  lock.unlock();
  const bool ran = sim_.step(deadline);
  if (!ran && deadline == kNever) {
    sim_.fail("deadlock: a call on " + name_ + " waits without a deadline, nothing is to happen");
  }
  if (!ran && deadline != kNever) sim_.now_ = deadline;
  lock.lock();
  return sim_.now_ < deadline;
}

bool SimMachine::on_event_thread() {
  return sim_.current_actor_ == nullptr && sim_.event_machine_ == this;
}

void SimMachine::stop() {
  stopped_ = true;
  sim_.forget_machine(this, false);
}

void SimMachine::pause() {
  sim_.note("pause " + name_);
  paused_ = true;
}

void SimMachine::resume() {
  sim_.note("resume " + name_);
  paused_ = false;
  auto held = std::move(held_);
  held_.clear();
  for (auto& event : held) {
    const uint64_t id = event.id;  // kept: the timer may still be cancelled by it
    sim_.times_.emplace(id, sim_.now_);
    sim_.timed_.emplace(SimRuntime::TimeKey{sim_.now_, id}, std::move(event));
  }
}

void SimMachine::kill() {
  sim_.note("kill " + name_);
  killed_ = true;
  paused_ = false;
  sim_.forget_machine(this, true);
  for (size_t i = 0; i < sim_.actors_.size(); ++i) {
    SimRuntime::Actor& actor = *sim_.actors_[i];
    if (actor.machine.get() == this) actor.unwind = true;
  }
}

void SimMachine::sleep(Duration duration) {
  const TimePoint until = sim_.now_ + duration;
  MutexLock lock(sleep_mutex_);
  while (sim_.now_ < until) wait(lock, sleep_cv_, until);
}

void SimRuntime::forget_machine(SimMachine* machine, bool world_too) {
  std::vector<Event> gone;  // destroyed last: what tasks hold may call back into this
  const auto mine = [&](const Event& event) {
    return event.machine == machine && (world_too || event.kind != Kind::kWorld);
  };
  for (auto it = timed_.begin(); it != timed_.end();) {
    if (!mine(it->second)) {
      ++it;
      continue;
    }
    gone.push_back(std::move(it->second));
    times_.erase(it->first.second);
    it = timed_.erase(it);
  }
  std::vector<Event> held = std::move(machine->held_);
  machine->held_.clear();
  for (auto& event : held) (mine(event) ? gone : machine->held_).push_back(std::move(event));
  const auto posted = std::move(machine->posted_);
  machine->posted_.clear();
}

}  // namespace wp
