// Writing and reading back, on every kind of root: numbers, order, acknowledgements, sizes.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/test_root.h"

namespace wp {
namespace {

// What the callbacks of one log were told, in the order of their running.
struct Acks {
  Mutex mutex;
  std::vector<Lsn> lsns WP_GUARDED_BY(mutex);
  std::vector<Status> errors WP_GUARDED_BY(mutex);

  Done done() {
    return [this](Result<Lsn> result) {
      MutexLock lock(mutex);
      if (result.ok()) {
        lsns.push_back(*result);
      } else {
        errors.push_back(result.status());
      }
    };
  }
  std::vector<Lsn> acknowledged() {
    MutexLock lock(mutex);
    return lsns;
  }
  size_t refused() {
    MutexLock lock(mutex);
    return errors.size();
  }
};

std::vector<Lsn> lsns_to(Lsn last) {
  std::vector<Lsn> lsns;
  for (Lsn lsn = 1; lsn <= last; ++lsn) lsns.push_back(lsn);
  return lsns;
}

constexpr Duration kLong{60'000};

}  // namespace

TEST_CASE("C01 sequential appends get LSNs 1, 2, 3 and a full read returns them all") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  const auto written = texts("entry ", 40);
  for (size_t i = 0; i < written.size(); ++i) CHECK(append_text(log, written[i]) == i + 1);

  CHECK(read_texts(log) == written);
  for (const Lsn from : {Lsn{1}, Lsn{2}, Lsn{17}, Lsn{40}}) {
    const std::vector<std::string> rest(written.begin() + static_cast<ptrdiff_t>(from - 1),
                                        written.end());
    CHECK(read_texts(log, From::at(from)) == rest);
    const auto entries = read_entries(log, From::at(from));
    REQUIRE_FALSE(entries.empty());
    CHECK(entries.front().lsn == from);
  }
  CHECK(read_texts(log, From::after(40)).empty());
  CHECK(read_texts(log, From::latest()).empty());
  const LogInfo info = log.info();
  CHECK(info.lsn_first == 1);
  CHECK(info.lsn_durable == 40);
  CHECK(info.lsn_last == 40);
  CHECK(info.entries() == 40);
  CHECK(info.time_first_ms <= info.time_last_ms);
}

TEST_CASE("C02 of a burst of asynchronous appends every done runs exactly once, in LSN order") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  Acks acks;
  constexpr Lsn kCount = 5000;
  for (Lsn i = 1; i <= kCount; ++i) {
    const auto lsn = log.append_async(as_bytes("x" + std::to_string(i)), acks.done());
    require_ok(lsn.status());
    CHECK(*lsn == i);
  }
  require_ok(wal->flush());
  // flush() says that it is durable; the callbacks may still be on their way until close().
  require_ok(wal->close());
  CHECK(acks.acknowledged() == lsns_to(kCount));
  CHECK(acks.refused() == 0);
}

TEST_CASE("C02 done runs in LSN order within each log when many threads append to many logs") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  constexpr size_t kThreads = 4, kLogs = 3;
  constexpr Lsn kEach = 400;
  Acks acks[kLogs];
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (Lsn i = 0; i < kEach; ++i) {
        for (size_t l = 0; l < kLogs; ++l) {
          Log log = log_of(*wal, "log" + std::to_string(l));
          CHECK(log.append_async(as_bytes("some text"), acks[l].done()).ok());
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  require_ok(wal->close());
  for (Acks& each : acks) CHECK(each.acknowledged() == lsns_to(kThreads * kEach));
}

TEST_CASE("C02 a callback runs with no lock held and may append again") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  std::atomic<int> second{0};
  const auto first = log.append_async(as_bytes("one"), [&](Result<Lsn> result) {
    CHECK(result.ok());
    Log again = log_of(*wal, "b");
    const auto lsn = again.append_async(as_bytes("two"), [&](Result<Lsn>) { ++second; });
    CHECK(lsn.ok());
    // A call that would wait for the very thread it runs on is refused, and does not hang.
    CHECK_FALSE(again.append(as_bytes("three")).ok());
    CHECK_FALSE(wal->flush().ok());
  });
  require_ok(first.status());
  require_ok(wal->flush());
  require_ok(wal->flush());
  require_ok(wal->close());
  CHECK(second == 1);
}

