// A store that fails, hangs, throttles, forgets its answers or applies late, under an engine that
// must neither lose nor double nor reorder anything. Simulated.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "tests/test_root.h"

namespace wp {
namespace {

Options small_fragments() {
  Options options;
  options.fragment_bytes_max = 4u << 10;
  options.compression_level = 0;
  return options;
}

// Appends `count` entries that fill many fragments, and returns what is acknowledged meanwhile.
struct Load {
  std::vector<std::string> written;
  std::vector<Lsn> acknowledged;
  size_t refused = 0;

  void append(Log& log, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const std::string text = std::to_string(written.size()) + noise(written.size(), 500);
      const auto lsn = log.append_async(as_bytes(text), [this](Result<Lsn> result) {
        if (result.ok()) {
          CHECK((acknowledged.empty() || *result == acknowledged.back() + 1));
          acknowledged.push_back(*result);
        } else {
          ++refused;
        }
      });
      require_ok(lsn.status());
      written.push_back(text);
    }
  }
};

void check_stored(SimWorld& world, const std::vector<std::string>& expected) {
  Site site = world.open("checker");
  CHECK((read_texts(log_of(site, "a")) == expected));
  require_ok(site->verify({}));
  require_ok(site->close());
}

// Fails the PUT of the n-th slot `times` times in that way.
SimStore::Script fail_nth(uint64_t nth, uint64_t times, const SimFate& fate) {
  auto slots = std::make_shared<std::map<std::string, uint64_t>>();
  return [=](const SimRequest& request) -> std::optional<SimFate> {
    if (!request.put("j/")) return std::nullopt;
    const uint64_t slot = slots->try_emplace(request.key, slots->size()).first->second;
    if (slot != nth || request.attempt >= times) return std::nullopt;
    return fate;
  };
}

// The same load with each of its PUTs failing in that way, one run after the other.
void each_put_fails(uint64_t times, const SimFate& fate) {
  for (uint64_t nth = 0; nth < 12; ++nth) {
    CAPTURE(nth);
    SimWorld world(nth + 1);
    Site site = world.open("writer", small_fragments());
    Log log = log_of(site, "a");
    site.store->script = fail_nth(nth, times, fate);
    Load load;
    load.append(log, 60);
    require_ok(site->flush({}));
    require_ok(site->close());
    CHECK(load.acknowledged.size() == 60);
    CHECK(load.refused == 0);
    check_stored(world, load.written);
  }
}
}  // namespace

TEST_CASE("D10 a PUT fails once, or many times, while later PUTs land") {
  each_put_fails(1, fate_lost_request());
  each_put_fails(7, fate_lost_request());
}

