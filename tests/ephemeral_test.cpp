// Entries that are published and stored nowhere: when a subscriber sees them, what they cost, and
// what becomes of them where nobody reads.
#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <thread>

#include "tests/test_root.h"

namespace wp {
namespace {

constexpr Duration kLong{60'000};

Reader subscribed(const Log& log, From from = From::first()) {
  auto reader = log.subscribe(from);
  require_ok(reader.status());
  return std::move(reader).value();
}

// What there is now; "text" of stored entries, "text*" of others.
std::vector<std::string> drained(Reader& reader, size_t batch = 0) {
  std::vector<std::string> seen;
  const auto see = [&](const Entry& entry) {
    seen.push_back(std::string(entry.text()) + (entry.stored ? "" : "*"));
  };
  for (;;) {
    if (batch == 0) {
      const auto next = reader.next();
      require_ok(next.status());
      if (!next->has_value()) return seen;
      see(**next);
    } else {
      const auto next = reader.next_batch(batch);
      require_ok(next.status());
      if (next->empty()) return seen;
      for (const Entry& entry : *next) see(entry);
    }
  }
}

void publish(Log& log, std::string_view text) {
  require_ok(log.publish(as_bytes(text)));
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("what is published reaches a subscriber between what was appended before and after") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  Reader one = subscribed(log), batch = subscribed(log), late = subscribed(log, From::latest());
  publish(log, "a");
  append_text(log, "2");
  append_text(log, "3");
  publish(log, "b");
  publish(log, "c");
  append_text(log, "4");
  publish(log, "d");
  const Texts all = {"1", "a*", "2", "3", "b*", "c*", "4", "d*"};
  CHECK(drained(one) == all);
  CHECK(drained(batch, 100) == all);
  CHECK(drained(late, 2) == Texts(all.begin() + 1, all.end()));
  CHECK(read_texts(log) == Texts{"1", "2", "3", "4"});
  Reader made_later = subscribed(log);
  CHECK(drained(made_later) == Texts{"1", "2", "3", "4"});
}

TEST_CASE("a published entry has the LSN before it, its time, and its properties") {
  const TestRoot root(RootKind::kMemory);
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  Reader reader = subscribed(log);
  const Property properties[] = {{"host", "web1"}, {"empty", ""}};
  require_ok(log.publish(as_bytes("first"), properties));
  append_text(log, "1");
  require_ok(log.publish({}));
  auto got = reader.next_batch(10);
  require_ok(got.status());
  REQUIRE(got->size() == 3);
  CHECK((*got)[0].lsn == 0);
  CHECK_FALSE((*got)[0].stored);
  CHECK((*got)[0].text() == "first");
  CHECK((*got)[0].property("host") == "web1");
  CHECK((*got)[0].properties().size() == 2);
  CHECK((*got)[1].lsn == 1);
  CHECK((*got)[1].stored);
  CHECK((*got)[1].properties().empty());
  CHECK((*got)[2].lsn == 1);
  CHECK_FALSE((*got)[2].stored);
  CHECK((*got)[2].payload.empty());
  CHECK((*got)[0].time_ms > 0);
  CHECK((*got)[1].time_ms >= (*got)[0].time_ms);
  CHECK((*got)[2].time_ms >= (*got)[1].time_ms);
  CHECK(reader.position() == 2);
  // An Entry that held something published may be given something stored.
  append_text(log, "2");
  got = reader.next_batch(10);
  require_ok(got.status());
  REQUIRE(got->size() == 1);
  CHECK((*got)[0].stored);
}

TEST_CASE("publishing asks nothing of the store, writes nothing, and wakes nobody else") {
  SimWorld world(1);
  Site site = world.open("a");
  Log log = log_of(site, "a");
  append_text(log, "1");
  Reader reader = subscribed(log);
  CHECK(drained(reader) == Texts{"1"});
  const auto keys = world.bucket->keys();
  world.sim.run_until_idle();
  const uint64_t requests = site.store->requests(), events = world.sim.events();
  for (int i = 0; i < 500; ++i) publish(log, "x");
  CHECK(world.sim.timed() == 0);
  CHECK(world.sim.events() == events);
  CHECK(drained(reader, 64).size() == 500);
  world.sim.run_until_idle();
  require_ok(site->flush({}));
  CHECK(site.store->requests() == requests);
  CHECK(world.bucket->keys() == keys);
  const Stats stats = site->stats();
  CHECK(stats.ephemeral_published == 500);
  CHECK(stats.ephemeral_delivered == 500);
  CHECK(stats.ephemeral_dropped == 0);
  CHECK(stats.entries_appended == 1);
  require_ok(site->close());
}

TEST_CASE("what is published waits until what was appended before it is durable") {
  SimWorld world(2);
  Site site = world.open("a");
  Log log = log_of(site, "a");
  Reader from_first = subscribed(log);
  site.store->faults.down = true;
  require_ok(log.append_async(as_bytes("1")).status());
  require_ok(log.append_async(as_bytes("2")).status());
  Reader behind = subscribed(log, From::after(2));  // of what is not durable yet
  publish(log, "a");
  require_ok(log.append_async(as_bytes("3")).status());
  publish(log, "b");
  world.sim.run_for(Duration{1'000});
  CHECK(drained(from_first).empty());
  CHECK(drained(behind, 10).empty());
  const auto nothing = from_first.next(Duration{500});
  require_ok(nothing.status());
  CHECK_FALSE(nothing->has_value());
  site.store->faults.down = false;
  require_ok(site->flush({}));
  CHECK(drained(from_first) == Texts{"1", "2", "a*", "3", "b*"});
  CHECK(drained(behind, 10) == Texts{"a*", "3", "b*"});
  require_ok(site->close());
}

TEST_CASE("what is published before anything was appended is delivered at once") {
  SimWorld world(3);
  Site site = world.open("a");
  Log log = log_of(site, "a");
  Reader reader = subscribed(log);
  publish(log, "a");
  CHECK(drained(reader) == Texts{"a*"});
  CHECK(site->stats().ephemeral_delivered == 1);
  require_ok(site->close());
}

TEST_CASE("a subscriber that waits is woken by what is published") {
  SimWorld world(4);
  Site site = world.open("a");
  Log log = log_of(site, "a");
  append_text(log, "1");
  TimePoint got{};
  world.sim.spawn(site.machine, "subscriber", [&] {
    Reader reader = subscribed(log, From::latest());
    const auto next = reader.next(kLong);
    require_ok(next.status());
    REQUIRE(next->has_value());
    CHECK((*next)->text() == "a");
    got = world.sim.now();
  });
  world.sim.run_for(Duration{1'000});
  const TimePoint published = world.sim.now();
  publish(log, "a");
  world.sim.run_actors();
  CHECK(got == published);
  require_ok(site->close());
}

TEST_CASE(
    "of what a subscriber does not read the newest thousand are kept, and drops are counted") {
  const TestRoot root(RootKind::kMemory);
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  Reader slow = subscribed(log), quick = subscribed(log);
  const uint64_t ram = wal->stats().ram_bytes;
  for (int i = 1; i <= 1'300; ++i) {
    publish(log, std::to_string(i));
    if (i % 100 == 0) CHECK(drained(quick).size() == 100);
  }
  Stats stats = wal->stats();
  CHECK(stats.ephemeral_published == 1'300);
  CHECK(stats.ephemeral_dropped == 300);
  CHECK(stats.ephemeral_delivered == 1'300);
  CHECK(stats.ram_ephemeral > 0);
  CHECK(stats.ram_bytes - ram == stats.ram_ephemeral);
  const Texts got = drained(slow, 64);
  REQUIRE(got.size() == 1'000);
  CHECK(got.front() == "301*");
  CHECK(got.back() == "1300*");
  stats = wal->stats();
  CHECK(stats.ram_ephemeral == 0);
  CHECK(stats.ephemeral_delivered == 2'300);
}

TEST_CASE("what waits for subscribers is bounded in bytes, of each and of all, and shared") {
  const TestRoot root(RootKind::kMemory);
  Options options = root.options();
  options.fragment_bytes_max = 1u << 20;
  options.ram_bytes_max = 64u << 20;  // 1 MiB for a subscriber, 2 MiB for all
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  const std::string text(100u << 10, 'x');
  std::deque<Reader> readers;
  for (int i = 0; i < 50; ++i) readers.push_back(subscribed(log));
  for (int i = 0; i < 8; ++i) publish(log, text);
  Stats stats = wal->stats();
  CHECK(stats.ephemeral_dropped == 0);
  CHECK(stats.ram_ephemeral < 9 * text.size());  // once, and not for each
  for (int i = 0; i < 100; ++i) publish(log, text);
  stats = wal->stats();
  CHECK(stats.ram_ephemeral <= 1u << 20);
  CHECK(stats.ephemeral_dropped == 50u * (108 - 10));
  // Other logs have the other MiB, and no more.
  std::deque<Log> others;
  for (int i = 0; i < 5; ++i) {
    others.push_back(log_of(*wal, "b" + std::to_string(i)));
    readers.push_back(subscribed(others.back()));
    for (int k = 0; k < 30; ++k) publish(others.back(), text);
    CHECK(wal->stats().ram_ephemeral <= 2u << 20);
  }
  CHECK(drained(readers.front()).size() == 10);
  CHECK(drained(readers.back()).size() <= 10);
  readers.clear();
  CHECK(wal->stats().ram_ephemeral == 0);
  publish(log, text);  // nobody is left
  CHECK(wal->stats().ram_ephemeral == 0);
}

TEST_CASE("seek forgets what lies before its place, and keeps what lies behind it") {
  const TestRoot root(RootKind::kMemory);
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  Reader reader = subscribed(log);
  publish(log, "a");
  append_text(log, "1");
  publish(log, "b");
  append_text(log, "2");
  publish(log, "c");
  append_text(log, "3");
  publish(log, "d");
  require_ok(reader.seek(From::at(2)));
  CHECK(drained(reader) == Texts{"b*", "2", "c*", "3", "d*"});
  publish(log, "e");
  require_ok(reader.seek(From::at(3)));
  CHECK(drained(reader) == Texts{"3", "e*"});
  publish(log, "f");
  CHECK_CODE(reader.seek(From::at(9)), Code::kInvalid);
  CHECK(drained(reader) == Texts{"f*"});
  publish(log, "g");
  append_text(log, "4");
  require_ok(reader.seek(From::latest()));
  CHECK(drained(reader).empty());
  CHECK(wal->stats().ram_ephemeral == 0);
  // Looking for a time takes none of them.
  publish(log, "h");
  require_ok(reader.seek(From::time(1)));
  CHECK(drained(reader) == Texts{"1", "2", "3", "4", "h*"});
}

TEST_CASE("what was published among entries that are truncated meanwhile is still delivered") {
  const TestRoot root(RootKind::kMemory);
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  Reader reader = subscribed(log);
  append_text(log, "1");
  publish(log, "a");
  append_text(log, "2");
  append_text(log, "3");
  require_ok(log.truncate(2));
  CHECK_CODE(reader.next(), Code::kTruncated);
  CHECK(drained(reader) == Texts{"a*", "3"});
}

TEST_CASE("publish fails as append does") {
  const TestRoot root(RootKind::kDirectory);
  Options options = root.options();
  options.entry_bytes_max = 1'000;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  CHECK_CODE(log.publish(as_bytes(std::string(1'001, 'x'))), Code::kInvalid);
  const std::string value(999, 'v');
  const Property property[] = {{"k", value}};
  CHECK_CODE(log.publish(as_bytes("xx"), property), Code::kInvalid);
  require_ok(log.publish(as_bytes(std::string(1'000, 'x'))));
  CHECK(wal->stats().ephemeral_published == 1);

  Log gone = log_of(*wal, "gone");
  require_ok(wal->drop("gone"));
  CHECK_CODE(gone.publish(as_bytes("x")), Code::kDropped);
  require_ok(wal->close());
  CHECK_CODE(log.publish(as_bytes("x")), Code::kClosed);
  options.read_only = true;
  const auto reading = root.open(options);
  auto found = reading->find("a");
  require_ok(found.status());
  CHECK_CODE(found->publish(as_bytes("x")), Code::kReadOnly);
}

TEST_CASE("what is larger than a subscriber's share of RAM cannot be published") {
  const TestRoot root(RootKind::kMemory);
  Options options = root.options();
  options.fragment_bytes_max = 1u << 20;
  options.ram_bytes_max = 64u << 20;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  CHECK_CODE(log.publish(as_bytes(std::string(1u << 20, 'x'))), Code::kInvalid);
  Reader reader = subscribed(log);
  require_ok(log.publish(as_bytes(std::string((1u << 20) - 500, 'x'))));
  CHECK(drained(reader).size() == 1);
}

TEST_CASE("a fenced writer publishes nothing more") {
  SimWorld world(5);
  Site old = world.open("old");
  Log log = log_of(old, "a");
  append_text(log, "1");
  Site young = world.open("young");
  CHECK_CODE(log.append(as_bytes("2")), Code::kFenced);
  CHECK_CODE(log.publish(as_bytes("x")), Code::kFenced);
  old.engine->abandon();
  require_ok(young->close());
}

TEST_CASE("a published entry may be published from a callback, and outlives the root") {
  const TestRoot root(RootKind::kMemory);
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  std::optional<Entry> kept;
  {
    Reader reader = subscribed(log);
    Status told(Code::kInternal, "not called");
    require_ok(
        log.append_async(as_bytes("1"),
                         [&](Result<Lsn>) { told = log.publish(as_bytes("from a callback")); })
            .status());
    for (int i = 0; i < 2; ++i) {
      auto next = reader.next(kLong);
      require_ok(next.status());
      REQUIRE(next->has_value());
      kept = **next;
    }
    require_ok(wal->flush());
    require_ok(wal->close());
    require_ok(told);
    CHECK_CODE(reader.next(), Code::kClosed);
  }
  wal.reset();
  CHECK_FALSE(kept->stored);
  CHECK(kept->text() == "from a callback");
}

// The order of the calls is the order of what any subscriber sees, however it reads.
TEST_CASE("any mixture of appends and published entries is seen in its order") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    SimRandom random(seed);
    Options options;
    options.fragment_bytes_max = 4u << 10;
    options.block_bytes = 1u << 10;
    Site site = world.open("a", options);
    Log log = log_of(site, "a");
    struct Subscriber {
      Reader reader;
      Texts expected;
    };
    std::vector<Subscriber> subscribers;
    Texts stored;
    const auto read_some = [&](Subscriber& subscriber) {
      const Texts got = drained(subscriber.reader, random.below(6));
      REQUIRE(got.size() <= subscriber.expected.size());
      CHECK(std::equal(got.begin(), got.end(), subscriber.expected.begin()));
      subscriber.expected.erase(subscriber.expected.begin(),
                                subscriber.expected.begin() + static_cast<ptrdiff_t>(got.size()));
    };
    for (int i = 0; i < 300; ++i) {
      const std::string text = std::to_string(i) + std::string(random.below(200), 'x');
      const uint64_t what = random.below(20);
      if (what < 9) {
        require_ok(log.append_async(as_bytes(text)).status());
        stored.push_back(text);
        for (Subscriber& each : subscribers) each.expected.push_back(text);
      } else if (what < 15) {
        publish(log, text);
        for (Subscriber& each : subscribers) each.expected.push_back(text + "*");
      } else if (what == 15) {
        require_ok(site->flush({}));
      } else if (what == 16) {
        world.sim.run_for(Duration{static_cast<int64_t>(random.below(10))});
      } else if (what == 17 && subscribers.size() < 6) {
        const Lsn from = random.between(1, stored.size() + 1);
        subscribers.push_back(
            {subscribed(log, From::at(from)),
             Texts(stored.begin() + static_cast<ptrdiff_t>(from - 1), stored.end())});
      } else if (!subscribers.empty()) {
        read_some(subscribers[random.below(subscribers.size())]);
      }
    }
    require_ok(site->flush({}));
    for (Subscriber& each : subscribers) {
      read_some(each);
      CHECK(each.expected.empty());
    }
    CHECK(read_texts(log) == stored);
    subscribers.clear();
    CHECK(site->stats().ram_ephemeral == 0);
    require_ok(site->close());
  }
}

TEST_CASE("threads that publish, append and read see one order, and miss nothing") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 4u << 10;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  constexpr int kCount = 3'000;
  std::vector<std::thread> threads;
  std::atomic<int> ready{0};
  for (int r = 0; r < 4; ++r) {
    threads.emplace_back([&, r] {
      auto reader = log.subscribe();
      ++ready;
      CHECK(reader.ok());
      for (int expected = 1; expected <= kCount;) {
        const auto got = reader->next_batch(r % 2 == 0 ? 1 : 50, kLong);
        CHECK(got.ok());
        if (!got.ok() || got->empty()) return;
        for (const Entry& entry : *got) {
          CHECK(entry.text() == std::to_string(expected));
          CHECK(entry.stored == (expected % 5 != 0));
          ++expected;
        }
      }
    });
  }
  while (ready < 4) std::this_thread::yield();
  std::thread come_and_go([&] {
    for (int i = 0; i < 200; ++i) {
      auto reader = log.subscribe(From::latest());
      CHECK(reader.ok());
      (void)reader->next(Duration{1});
    }
  });
  for (int i = 1; i <= kCount; ++i) {
    const std::string text = std::to_string(i);
    if (i % 5 == 0) {
      require_ok(log.publish(as_bytes(text)));
    } else {
      require_ok(log.append_async(as_bytes(text)).status());
    }
  }
  require_ok(wal->flush());
  for (auto& thread : threads) thread.join();
  come_and_go.join();
  CHECK(wal->stats().ephemeral_published == kCount / 5);
  CHECK(wal->stats().ram_ephemeral == 0);
}

}  // namespace wp