TEST_CASE("C03 a subscriber at the tail times out with an answer that is no error, then gets all") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "before");
  auto reader = log.subscribe(From::latest());
  require_ok(reader.status());
  const auto nothing = reader->next(Duration{5});
  require_ok(nothing.status());
  CHECK_FALSE(nothing->has_value());

  const auto written = texts("later ", 200);
  std::thread writer([&] {
    for (const std::string& text : written) CHECK(log.append_async(as_bytes(text)).ok());
    CHECK(wal->flush().ok());
  });
  std::vector<std::string> got;
  while (got.size() < written.size()) {
    const auto next = reader->next(kLong);
    require_ok(next.status());
    REQUIRE(next->has_value());
    CHECK((*next)->lsn == got.size() + 2);
    got.emplace_back((*next)->text());
  }
  writer.join();
  CHECK(got == written);
}

TEST_CASE("C04 a subscriber that caught up gives nothing at its deadline, again and again") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "only");
  auto reader = log.subscribe();
  require_ok(reader.status());
  auto next = reader->next(kLong);
  require_ok(next.status());
  REQUIRE(next->has_value());
  for (int i = 0; i < 3; ++i) {
    next = reader->next(Duration{2});
    require_ok(next.status());
    CHECK_FALSE(next->has_value());
  }
  CHECK(reader->position() == 2);
  next = reader->next();  // without waiting at all
  require_ok(next.status());
  CHECK_FALSE(next->has_value());
}

TEST_CASE("C33 payloads of 1 B to 64 MiB come back byte for byte") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  const std::vector<size_t> sizes = {
      1, 2, 255, 256, 4095, 4097, 65'536, 1'000'003, (8u << 20) + 1, 64u << 20};
  for (size_t i = 0; i < sizes.size(); ++i) {
    // The largest is text that repeats, so that both kinds are seen.
    const std::string payload = i % 3 == 0 ? std::string(sizes[i], 'z') : noise(i, sizes[i]);
    CHECK(append_text(log, payload) == i + 1);
  }
  const auto check = [&](const Log& from) {
    const auto entries = read_entries(from);
    REQUIRE(entries.size() == sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) {
      const std::string payload = i % 3 == 0 ? std::string(sizes[i], 'z') : noise(i, sizes[i]);
      CHECK((entries[i].text() == payload));
    }
  };
  check(log);
  require_ok(wal->close());
  const auto again = root.open();
  check(log_of(*again, "a"));
}

TEST_CASE("C35 an entry larger than a block, and larger than a fragment, works") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 16u << 10;
  options.block_bytes = 1u << 10;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  std::vector<std::string> written;
  for (const size_t size : {10u, 3000u, 40'000u, 200'000u, 1u, 1'000'000u, 5u}) {
    written.push_back(noise(size, size));
    append_text(log, written.back());
  }
  CHECK(read_texts(log) == written);
  require_ok(wal->close());
  const auto again = root.open(options);
  CHECK(read_texts(log_of(*again, "a")) == written);
}

TEST_CASE("C38 an empty payload with properties is fine, and properties come back") {
  const TestRoot root(each_root());
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  const std::string binary("\0\xff\n", 3);
  const Property properties[] = {{"kind", "heartbeat"}, {"", ""}, {"kind", "twice"}, {"b", binary}};
  AppendOptions options;
  options.properties = properties;
  require_ok(log.append(as_bytes(""), options).status());
  require_ok(log.append(as_bytes("plain")).status());
  require_ok(log.append(as_bytes("")).status());
  require_ok(wal->close());
  wal = root.open();
  const auto entries = read_entries(log_of(*wal, "a"));
  REQUIRE(entries.size() == 3);
  CHECK(entries[0].payload.empty());
  const auto got = entries[0].properties();
  REQUIRE(got.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(got[i].key == properties[i].key);
    CHECK(got[i].value == properties[i].value);
  }
  CHECK(entries[0].property("b") == std::optional<std::string_view>(binary));
  CHECK(entries[0].property("kind") == std::optional<std::string_view>("heartbeat"));
  CHECK_FALSE(entries[0].property("none").has_value());
  CHECK(entries[1].properties().empty());
  CHECK(entries[1].text() == "plain");
  CHECK(entries[2].payload.empty());
}