TEST_CASE("D10 a PUT fails for an hour while later PUTs land: nothing behind it is acknowledged") {
  SimWorld world(1);
  Site site = world.open("writer", small_fragments());
  Log log = log_of(site, "a");
  append_text(log, "first");
  bool healed = false;
  std::string stuck;
  site.store->script = [&](const SimRequest& request) -> std::optional<SimFate> {
    if (!request.put("j/")) return std::nullopt;
    if (stuck.empty()) stuck = request.key;
    if (request.key != stuck || healed) return std::nullopt;
    return fate_lost_request();
  };
  Load load;
  load.append(log, 60);
  world.sim.run_for(Duration{3'600'000});
  CHECK(load.acknowledged.empty());
  CHECK(log.info().lsn_durable == 1);
  CHECK(read_texts(log) == std::vector<std::string>{"first"});
  CHECK(site->stats().retries > 10);
  CHECK(site->stats().retries < 4'000);  // they grow slower
  CHECK_FALSE(site->stats().last_error.empty());
  CHECK(site->stats().backlog_age >= Duration{3'600'000});
  healed = true;
  require_ok(site->flush({}));
  require_ok(site->close());
  CHECK(load.acknowledged.size() == 60);
  auto expected = load.written;
  expected.insert(expected.begin(), "first");
  check_stored(world, expected);
}

TEST_CASE("D11 a PUT is applied and its answer lost: it is recognised as one's own") {
  each_put_fails(1, fate_lost_answer());
  each_put_fails(5, fate_lost_answer());
}

TEST_CASE("D12 a PUT is applied late, after its retry") {
  each_put_fails(1, fate_late(Duration{5'000}));
  each_put_fails(3, fate_late(Duration{90'000}));
}

TEST_CASE("D12 a PUT of a crashed owner that is applied after the next opening changes nothing") {
  for (const int64_t delay : {0, 30, 100, 500, 5'000, 600'000}) {
    CAPTURE(delay);
    SimWorld world(static_cast<uint64_t>(delay) + 1);
    Site old = world.open("old", small_fragments());
    Log a = log_of(old, "a");
    append_text(a, "stored");
    // From now on everything that it sends lies in the network.
    old.store->script = [&](const SimRequest& request) -> std::optional<SimFate> {
      if (!request.put("j/")) return std::nullopt;
      return fate_late(Duration{delay});
    };
    for (const std::string& text : texts("late ", 30)) {
      require_ok(a.append_async(as_bytes(text + noise(1, 1'000))).status());
    }
    world.sim.run_for(Duration{20});
    old->abandon();
    Site next = world.open("new");
    Log b = log_of(next, "a");
    auto expected = read_texts(b);
    CHECK(expected.front() == "stored");
    for (const std::string& text : texts("new ", 20)) {
      append_text(b, text);
      expected.push_back(text);
      world.sim.run_for(Duration{delay / 10});
    }
    world.sim.run_for(Duration{delay * 2});
    CHECK((read_texts(b) == expected));
    require_ok(next->close());
    check_stored(world, expected);
  }
}

TEST_CASE("D13 throttling, conflicts and passing failures, once and in bursts, are ridden out") {
  for (const Answer answer : {Answer::kThrottled, Answer::kConflict, Answer::kUnknown}) {
    CAPTURE(answer_name(answer));
    each_put_fails(1, fate_lost_request(answer));
    each_put_fails(6, fate_lost_request(answer));
  }
}

TEST_CASE("D13 a store that fails a third of everything still gets it all") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    Site site = world.open("writer", small_fragments(), nullptr, [](SimStore& store) {
      store.faults = SimFaults::some();
      store.faults.lost_request = store.faults.lost_answer = store.faults.throttled = 0.12;
    });
    require_ok(site.status);
    Log log = log_of(site, "a");
    Load load;
    load.append(log, 150);
    require_ok(site->flush({}));
    require_ok(site->close());
    CHECK(load.acknowledged.size() == 150);
    check_stored(world, load.written);
  }
}

TEST_CASE("D15 a request that hangs is answered at its deadline at the latest, for who set one") {
  SimWorld world(1);
  Site site = world.open("writer");
  Log log = log_of(site, "a");
  append_text(log, "1");
  site.store->script = [](const SimRequest& request) -> std::optional<SimFate> {
    if (!request.put("j/")) return std::nullopt;
    return SimFate{false, std::nullopt, {}, false};
  };
  AppendOptions options;
  options.timeout = Duration{500};
  const TimePoint begin = world.sim.now();
  CHECK_CODE(log.append(as_bytes("2"), options), Code::kTimeout);
  CHECK(world.sim.now() - begin <= std::chrono::milliseconds{600});
  CHECK_CODE(site->flush(Duration{500}), Code::kTimeout);
  site->abandon();
  check_stored(world, {"1"});
}

TEST_CASE("a refused permission keeps the data, tells callers with a deadline, and goes on after") {
  for (const Answer answer : {Answer::kDenied, Answer::kNoSpace}) {
    CAPTURE(answer_name(answer));
    const Code expected = answer == Answer::kDenied ? Code::kDenied : Code::kNoSpace;
    SimWorld world(3);
    Site site = world.open("writer");
    Log log = log_of(site, "a");
    append_text(log, "1");
    bool healed = false;
    site.store->script = [&](const SimRequest& request) -> std::optional<SimFate> {
      if (healed || !request.put("j/")) return std::nullopt;
      return fate_lost_request(answer);
    };
    AppendOptions options;
    options.timeout = Duration{60'000};
    CHECK_CODE(log.append(as_bytes("2"), options), expected);
    CHECK_FALSE(site->stats().last_error.empty());
    world.sim.run_for(Duration{600'000});
    healed = true;
    require_ok(site->flush({}));
    CHECK(append_text(log, "3") == 3);
    require_ok(site->close());
    check_stored(world, texts("", 3));
  }
}

TEST_CASE("D18 a store that is away when a root is opened is an error in time") {
  SimWorld world(1);
  Options options;
  options.open_timeout = Duration{5'000};
  const TimePoint begin = world.sim.now();
  Site site =
      world.open("writer", options, nullptr, [](SimStore& store) { store.faults.down = true; });
  CHECK_CODE(site.status, Code::kUnavailable);
  CHECK(world.sim.now() - begin <= std::chrono::seconds{6});
  CHECK(world.bucket->keys().empty());
  Site again = world.open("writer");
  require_ok(again.status);
  require_ok(again->close());
}

TEST_CASE("D18 a store that is away only for a moment does not fail an opening") {
  SimWorld world(1);
  {
    Site site = world.open("first");
    Log log = log_of(site, "a");
    append_text(log, "1");
    require_ok(site->close());
  }
  for (uint64_t failed = 0; failed < 12; ++failed) {
    CAPTURE(failed);
    Site site = world.open("writer", {}, nullptr, [&](SimStore& store) {
      store.script = [=](const SimRequest& request) -> std::optional<SimFate> {
        if (request.number != failed) return std::nullopt;
        return fate_lost_request();
      };
    });
    require_ok(site.status);
    CHECK(read_texts(log_of(site, "a")) == std::vector<std::string>{"1"});
    require_ok(site->close());
  }
}

TEST_CASE("D20 a store without what is needed is refused by name") {
  SimWorld world(1);
  Site site = world.open("writer", {}, nullptr, [](SimStore& store) {
    store.script = [](const SimRequest& request) -> std::optional<SimFate> {
      if (request.operation != Operation::kPut) return std::nullopt;
      return fate_lost_request(Answer::kUnsupported);
    };
  });
  CHECK_CODE(site.status, Code::kUnsupported);
}

TEST_CASE("D27 closing while the store is away is bounded and says what was not stored") {
  SimWorld world(1);
  Options options = small_fragments();
  options.close_timeout = Duration{7'000};
  Site site = world.open("writer", options);
  Log log = log_of(site, "a");
  append_text(log, "1");
  site.store->faults.down = true;
  Load load;
  load.append(log, 42);
  world.sim.run_for(Duration{100});
  const TimePoint begin = world.sim.now();
  const Status status = site->close();
  CHECK(world.sim.now() - begin <= std::chrono::milliseconds{8'000});
  CHECK_FALSE(status.ok());
  INFO(status.to_string());
  CHECK(status.message().find("42") != std::string::npos);
  // Everyone was told, and nothing of it is claimed.
  CHECK(load.acknowledged.empty());
  CHECK(load.refused == 42);
  CHECK_CODE(log.append(as_bytes("x")), Code::kClosed);
  check_stored(world, {"1"});
}

TEST_CASE("an append with a deadline ends at it, and its entry may still become durable") {
  SimWorld world(1);
  Site site = world.open("writer");
  Log log = log_of(site, "a");
  append_text(log, "1");
  site.store->faults.down = true;
  AppendOptions options;
  options.timeout = Duration{250};
  const TimePoint begin = world.sim.now();
  CHECK_CODE(log.append(as_bytes("2"), options), Code::kTimeout);
  CHECK(world.sim.now() - begin <= std::chrono::milliseconds{300});
  CHECK(log.info().lsn_last == 2);
  CHECK(log.info().lsn_durable == 1);
  site.store->faults.down = false;
  require_ok(site->flush({}));
  CHECK(log.info().lsn_durable == 2);
  CHECK(read_texts(log) == texts("", 2));
  require_ok(site->close());
}

TEST_CASE("a reader of what is not in RAM says kUnavailable while the store is away, and goes on") {
  SimWorld world(1);
  {
    Site site = world.open("first", small_fragments());
    Log log = log_of(site, "a");
    Load load;
    load.append(log, 60);
    require_ok(site->close());
  }
  Site site = world.open("second", small_fragments());
  Log log = log_of(site, "a");
  site.store->faults.down = true;
  auto reader = log.read();
  require_ok(reader.status());
  auto next = reader->next(Duration{30'000});
  CHECK((next.code() == Code::kUnavailable || next.code() == Code::kTimeout));
  site.store->faults.down = false;
  Lsn seen = 0;
  for (int tries = 0; seen < 60 && tries < 100; ++tries) {
    next = reader->next(Duration{30'000});
    if (!next.ok()) continue;
    REQUIRE(next->has_value());
    CHECK((*next)->lsn == ++seen);
  }
  CHECK(seen == 60);
  require_ok(site->close());
}

TEST_CASE("a wall clock that jumps back does not make times decrease") {
  SimWorld world(1);
  Site site = world.open("writer");
  Log log = log_of(site, "a");
  for (const int64_t jump :
       std::initializer_list<int64_t>{0, 3'600'000, -86'400'000, 1'000, -1'767'225'600'000}) {
    site.machine->jump(Duration{jump});
    append_text(log, "x");
    world.sim.run_for(Duration{1'000});
  }
  CHECK(read_entries(log).size() == 5);  // checks the order of times
  require_ok(site->close());
  Site again = world.open("writer");
  CHECK(read_entries(log_of(again, "a")).size() == 5);
}

}  // namespace wp
