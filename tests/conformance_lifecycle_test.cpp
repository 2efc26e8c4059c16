// Closing, reopening, truncating and dropping, on every kind of root.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "tests/test_root.h"

namespace wp {
namespace {

// Appends until it is refused, and knows what was acknowledged.
struct Producer {
  std::vector<std::string> acknowledged;
  Status end;

  void run(Log log, const std::string& name, std::atomic<int>* progress) {
    for (int i = 1;; ++i) {
      const std::string text = name + "/" + std::to_string(i);
      const auto lsn = log.append(as_bytes(text));
      if (!lsn.ok()) {
        end = lsn.status();
        return;
      }
      acknowledged.push_back(text);
      progress->fetch_add(1);
      progress->notify_all();
    }
  }
};

void wait_for(std::atomic<int>& progress, int at_least) {
  for (int seen = progress; seen < at_least; seen = progress) progress.wait(seen);
}

// Each producer's acknowledged texts stand in the log in their order, once; nothing else but at
// most one text per producer that was under way.
void check_all_there(const std::vector<std::string>& stored,
                     const std::vector<Producer>& producers) {
  std::map<std::string, std::vector<std::string>> by_producer;
  for (const std::string& text : stored) {
    by_producer[text.substr(0, text.find('/'))].push_back(text);
  }
  for (size_t p = 0; p < producers.size(); ++p) {
    auto& got = by_producer["p" + std::to_string(p)];
    const auto& acknowledged = producers[p].acknowledged;
    REQUIRE(got.size() >= acknowledged.size());
    CHECK(got.size() <= acknowledged.size() + 1);
    CHECK(std::equal(acknowledged.begin(), acknowledged.end(), got.begin()));
  }
}

}  // namespace

TEST_CASE("C05 closing during writes keeps what was acknowledged, in order, once") {
  const TestRoot root(each_root());
  auto wal = root.open();
  std::vector<Producer> producers(4);
  std::vector<std::thread> threads;
  std::atomic<int> progress{0};
  const Log log = log_of(*wal, "a");
  for (size_t p = 0; p < producers.size(); ++p) {
    threads.emplace_back([&, p] { producers[p].run(log, "p" + std::to_string(p), &progress); });
  }
  wait_for(progress, 200);
  require_ok(wal->close());
  for (auto& thread : threads) thread.join();
  for (const Producer& producer : producers) CHECK_CODE(producer.end, Code::kClosed);
  wal = root.open();
  check_all_there(read_texts(log_of(*wal, "a")), producers);
}

TEST_CASE("C06 handles may go while appends of theirs are under way") {
  const TestRoot root(each_root());
  auto wal = root.open();
  std::atomic<int> acknowledged{0};
  for (int i = 0; i < 300; ++i) {
    Log log = log_of(*wal, "log" + std::to_string(i % 3));
    const auto lsn = log.append_async(as_bytes(std::to_string(i)),
                                      [&](Result<Lsn> result) { acknowledged += result.ok(); });
    require_ok(lsn.status());
  }
  require_ok(wal->close());
  CHECK(acknowledged == 300);
  wal = root.open();
  size_t entries = 0;
  for (int l = 0; l < 3; ++l)
    entries += read_entries(log_of(*wal, "log" + std::to_string(l))).size();
  CHECK(entries == 300);
}

TEST_CASE("C07 destroying everything at once stores what was appended") {
  const TestRoot root(each_root());
  {
    auto wal = root.open();
    auto second = root.open();  // the same root again
    Log log = log_of(*wal, "a");
    for (const std::string& text : texts("x", 100)) {
      require_ok(log.append_async(as_bytes(text)).status());
    }
    auto reader = log.subscribe();
    require_ok(reader.status());
  }
  const auto wal = root.open();
  CHECK(read_texts(log_of(*wal, "a")) == texts("x", 100));
}

TEST_CASE("C07 a handle that outlives the root says so") {
  const TestRoot root(each_root());
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  auto reader = log.subscribe();
  require_ok(reader.status());
  require_ok(wal->close());
  CHECK_CODE(log.append(as_bytes("2")), Code::kClosed);
  CHECK_CODE(log.append_async(as_bytes("2")), Code::kClosed);
  CHECK_CODE(log.truncate(1), Code::kClosed);
  CHECK_CODE(reader->next(Duration{60'000}), Code::kClosed);
  CHECK_CODE(wal->flush(), Code::kClosed);
  CHECK_CODE(wal->log("b"), Code::kClosed);
  CHECK_CODE(wal->logs(), Code::kClosed);
  require_ok(wal->close());
  wal.reset();
  CHECK_CODE(log.append(as_bytes("3")), Code::kClosed);
}

TEST_CASE("C07 closing wakes a subscriber that waits") {
  const TestRoot root(each_root());
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  auto reader = log.subscribe();
  require_ok(reader.status());
  require_ok(reader->next().status());
  std::atomic<int> at_wait{0};
  std::thread waiter([&] {
    at_wait = 1;
    at_wait.notify_all();
    CHECK_CODE(reader->next(Duration{600'000}), Code::kClosed);
  });
  at_wait.wait(0);
  require_ok(wal->close());
  waiter.join();
}

TEST_CASE("opening a root twice in one process gives the same root") {
  const TestRoot root(each_root());
  auto one = root.open();
  auto two = root.open();
  Log first = log_of(*one, "a");
  Log second = log_of(*two, "a");
  append_text(first, "1");
  append_text(second, "2");
  CHECK(read_texts(first) == texts("", 2));
  require_ok(one->close());  // only flushes: `two` is still there
  append_text(second, "3");
  two->abandon();
  CHECK_CODE(second.append(as_bytes("4")), Code::kClosed);
  const auto wal = root.open();
  CHECK(read_texts(log_of(*wal, "a")) == texts("", 3));
}

TEST_CASE("C10 a hundred open-write-close cycles: the count is exact") {
  const TestRoot root(each_root());
  for (int i = 1; i <= 100; ++i) {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    CHECK(log.info().lsn_durable == static_cast<Lsn>(i - 1));
    CHECK(append_text(log, std::to_string(i)) == static_cast<Lsn>(i));
    if (i % 3 == 0) {
      wal->abandon();
    } else {
      require_ok(wal->close());
    }
  }
  root.forget_view();
  const auto wal = root.open();
  CHECK(read_texts(log_of(*wal, "a")) == texts("", 100));
  require_ok(wal->verify());
}

TEST_CASE("C11 opening and closing without a write leaves no damage and no garbage") {
  const TestRoot root(each_root());
  require_ok(root.open()->close());
  require_ok(root.open()->close());
  {
    const auto wal = root.open();
    CHECK(wal->logs()->empty());
    Log log = log_of(*wal, "a");
    append_text(log, "1");
    require_ok(wal->close());
  }
  for (int i = 0; i < 10; ++i) require_ok(root.open()->close());
  const auto wal = root.open();
  CHECK(read_texts(log_of(*wal, "a")) == texts("", 1));
  require_ok(wal->verify());
  const RootInfo info = wal->info();
  CHECK(info.logs == 1);
  uint64_t slots = 0;
  for (const std::string& key : root.keys()) slots += key.starts_with("j/");
  CHECK(slots == info.slots);
  // An opening that wrote nothing leaves its fence and its last word, which both may go.
  CHECK(slots <= 28);
}

TEST_CASE("C12 a restart keeps payloads, properties, LSNs, times and logs") {
  const TestRoot root(each_root());
  std::map<std::string, std::vector<Entry>> before;
  auto wal = root.open();
  for (int l = 0; l < 20; ++l) {
    Log log = log_of(*wal, "log " + std::to_string(l));
    for (int i = 0; i <= l; ++i) {
      const Property property[] = {{"n", "v"}};
      AppendOptions options;
      options.properties = property;
      require_ok(log.append(as_bytes(noise(static_cast<uint64_t>(i), 100)), options).status());
    }
    before[log.name()] = read_entries(log);
  }
  const RootInfo info = wal->info();
  const auto logs_before = wal->logs();
  require_ok(wal->close());

  wal = root.open();
  CHECK(wal->info().root_id == info.root_id);
  const auto logs = wal->logs();
  require_ok(logs.status());
  REQUIRE(logs->size() == 20);
  for (size_t i = 0; i < logs->size(); ++i) {
    CHECK((*logs)[i].name == (*logs_before)[i].name);
    CHECK((*logs)[i].id == (*logs_before)[i].id);
    CHECK((*logs)[i].lsn_durable == (*logs_before)[i].lsn_durable);
    CHECK((*logs)[i].bytes == (*logs_before)[i].bytes);
    CHECK((*logs)[i].time_last_ms == (*logs_before)[i].time_last_ms);
  }
  for (const auto& [name, entries] : before) {
    auto found = wal->find(name);
    require_ok(found.status());
    const auto after = read_entries(*found);
    REQUIRE(after.size() == entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
      CHECK(after[i].lsn == entries[i].lsn);
      CHECK(after[i].time_ms == entries[i].time_ms);
      CHECK(after[i].text() == entries[i].text());
      CHECK(after[i].property("n") == std::optional<std::string_view>("v"));
    }
  }
}

TEST_CASE("C16 truncation is inclusive, and a read from the first starts right after") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("", 10)) append_text(log, text);
  require_ok(log.truncate(4));
  CHECK(log.info().lsn_first == 5);
  CHECK(log.info().entries() == 6);
  CHECK(read_entries(log).front().lsn == 5);
  const auto below = log.read(From::at(4));
  CHECK_CODE(below, Code::kTruncated);
  CHECK(below.status().lsn() == 5);
  // Again, and less: harmless.
  require_ok(log.truncate(4));
  require_ok(log.truncate(2));
  CHECK(log.info().lsn_first == 5);
  CHECK_CODE(log.truncate(0), Code::kInvalid);
  CHECK_CODE(log.truncate(11), Code::kInvalid);
  require_ok(log.truncate(10));
  CHECK(log.info().entries() == 0);
  CHECK(log.info().lsn_first == 11);
  CHECK(log.info().lsn_durable == 10);
  CHECK(read_texts(log).empty());
  CHECK(append_text(log, "11") == 11);
  CHECK(read_texts(log) == std::vector<std::string>{"11"});
}

TEST_CASE("C17 a reader opened before a truncation reads on or gets the named error") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 4u << 10;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("", 200)) append_text(log, text);
  auto reader = log.read();
  require_ok(reader.status());
  require_ok(reader->next().status());
  require_ok(log.truncate(150));
  Lsn last = 1;
  bool truncated = false;
  for (;;) {
    const auto next = reader->next();
    if (!next.ok()) {
      CHECK_CODE(next, Code::kTruncated);
      CHECK(next.status().lsn() == 151);
      CHECK_FALSE(truncated);  // said once; then it goes on there
      truncated = true;
      last = 150;
      continue;
    }
    if (!next->has_value()) break;
    CHECK((*next)->lsn == last + 1);
    last = (*next)->lsn;
    CHECK((*next)->text() == std::to_string(last));
  }
  CHECK(last == 200);
}

TEST_CASE("C18 C21 truncated is truncated, also after a restart and after loss of the view") {
  const TestRoot root(each_root());
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("", 10)) append_text(log, text);
  require_ok(log.truncate(7));
  for (const bool lose_view : {false, true}) {
    for (const bool crash : {false, true}) {
      if (crash) {
        wal->abandon();
      } else {
        require_ok(wal->close());
      }
      if (lose_view) root.forget_view();
      wal = root.open();
      Log again = log_of(*wal, "a");
      CHECK(again.info().lsn_first == 8);
      CHECK_CODE(again.read(From::at(7)), Code::kTruncated);
      CHECK(read_entries(again).front().lsn == 8);
    }
  }
}

TEST_CASE("C20 LSNs are never used again after a truncation of everything and a restart") {
  const TestRoot root(each_root());
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("", 5)) append_text(log, text);
  require_ok(log.truncate(5));
  require_ok(wal->close());
  root.forget_view();
  wal = root.open();
  log = log_of(*wal, "a");
  CHECK(log.info().lsn_first == 6);
  CHECK(append_text(log, "6") == 6);
  CHECK(read_texts(log) == std::vector<std::string>{"6"});
}

TEST_CASE("C27 dropping a log forgets it, and the same name created again is a new log") {
  const TestRoot root(each_root());
  auto wal = root.open();
  Log log = log_of(*wal, "a");
  Log other = log_of(*wal, "b");
  append_text(log, "old");
  append_text(other, "kept");
  auto subscriber = log.subscribe(From::latest());
  require_ok(subscriber.status());
  const uint64_t id = log.info().id;
  require_ok(wal->drop("a"));
  CHECK_CODE(log.append(as_bytes("late")), Code::kDropped);
  CHECK_CODE(log.append_async(as_bytes("late")), Code::kDropped);
  CHECK_CODE(log.read(), Code::kDropped);
  CHECK_CODE(subscriber->next(Duration{60'000}), Code::kDropped);
  CHECK_CODE(wal->drop("a"), Code::kNotFound);
  CHECK_CODE(wal->find("a"), Code::kNotFound);
  CHECK(wal->logs()->size() == 1);

  Log again = log_of(*wal, "a");
  CHECK(again.info().id != id);
  CHECK(append_text(again, "new") == 1);
  CHECK_CODE(log.append(as_bytes("still late")), Code::kDropped);
  for (const bool lose_view : {false, true}) {
    require_ok(wal->close());
    if (lose_view) root.forget_view();
    wal = root.open();
    CHECK(read_texts(log_of(*wal, "a")) == std::vector<std::string>{"new"});
    CHECK(read_texts(log_of(*wal, "b")) == std::vector<std::string>{"kept"});
  }
  require_ok(wal->drop("a"));
  require_ok(wal->drop("b"));
  require_ok(wal->close());
  wal = root.open();
  CHECK(wal->logs()->empty());
  require_ok(wal->verify());
}

TEST_CASE("C27 a log dropped before it was ever stored is gone without a trace") {
  const TestRoot root(each_root());
  auto wal = root.open();
  log_of(*wal, "never used");
  require_ok(wal->drop("never used"));
  Log log = log_of(*wal, "buffered");
  const auto lsn = log.append_async(as_bytes("x"));
  require_ok(lsn.status());
  require_ok(wal->drop("buffered"));
  require_ok(wal->close());
  wal = root.open();
  CHECK(wal->logs()->empty());
}

TEST_CASE("C32 after a crash the tail is found and the prefix is exact") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 4u << 10;
  std::vector<std::string> acknowledged;
  for (int round = 0; round < 10; ++round) {
    auto wal = root.open(options);
    Log log = log_of(*wal, "a");
    auto stored = read_texts(log);
    REQUIRE(stored.size() >= acknowledged.size());
    CHECK(std::equal(acknowledged.begin(), acknowledged.end(), stored.begin()));
    acknowledged = stored;
    for (int i = 0; i < 20; ++i) {
      const std::string text = std::to_string(round) + "/" + std::to_string(i);
      append_text(log, text);
      acknowledged.push_back(text);
    }
    // These may be there or not, in order.
    for (int i = 0; i < 100; ++i) {
      const std::string text = std::to_string(round) + "/async " + std::to_string(i);
      CHECK(log.append_async(as_bytes(text)).ok());
    }
    wal->abandon();
    if (round % 4 == 3) root.forget_view();
  }
}

TEST_CASE(
    "D24 an epoch of more than a thousand slots is found again, and strange keys are ignored") {
  const TestRoot root(each_root());
  {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    for (const std::string& text : texts("", 1'100)) append_text(log, text);
    wal->abandon();
  }
  const std::vector<std::byte> junk(100, std::byte{0x55});
  const std::string slot = root.keys().at(1);
  REQUIRE(slot.starts_with("j/"));
  const std::string epoch = slot.substr(0, slot.rfind('/'));
  root.put("j/readme.txt", junk);
  root.put("j/zzzzzzzz-0000000000000000/000000000000", junk);
  root.put("c/.directory", junk);
  root.put("c/99999999-not-a-checkpoint", junk);
  root.put(epoch + "/not a slot", junk);
  root.put("s/1/old", junk);
  root.forget_view();
  const auto wal = root.open();
  CHECK(read_texts(log_of(*wal, "a")) == texts("", 1'100));
  Log log = log_of(*wal, "a");
  CHECK(append_text(log, "1101") == 1'101);
}

}  // namespace wp