TEST_CASE("C29 a batch is all or nothing, with consecutive LSNs") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.entry_bytes_max = 10'000;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  append_text(log, "first");

  const auto written = texts("batch ", 100);
  std::vector<Bytes> batch;
  for (const std::string& text : written) batch.push_back(as_bytes(text));
  const Property property[] = {{"of", "all"}};
  AppendOptions with_property;
  with_property.properties = property;
  const auto lsn = log.append(std::span<const Bytes>(batch), with_property);
  require_ok(lsn.status());
  CHECK(*lsn == 2);
  CHECK(read_texts(log, From::at(2)) == written);
  for (const Entry& entry : read_entries(log, From::at(2))) {
    CHECK(entry.property("of") == std::optional<std::string_view>("all"));
  }

  // Too large as a sum: nothing of it.
  const std::string half(6'000, 'h');
  const Bytes large[] = {as_bytes(half), as_bytes(half)};
  CHECK_CODE(log.append(std::span<const Bytes>(large)), Code::kInvalid);
  CHECK_CODE(log.append(std::span<const Bytes>()), Code::kInvalid);
  CHECK(append_text(log, "last") == 102);
  CHECK(read_entries(log).size() == 102);
}

TEST_CASE("C29 batches of many threads are never torn or mixed") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 4u << 10;
  const auto wal = root.open(options);
  constexpr int kThreads = 4, kBatches = 60, kSize = 7;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Log log = log_of(*wal, "a");
      for (int b = 0; b < kBatches; ++b) {
        const std::string text = std::to_string(t) + "/" + std::to_string(b);
        const std::vector<Bytes> batch(kSize, as_bytes(text));
        CHECK(log.append(std::span<const Bytes>(batch)).ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const auto got = read_texts(log_of(*wal, "a"));
  REQUIRE(got.size() == size_t{kThreads} * kBatches * kSize);
  for (size_t i = 0; i < got.size(); i += kSize) {
    for (size_t k = 1; k < kSize; ++k) CHECK(got[i + k] == got[i]);
  }
}

TEST_CASE("C36 every edge of next_batch: empty log, single entry, end, continuation") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  {
    auto reader = log.read();
    require_ok(reader.status());
    const auto none = reader->next_batch(10);
    require_ok(none.status());
    CHECK(none->empty());
  }
  append_text(log, "1");
  {
    auto reader = log.read();
    require_ok(reader.status());
    auto one = reader->next_batch(10);
    require_ok(one.status());
    REQUIRE(one->size() == 1);
    CHECK((*one)[0].text() == "1");
    one = reader->next_batch(10);
    require_ok(one.status());
    CHECK(one->empty());
  }
  for (int i = 2; i <= 25; ++i) append_text(log, std::to_string(i));
  for (const size_t step : {size_t{1}, size_t{7}, size_t{25}, size_t{1000}}) {
    auto reader = log.read();
    require_ok(reader.status());
    Lsn expected = 1;
    for (;;) {
      CHECK(reader->position() == expected);
      const auto got = reader->next_batch(step);
      require_ok(got.status());
      if (got->empty()) break;
      CHECK(got->size() <= step);
      for (const Entry& entry : *got) {
        CHECK(entry.lsn == expected);
        CHECK(entry.text() == std::to_string(expected));
        ++expected;
      }
    }
    CHECK(expected == 26);
  }
  // A read ends at what was durable when it was made; a subscription goes on.
  auto reader = log.read(From::at(25));
  auto subscriber = log.subscribe(From::at(25));
  require_ok(reader.status());
  require_ok(subscriber.status());
  append_text(log, "26");
  CHECK(reader->next_batch(100)->size() == 1);
  CHECK(reader->next_batch(100)->empty());
  size_t seen = 0;
  while (seen < 2) {
    const auto got = subscriber->next_batch(100, kLong);
    require_ok(got.status());
    REQUIRE_FALSE(got->empty());
    seen += got->size();
  }
  CHECK(seen == 2);
}

