// The randomised simulation for some seeds, and the simulator itself. `make test` runs many more
// (tests/simulation_test.sh); WP_SIM_SEEDS says how many of them here, from WP_SIM_FIRST on.
#include <doctest/doctest.h>

#include <cstdlib>

#include "tests/simulation.h"
#include "tests/test_root.h"

namespace wp {
namespace {

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? otherwise : std::stoull(text);
}

}  // namespace

TEST_CASE("machines that come, crash and sleep on a bad network keep one history of every log") {
  const uint64_t first = number_from("WP_SIM_FIRST", 1);
  const uint64_t seeds = number_from("WP_SIM_SEEDS", 40);
  uint64_t acknowledged = 0, events = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    SimChoice choice;
    choice.seed = seed;
    Simulation simulation(choice);
    simulation.run();
    acknowledged += simulation.checker().acknowledged_count();
    events += simulation.world().sim.events();
    for (const std::string& failure : simulation.checker().failures()) {
      FAIL_CHECK("seed " << seed << ": " << failure);
    }
  }
  MESSAGE(seeds << " histories, " << events << " events, " << acknowledged << " acknowledged");
  CHECK(acknowledged > seeds * 20);
}

TEST_CASE("one seed gives one history") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    SimChoice choice, another;
    choice.seed = seed;
    another.seed = seed + 1'000;
    Simulation one(choice), two(choice), other(another);
    one.run();
    two.run();
    other.run();
    CHECK(one.world().sim.trace_hash() == two.world().sim.trace_hash());
    CHECK(one.world().sim.events() == two.world().sim.events());
    CHECK(one.world().sim.trace_hash() != other.world().sim.trace_hash());
  }
}

TEST_CASE("the simulator: posted tasks run in order, timers by time, and waiting is virtual") {
  SimRuntime sim(1);
  const auto machine = sim.machine("m");
  std::vector<int> ran;
  machine->call_at(std::chrono::seconds{2}, [&] { ran.push_back(4); });
  machine->call_at(std::chrono::seconds{1}, [&] {
    CHECK(machine->on_event_thread());
    ran.push_back(3);
  });
  const TimerId cancelled = machine->call_at(std::chrono::seconds{1}, [&] { ran.push_back(9); });
  machine->post([&] { ran.push_back(1); });
  machine->post([&] { ran.push_back(2); });
  machine->cancel(cancelled);
  CHECK_FALSE(machine->on_event_thread());
  sim.run_until_idle();
  CHECK(ran == std::vector<int>{1, 2, 3, 4});
  CHECK(sim.now() == std::chrono::seconds{2});

  Mutex mutex;
  CondVar cv;
  MutexLock lock(mutex);
  CHECK_FALSE(machine->wait(lock, cv, std::chrono::seconds{5}));
  CHECK(sim.now() == std::chrono::seconds{5});
}

TEST_CASE("the simulator: actors hand over to each other, and a paused machine stands still") {
  SimRuntime sim(2);
  const auto machine = sim.machine("m"), sleeper = sim.machine("sleeper");
  Mutex mutex;
  CondVar cv;
  int turn = 0;
  std::string order;
  for (int a = 0; a < 3; ++a) {
    sim.spawn(machine, "actor", [&, a] {
      for (int i = 0; i < 3; ++i) {
        MutexLock lock(mutex);
        while (turn != a) machine->wait(lock, cv, kNever);
        order += static_cast<char>('a' + a);
        turn = (turn + 1) % 3;
        cv.notify_all();
      }
    });
  }
  sim.run_actors();
  CHECK(order == "abcabcabc");

  int ticks = 0;
  sleeper->call_at(sim.now() + std::chrono::seconds{1}, [&] { ++ticks; });
  const TimerId later = sleeper->call_at(sim.now() + std::chrono::seconds{2}, [&] { ++ticks; });
  sleeper->pause();
  sim.run_for(Duration{10'000});
  CHECK(ticks == 0);
  sleeper->resume();
  sleeper->cancel(later);  // although it is due
  sim.run_until_idle();
  CHECK(ticks == 1);

  bool ended = false;
  sim.spawn(sleeper, "killed", [&] {
    sleeper->sleep(Duration{1'000});
    ended = true;
  });
  sim.run_for(Duration{10});
  sleeper->kill();
  sim.run_actors();
  CHECK_FALSE(ended);
}

TEST_CASE("the simulated store: faults do what they say") {
  SimWorld world(3);
  Site site = world.site("m");
  const auto body = std::make_shared<const std::vector<std::byte>>(10, std::byte{1});
  std::optional<StoreStatus> answer;
  const auto put = [&](const std::string& key, const SimFate& fate) {
    answer.reset();
    site.store->script = [&](const SimRequest&) { return fate; };
    site.store->put_if_absent(key, body, Cause::kFlush, [&](StoreStatus s) { answer = s; });
    CHECK_FALSE(answer.has_value());
    world.sim.run_for(Duration{100});
  };
  put("normal", {});
  CHECK(answer->ok());
  put("normal", {});
  CHECK(answer->answer == Answer::kExists);
  put("lost", fate_lost_request());
  CHECK(answer->answer == Answer::kUnknown);
  CHECK(world.bucket->get("lost") == nullptr);
  put("stored", fate_lost_answer());
  CHECK(answer->answer == Answer::kUnknown);
  CHECK(world.bucket->get("stored") != nullptr);
  put("late", fate_late(Duration{1'000}));
  CHECK(answer->answer == Answer::kUnknown);
  CHECK(world.bucket->get("late") == nullptr);
  world.sim.run_for(Duration{1'000});
  CHECK(world.bucket->get("late") != nullptr);
  put("hangs", {true, std::nullopt, {}, false});
  CHECK_FALSE(answer.has_value());
  CHECK(world.bucket->get("hangs") != nullptr);
  site.store->shutdown();
  CHECK(answer->answer == Answer::kCancelled);
  CHECK(site.store->count(Operation::kPut) == 6);
}

}  // namespace wp
