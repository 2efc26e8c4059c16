// What things cost: requests, wake-ups, RAM. Virtual time makes a minute of idling cheap to watch.
#include <doctest/doctest.h>

#include "tests/test_root.h"

namespace wp {
namespace {

struct Costs {
  uint64_t puts, requests;
};

Costs costs_of(const Site& site) {
  return {site.store->count(Operation::kPut), site.store->requests()};
}

// A network without luck: every request takes a millisecond each way.
void plain(SimStore& store) {
  store.faults.latency_min = store.faults.latency_max = std::chrono::microseconds{1'000};
}

// Appends that are acknowledged, once a second, to each of `logs` logs, for a minute.
uint64_t puts_of_trickle(size_t logs) {
  SimWorld world(1);
  Site site = world.open("writer", {}, nullptr, [](SimStore& store) {
    plain(store);
    store.linger = Duration{200};
  });
  std::vector<Log> handles;
  for (size_t l = 0; l < logs; ++l) handles.push_back(log_of(site, "log" + std::to_string(l)));
  const uint64_t before = costs_of(site).puts;
  uint64_t acknowledged = 0;
  for (int second = 0; second < 60; ++second) {
    for (Log& log : handles) {
      const auto lsn = log.append_async(as_bytes("trickle"),
                                        [&](Result<Lsn> result) { acknowledged += result.ok(); });
      require_ok(lsn.status());
    }
    world.sim.run_for(Duration{1'000});
  }
  CHECK(acknowledged == 60 * logs);
  const uint64_t puts = costs_of(site).puts - before;
  require_ok(site->close());
  return puts;
}

}  // namespace

TEST_CASE("C28 an idle root makes no request, no write and no wake-up in an hour") {
  SimWorld world(2);
  auto view = std::make_shared<MemViewData>();
  Site site = world.open("writer", {}, view, plain);
  Log log = log_of(site, "a");
  for (const std::string& text : texts("", 10)) append_text(log, text);
  auto subscriber = log.subscribe();
  require_ok(subscriber.status());
  while (subscriber->position() <= 10) require_ok(subscriber->next().status());
  require_ok(site->flush({}));
  world.sim.run_for(Duration{60'000});  // what follows a write has come to its end

  const uint64_t events = world.sim.events();
  const uint64_t requests = site.store->requests();
  const uint64_t applied = view->times_applied();
  CHECK(world.sim.timed() == 0);
  world.sim.run_for(Duration{3'600'000});
  CHECK(world.sim.events() == events);
  CHECK(site.store->requests() == requests);
  CHECK(view->times_applied() == applied);
  require_ok(site->close());
}

TEST_CASE("C28 reading at the tail of an idle root makes no request") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("", 10)) append_text(log, text);
  auto reader = log.subscribe(From::latest());
  require_ok(reader.status());
  const uint64_t requests = requests_of(wal->stats());
  for (int i = 0; i < 10; ++i) require_ok(reader->next(Duration{1}).status());
  CHECK(log.info().lsn_durable == 10);
  CHECK(wal->info().logs == 1);
  CHECK(requests_of(wal->stats()) == requests);
}

TEST_CASE("C28 a subscriber at the tail gets new entries from RAM, without a request") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "0");
  auto reader = log.subscribe(From::latest());
  require_ok(reader.status());
  for (const std::string& text : texts("", 50)) {
    append_text(log, text);
    const auto next = reader->next(Duration{60'000});
    require_ok(next.status());
    REQUIRE(next->has_value());
    CHECK((*next)->text() == text);
  }
  CHECK(requests_of(wal->stats(), "get", "read") == 0);
  CHECK(requests_of(wal->stats(), "list", "read") == 0);
}

TEST_CASE("D01 ten thousand idle logs cost what one costs") {
  const auto costs = [](size_t logs) {
    SimWorld world(3);
    {
      Site site = world.open("first", {}, nullptr, plain);
      for (size_t l = 0; l < logs; ++l) {
        Log log = log_of(site, "log" + std::to_string(l));
        require_ok(log.append_async(as_bytes("x")).status());
      }
      require_ok(site->flush({}));
      require_ok(site->close());
    }
    Site site = world.open("second", {}, nullptr, plain);
    const uint64_t opening = site.store->requests();
    Log log = log_of(site, "log0");
    append_text(log, "y");
    world.sim.run_for(Duration{60'000});
    const uint64_t events = world.sim.events();
    const uint64_t requests = site.store->requests();
    world.sim.run_for(Duration{600'000});
    CHECK(site.store->requests() == requests);
    CHECK(world.sim.events() == events);
    require_ok(site->close());
    return std::pair{opening, site.store->requests()};
  };
  const auto one = costs(1);
  const auto many = costs(10'000);
  CHECK(many.first <= one.first + 4);  // a larger fragment or two
  CHECK(many.second <= one.second + 8);
}

TEST_CASE("D02 a lone durable append is exactly one PUT and no other request") {
  SimWorld world(4);
  Site site = world.open("writer", {}, nullptr, [](SimStore& store) {
    plain(store);
    store.linger = Duration{200};  // a durable append does not wait for it
  });
  Log log = log_of(site, "a");
  append_text(log, "first");
  for (int i = 0; i < 20; ++i) {
    const Costs before = costs_of(site);
    const TimePoint begin = world.sim.now();
    append_text(log, "lone");
    CHECK(world.sim.now() - begin < std::chrono::milliseconds{20});
    CHECK(costs_of(site).puts == before.puts + 1);
    CHECK(costs_of(site).requests == before.requests + 1);
    world.sim.run_for(Duration{5'000});
    CHECK(costs_of(site).requests == before.requests + 1);
  }
  require_ok(site->close());
}

TEST_CASE("D02 on real roots too") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "first");
  for (int i = 0; i < 20; ++i) {
    const uint64_t before = requests_of(wal->stats());
    append_text(log, "lone");
    CHECK(requests_of(wal->stats()) == before + 1);
  }
}

TEST_CASE("D02 a crowd of durable appends shares PUTs") {
  SimWorld world(5);
  Site site = world.open("writer", {}, nullptr, plain);
  log_of(site, "a");
  require_ok(site->flush({}));
  const Costs before = costs_of(site);
  for (int a = 0; a < 32; ++a) {
    world.sim.spawn(site.machine, "appender" + std::to_string(a), [&] {
      Log log = log_of(site, "a");
      for (int i = 0; i < 10; ++i) CHECK(log.append(as_bytes("crowd")).ok());
    });
  }
  world.sim.run_actors();
  // Each waits for its own: at most two fragments for each of the ten rounds, not 320.
  CHECK(costs_of(site).puts - before.puts <= 40);
  CHECK(read_entries(log_of(site, "a")).size() == 320);
  require_ok(site->close());
}

TEST_CASE("D03 a thousand logs, each appending once a second, cost the PUTs of one log") {
  const uint64_t one = puts_of_trickle(1);
  const uint64_t many = puts_of_trickle(1'000);
  CHECK(one <= 62);
  CHECK(many <= one + 2);
}

TEST_CASE("D04 RAM stays within 1.25 x the budget with the store down and a fast producer") {
  SimWorld world(6);
  Options options;
  options.ram_bytes_max = 8u << 20;
  options.fragment_bytes_max = 1u << 20;
  options.at_limit = AtLimit::kBusy;
  Site site = world.open("writer", options, nullptr, plain);
  Log log = log_of(site, "a");
  append_text(log, "first");
  site.store->faults.down = true;
  const std::string payload = noise(1, 10'000);
  uint64_t taken = 0, busy = 0, acknowledged = 0;
  for (int i = 0; i < 4'000; ++i) {
    const auto lsn = log.append_async(as_bytes(payload),
                                      [&](Result<Lsn> result) { acknowledged += result.ok(); });
    if (lsn.ok()) {
      CHECK(*lsn == ++taken + 1);
    } else {
      CHECK_CODE(lsn, Code::kBusy);
      ++busy;
    }
    if (i % 8 == 0) world.sim.run_for(Duration{50});
    CHECK(site->stats().ram_bytes <= 10u << 20);
  }
  CHECK(busy > 0);
  CHECK(taken > 100);  // most of the budget is of use
  CHECK(acknowledged == 0);
  CHECK(site->stats().ram_bytes_peak <= 10u << 20);

  // An hour away loses nothing and grows nothing.
  world.sim.run_for(Duration{3'600'000});
  CHECK(site->stats().ram_bytes_peak <= 10u << 20);
  CHECK(site->stats().backlog_age >= Duration{3'600'000});
  site.store->faults.down = false;
  require_ok(site->flush({}));
  CHECK(read_entries(log).size() == taken + 1);
  CHECK(site->stats().ram_bytes_peak <= 10u << 20);
  require_ok(site->close());
  CHECK(acknowledged == taken);
}

TEST_CASE("D04 what was stored and read holds no RAM but the cache's") {
  SimWorld world(10);
  Options options;
  options.fragment_bytes_max = 16u << 10;
  options.block_bytes = 4u << 10;
  Site site = world.open("writer", options, nullptr, plain);
  for (int i = 0; i < 2'000; ++i) {
    Log log = log_of(site, "log" + std::to_string(i % 3));
    require_ok(log.append_async(as_bytes(noise(static_cast<uint64_t>(i), 100)), [](Result<Lsn>) {})
                   .status());
  }
  require_ok(site->flush({}));
  for (int l = 0; l < 3; ++l) read_entries(log_of(site, "log" + std::to_string(l)));
  world.sim.run_for(Duration{60'000});
  const Stats stats = site->stats();
  CHECK(stats.ram_gathering == 0);
  CHECK(stats.ram_uploading == 0);
  CHECK(stats.ram_reading == 0);
  CHECK(stats.ram_index == 0);
  CHECK(stats.ram_bytes == stats.ram_cache);
  require_ok(site->close());
}

TEST_CASE("D04 a producer that blocks at the limit goes on when the store is back") {
  SimWorld world(7);
  Options options;
  options.ram_bytes_max = 4u << 20;
  options.fragment_bytes_max = 256u << 10;
  Site site = world.open("writer", options, nullptr, plain);
  site.store->faults.down = true;
  const std::string payload = noise(2, 50'000);
  world.sim.spawn(site.machine, "producer", [&] {
    Log log = log_of(site, "a");
    for (Lsn i = 1; i <= 400; ++i) {
      const auto lsn = log.append_async(as_bytes(payload));
      CHECK(lsn.ok());
    }
    AppendOptions hasty;
    hasty.timeout = Duration{1'000'000};
    CHECK(log.append(as_bytes("end"), hasty).ok());
  });
  world.sim.run_for(Duration{60'000});
  CHECK(world.sim.actors_left() == 1);
  CHECK(site->stats().ram_bytes_peak <= 5u << 20);
  site.store->faults.down = false;
  world.sim.run_actors();
  CHECK(site->stats().ram_bytes_peak <= 5u << 20);
  CHECK(read_entries(log_of(site, "a")).size() == 401);
  require_ok(site->close());
}

TEST_CASE("D04 opening a root whose journal is far larger than the budget stays within it") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 1u << 20;
  constexpr Lsn kCount = 600;
  {
    const auto wal = root.open(options);
    Log log = log_of(*wal, "a");
    for (Lsn i = 1; i <= kCount; ++i) {
      require_ok(log.append_async(as_bytes(noise(i, 100'000))).status());
    }
    require_ok(wal->flush());
    wal->abandon();
  }
  root.forget_view();
  options.ram_bytes_max = 8u << 20;
  const auto wal = root.open(options);
  const Log log = log_of(*wal, "a");
  auto reader = log.read();
  require_ok(reader.status());
  Lsn seen = 0;
  for (;;) {
    const auto next = reader->next();
    require_ok(next.status());
    if (!next->has_value()) break;
    ++seen;
  }
  CHECK(seen == kCount);
  CHECK(wal->stats().ram_bytes_peak <= 10u << 20);
}

TEST_CASE("requests cost what the options say they do") {
  SimWorld world(9);
  Options options;
  options.dollars_per_1000_puts = 1'000;
  options.dollars_per_1000_gets = 0;
  Site site = world.open("writer", options, nullptr, plain);
  Log log = log_of(site, "a");
  const double before = site->stats().dollars;
  append_text(log, "one PUT");
  CHECK(site->stats().dollars == doctest::Approx(before + 1));
  require_ok(site->close());
}

TEST_CASE("a budget of PUTs per second holds everyone") {
  SimWorld world(8);
  Options options;
  options.puts_per_second_max = 0.5;
  Site site = world.open("writer", options, nullptr, plain);
  Log log = log_of(site, "a");
  const TimePoint begin = world.sim.now();
  const Costs before = costs_of(site);
  for (int i = 0; i < 20; ++i) append_text(log, "thrifty");
  const auto seconds = std::chrono::duration<double>(world.sim.now() - begin).count();
  CHECK(static_cast<double>(costs_of(site).puts - before.puts) <= 0.5 * seconds + 3);
  CHECK(seconds >= 30);
  require_ok(site->close());
}

}  // namespace wp