TEST_CASE("a reader seeks forwards and back, and by time") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("t", 50)) append_text(log, text);
  auto reader = log.read();
  require_ok(reader.status());
  for (const Lsn lsn : {Lsn{50}, Lsn{1}, Lsn{33}, Lsn{2}}) {
    require_ok(reader->seek(From::at(lsn)));
    CHECK(reader->position() == lsn);
    const auto next = reader->next();
    require_ok(next.status());
    REQUIRE(next->has_value());
    CHECK((*next)->lsn == lsn);
    CHECK((*next)->text() == "t" + std::to_string(lsn));
  }
  const LogInfo info = log.info();
  CHECK(read_entries(log, From::time(0)).size() == 50);
  CHECK(read_entries(log, From::time(info.time_first_ms)).size() == 50);
  CHECK(read_entries(log, From::time(info.time_last_ms + 1)).empty());
  const auto late = read_entries(log, From::time(info.time_last_ms));
  REQUIRE_FALSE(late.empty());
  CHECK(late.front().time_ms == info.time_last_ms);
  CHECK(late.back().lsn == 50);
}

TEST_CASE("an entry that RAM could not take beside others is refused, with what to raise") {
  SimWorld world(1);
  Options options;
  options.fragment_bytes_max = 64u << 10;
  options.ram_bytes_max = 1u << 20;
  options.entry_bytes_max = 1u << 20;
  Site site = world.open("m", options);
  Log log = log_of(site, "a");
  const auto refused = log.append(as_bytes(noise(1, 600'000)));
  CHECK_CODE(refused, Code::kInvalid);
  CHECK(refused.status().message().find("ram_bytes_max") != std::string::npos);
  CHECK(append_text(log, noise(2, 400'000)) == 1);
}

TEST_CASE("reading from a time begins at the first entry of that time, wherever it lies") {
  SimWorld world(1);
  Options options;
  options.block_bytes = 4u << 10;
  Site site = world.open("m", options, nullptr,
                         [](SimStore& store) { store.linger = std::chrono::minutes{10}; });
  Log log = log_of(site, "a");
  // Many blocks in one object, and entries of equal times, too.
  for (uint64_t i = 0; i < 60; ++i) {
    require_ok(log.append_async(as_bytes(noise(i, 500 + i * 17)), {}).status());
    if (i % 3 != 0) world.sim.run_for(Duration{static_cast<int64_t>(1 + i % 5)});
  }
  require_ok(site->flush({}));
  CHECK(site->stats().fragments_stored == 1);
  require_ok(site->close());
  site = world.open("m", options);
  log = log_of(site, "a");
  const auto all = read_entries(log);
  REQUIRE(all.size() == 60);
  for (int64_t time = all.front().time_ms - 1; time <= all.back().time_ms + 1; ++time) {
    const auto first =
        std::find_if(all.begin(), all.end(), [&](const Entry& e) { return e.time_ms >= time; });
    auto reader = log.read(From::time(time));
    require_ok(reader.status());
    const auto next = reader->next();
    require_ok(next.status());
    REQUIRE(next->has_value() == (first != all.end()));
    if (next->has_value()) CHECK((*next)->lsn == first->lsn);
  }
  // Where what lies there cannot be read, the reader stays where it was.
  auto reader = log.read(From::at(7));
  require_ok(reader.status());
  world.bucket->overwrite(world.bucket->list("j/", "", 0).objects.front().key,
                          std::vector<std::byte>(100, std::byte{1}));
  site->abandon();
  Options read_only = options;
  read_only.read_only = true;
  Site follower = world.open("follower", read_only);
  require_ok(follower.status);
  reader = follower->find("a")->read(From::at(7));
  require_ok(reader.status());
  CHECK_CODE(reader->seek(From::time(all[40].time_ms)), Code::kCorrupt);
  CHECK(reader->position() == 7);
}

}  // namespace wp
