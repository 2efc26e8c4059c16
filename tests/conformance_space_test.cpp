// Cursors, retention, compaction and reclaiming, on every kind of root.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <thread>

#include "tests/test_root.h"

namespace wp {
namespace {

// Small fragments, and nothing that nobody needs is kept for readers elsewhere.
Options brisk(const TestRoot& root) {
  Options options = root.options();
  options.reclaim_grace = Duration{0};
  options.checkpoint_slots = 16;
  options.compact_share = 0;  // only gc() does anything
  return options;
}

GcReport gc(Wal& wal) {
  auto report = wal.gc();
  require_ok(report.status());
  return *report;
}

size_t count(const std::vector<std::string>& keys, std::string_view prefix) {
  return static_cast<size_t>(std::count_if(
      keys.begin(), keys.end(), [&](const std::string& key) { return key.starts_with(prefix); }));
}

// Entries as they are, to be compared.
std::vector<std::string> everything(const Log& log) {
  std::vector<std::string> all;
  for (const Entry& entry : read_entries(log)) {
    std::string text = std::to_string(entry.lsn) + " " + std::to_string(entry.time_ms) + " ";
    text += entry.text();
    for (const Property& property : entry.properties()) {
      text += " " + std::string(property.key) + "=" + std::string(property.value);
    }
    all.push_back(std::move(text));
  }
  return all;
}

}  // namespace

TEST_CASE("C16 C17 truncation is inclusive, and a reader in the middle goes on behind it") {
  const TestRoot root(each_root());
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("x", 20)) append_text(log, text);
  auto reader = log.read();
  require_ok(reader.status());
  CHECK((*reader->next())->text() == "x1");
  require_ok(log.truncate(10));
  gc(*wal);
  CHECK(log.info().lsn_first == 11);
  const auto late = reader->next();
  CHECK_CODE(late, Code::kTruncated);
  CHECK(late.status().lsn() == 11);
  CHECK((*reader->next())->text() == "x11");
  CHECK(read_texts(log).size() == 10);
}

TEST_CASE("C18 C20 C21 what was truncated stays so, and no LSN is given again") {
  const TestRoot root(each_root());
  {
    const auto wal = root.open(brisk(root));
    Log log = log_of(*wal, "a");
    for (const std::string& text : texts("x", 30)) append_text(log, text);
    require_ok(log.truncate(30));
    gc(*wal);
    require_ok(wal->close());
  }
  root.forget_view();
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  CHECK(log.info().lsn_first == 31);
  CHECK(read_texts(log).empty());
  CHECK(append_text(log, "new") == 31);
  require_ok(wal->verify());
}

TEST_CASE("what is truncated goes: the root holds little more than what is left") {
  const TestRoot root(each_root());
  auto options = brisk(root);
  options.compression_level = 0;
  options.fragment_bytes_max = 64u << 10;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  for (int i = 0; i < 64; ++i) {
    require_ok(log.append_async(as_bytes(noise(static_cast<uint64_t>(i), 32u << 10))).status());
  }
  require_ok(wal->flush());
  require_ok(log.truncate(63));
  const GcReport report = gc(*wal);
  CHECK(report.bytes_deleted > 60u * (32u << 10));
  CHECK(report.objects_waiting <= 3);
  uint64_t bytes = 0;
  for (const std::string& key : root.keys()) bytes += root.bytes(key).size();
  CHECK(bytes < 200u << 10);
  CHECK(read_texts(log).size() == 1);
  require_ok(wal->verify());
}

TEST_CASE("C31 compaction changes no entry, and repeating it changes nothing") {
  const TestRoot root(each_root());
  auto wal = root.open(brisk(root));
  std::map<std::string, std::vector<std::string>> before;
  for (int round = 0; round < 40; ++round) {
    for (int l = 0; l < 5; ++l) {
      Log log = log_of(*wal, "log" + std::to_string(l));
      const std::string value = std::to_string(round);
      const Property property{"round", value};
      AppendOptions with;
      if (round % 3 == 0) with.properties = {&property, 1};
      require_ok(
          log.append_async(as_bytes(noise(static_cast<uint64_t>(round * 5 + l), 100)), {}, with)
              .status());
    }
    require_ok(wal->flush());
  }
  for (int l = 0; l < 5; ++l) {
    const std::string name = "log" + std::to_string(l);
    before[name] = everything(log_of(*wal, name));
  }
  const GcReport first = gc(*wal);
  CHECK(first.segments_written == 1);
  CHECK(first.objects_compacted >= 40);
  CHECK(first.segment_bytes_written <= first.bytes_compacted);
  const GcReport second = gc(*wal);
  CHECK(second.segments_written == 0);
  for (const auto& [name, entries] : before) CHECK(everything(log_of(*wal, name)) == entries);
  CHECK(count(root.keys(), "s/") == 1);
  CHECK(count(root.keys(), "j/") < 12);
  require_ok(wal->verify());
  for (const bool forget : {false, true}) {
    require_ok(wal->close());
    if (forget) root.forget_view();
    wal = root.open(brisk(root));
    for (const auto& [name, entries] : before) CHECK(everything(log_of(*wal, name)) == entries);
    require_ok(wal->verify());
    for (const auto& [name, entries] : before) {
      Log log = log_of(*wal, name);
      append_text(log, "more");
    }
    gc(*wal);
    for (auto& [name, entries] : before) entries = everything(log_of(*wal, name));
  }
}

TEST_CASE("C31 readers of this process and of another go on over compaction and reclaiming") {
  const TestRoot root(each_root());
  auto options = brisk(root);
  options.ram_bytes_max = 1u << 20;  // a cache that holds little
  options.fragment_bytes_max = options.block_bytes = 16u << 10;
  options.entry_bytes_max = 8u << 10;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  for (int i = 0; i < 300; ++i) append_text(log, noise(static_cast<uint64_t>(i), 2'000));
  const auto expected = everything(log);
  Options follow = options;
  follow.read_only = true;
  std::unique_ptr<Wal> other;
  if (root.kind() != RootKind::kMemory) other = root.open(follow);
  std::vector<Reader> readers;
  for (Wal* of : {wal.get(), other.get()}) {
    if (of == nullptr) continue;
    for (const Lsn at : {1u, 5u, 150u}) {
      auto log_there = of->find("a");
      require_ok(log_there.status());
      auto reader = log_there->subscribe(From::at(at));
      require_ok(reader.status());
      require_ok(reader->next().status());
      readers.push_back(*std::move(reader));
    }
  }
  const GcReport report = gc(*wal);
  CHECK(report.segments_written >= 1);
  CHECK(report.objects_deleted > 250);
  append_text(log, "last");
  for (Reader& reader : readers) {
    Lsn lsn = reader.position();
    for (;; ++lsn) {
      auto entry = reader.next(Duration{10'000});
      require_ok(entry.status());
      REQUIRE(entry->has_value());
      REQUIRE((*entry)->lsn == lsn);
      if ((*entry)->text() == "last") break;
      CHECK(noise((*entry)->lsn - 1, 2'000) == (*entry)->text());
    }
    CHECK(lsn == 301);
  }
}

TEST_CASE("C31 a reader that knows where the next entries lie finds them when they lie elsewhere") {
  const TestRoot root(each_root());
  Options options = brisk(root);
  options.reclaim_grace = Duration{3'600'000};  // what it knows is still there as well
  for (const Lsn read_before : {1u, 63u, 64u, 65u, 200u}) {
    const auto wal = root.open(options);
    Log log = log_of(*wal, "log" + std::to_string(read_before));
    for (const std::string& text : texts("x", 300)) append_text(log, text);
    auto reader = log.subscribe();
    require_ok(reader.status());
    for (Lsn lsn = 1; lsn <= read_before; ++lsn) require_ok(reader->next().status());
    CHECK(gc(*wal).segments_written > 0);
    for (int i = 301; i <= 500; ++i) append_text(log, "x" + std::to_string(i));
    for (Lsn lsn = read_before + 1; lsn <= 500; ++lsn) {
      const auto entry = reader->next(Duration{10'000});
      require_ok(entry.status());
      CHECK((*entry)->text() == "x" + std::to_string(lsn));
    }
  }
}

TEST_CASE("a reader elsewhere that was too slow is told what is left") {
  const TestRoot root(each_root());
  if (root.kind() == RootKind::kMemory) return;
  const auto options = brisk(root);
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("x", 50)) append_text(log, text);
  Options follow = options;
  follow.read_only = true;
  const auto other = root.open(follow);
  auto reader = other->find("a")->subscribe();
  require_ok(reader.status());
  require_ok(reader->next().status());
  require_ok(log.truncate(40));
  gc(*wal);
  Status status;
  Lsn last = 1;
  while (status.ok()) {
    auto entry = reader->next(Duration{1'000});
    status = entry.status();
    if (entry.ok()) REQUIRE(entry->has_value());
    if (entry.ok()) last = (*entry)->lsn;
    REQUIRE(last < 50);
  }
  CHECK_CODE(status, Code::kTruncated);
  CHECK(status.lsn() == 41);
  CHECK((*reader->next(Duration{1'000}))->text() == "x41");
}

TEST_CASE("C27 a dropped log's objects go, and its name is a new log's") {
  const TestRoot root(each_root());
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  for (int i = 0; i < 20; ++i) append_text(log, noise(static_cast<uint64_t>(i), 5'000));
  Log other = log_of(*wal, "b");
  append_text(other, "stays");
  require_ok(wal->drop("a"));
  CHECK_CODE(wal->drop("a"), Code::kNotFound);
  const GcReport report = gc(*wal);
  CHECK(report.bytes_deleted > 20 * 5'000);
  Log anew = log_of(*wal, "a");
  CHECK(append_text(anew, "first") == 1);
  CHECK(anew.info().id != log.info().id);
  CHECK(read_texts(other) == std::vector<std::string>{"stays"});
}

TEST_CASE("ten thousand rounds of appending and truncating leave little behind") {
  const TestRoot root(each_root());
  if (root.kind() == RootKind::kS3) return;  // tests/s3_server_test.sh has its own rounds
  Options options = root.options();
  options.reclaim_grace = Duration{0};
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  for (int i = 0; i < 10'000; ++i) {
    const Lsn lsn = append_text(log, "round");
    require_ok(log.truncate(lsn));
  }
  gc(*wal);
  CHECK(root.keys().size() < 100);
  if (!root.directory().empty()) {
    CHECK(std::filesystem::file_size(root.directory() + "/wp.sqlite") < 1u << 20);
  }
  CHECK(append_text(log, "x") == 10'001);
}

TEST_CASE("C19 a cursor is where it was, also without the view, and holds what it has not passed") {
  const TestRoot root(each_root());
  auto options = brisk(root);
  auto wal = root.open(options);
  {
    Log log = log_of(*wal, "a");
    for (const std::string& text : texts("x", 100)) append_text(log, text);
    auto cursor = log.cursor("indexer");
    require_ok(cursor.status());
    CHECK(cursor->info().committed == 0);
    CHECK(cursor->info().entries_behind == 100);
    require_ok(cursor->commit(40));
    CHECK_CODE(cursor->commit(101), Code::kInvalid);
    require_ok(cursor->commit(30));  // back
    CHECK(cursor->info().committed == 30);
    CHECK((*cursor->read()->next())->text() == "x31");
    require_ok(log.cursor("other").status());
    require_ok(log.retain({.cursors = true}));
    require_ok(wal->close());
  }
  root.forget_view();
  wal = root.open(options);
  Log log = log_of(*wal, "a");
  const auto cursors = log.cursors();
  REQUIRE(cursors.size() == 2);
  CHECK(cursors[0].name == "indexer");
  CHECK(cursors[0].committed == 30);
  CHECK(cursors[1].committed == 0);
  CHECK(log.info().retention.cursors);
  gc(*wal);
  CHECK(log.info().lsn_first == 1);  // "other" has passed nothing
  require_ok(log.cursor("other")->drop());
  require_ok(log.cursor("other")->drop());
  CHECK(log.cursors().size() == 1);
  gc(*wal);
  CHECK(log.info().lsn_first == 31);
  CHECK((*log.cursor("indexer")->read()->next())->text() == "x31");
  require_ok(log.cursor("indexer")->commit(100));
  gc(*wal);
  CHECK(log.info().lsn_first == 101);
}

TEST_CASE("a cursor that is stuck holds no more than the policy allows, and is named") {
  const TestRoot root(each_root());
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  for (int i = 0; i < 50; ++i) append_text(log, noise(static_cast<uint64_t>(i), 1'000));
  require_ok(log.cursor("stuck").status());
  require_ok(log.retain({.cursors = true, .hold_bytes = 80'000}));
  gc(*wal);
  const auto held = wal->why("a");
  require_ok(held.status());
  REQUIRE_FALSE(held->empty());
  CHECK(held->front().why == Holding::Why::kCursor);
  CHECK(held->front().cursor == "stuck");
  CHECK(held->front().entries_behind == 50);
  CHECK(held->front().text.find("'stuck'") != std::string::npos);
  CHECK(log.info().lsn_first == 1);
  for (int i = 0; i < 50; ++i) append_text(log, noise(static_cast<uint64_t>(i), 1'000));
  CHECK_FALSE(log.cursors().front().holds);
  require_ok(log.retain({.bytes = 10'000, .hold_bytes = 80'000}));
  gc(*wal);
  CHECK(log.info().lsn_first > 80);
  CHECK_CODE(log.retain({.age = Duration{-1}}), Code::kInvalid);
}

TEST_CASE("a consumer that waited for a quiet log still holds what comes next") {
  const TestRoot root(each_root());
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  require_ok(log.retain({.cursors = true, .hold_age = Duration{100}}));
  auto slow = log.cursor("slow"), fast = log.cursor("fast");
  require_ok(slow->commit(1));
  require_ok(fast->commit(1));
  std::this_thread::sleep_for(Duration{200});
  append_text(log, "2");
  require_ok(fast->commit(2));
  gc(*wal);
  CHECK(log.info().lsn_first == 2);
  CHECK(slow->info().holds);
  CHECK((*slow->read()->next())->text() == "2");
}

TEST_CASE("a cursor that is dropped stays so, whoever commits it meanwhile, and may be made anew") {
  SimWorld world(1);
  Site site = world.open("m");
  Log log = log_of(site, "a");
  for (const std::string& text : texts("x", 5)) append_text(log, text);
  auto cursor = log.cursor("c");
  require_ok(cursor.status());
  bool committed = false;
  site.store->before = [&](const SimRequest& request) {
    if (committed || !request.put("j/")) return;
    committed = true;
    CHECK_CODE(cursor->commit(3), Code::kNotFound);
  };
  require_ok(cursor->drop());
  CHECK(committed);
  require_ok(site->flush({}));
  CHECK(log.cursors().empty());
  CHECK_CODE(cursor->commit(3), Code::kNotFound);
  require_ok(log.cursor("c").status());
  require_ok(cursor->commit(3));
  require_ok(site->close());
  CHECK(log_of(world.open("next"), "a").cursors().at(0).committed == 3);
}

TEST_CASE("a cursor is read and subscribed to behind what it committed, also over a truncation") {
  const TestRoot root(each_root());
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("x", 10)) append_text(log, text);
  auto cursor = log.cursor("c");
  require_ok(cursor.status());
  CHECK(cursor->name() == "c");
  require_ok(cursor->commit(4));
  auto reader = cursor->subscribe();
  require_ok(reader.status());
  CHECK((*reader->next())->text() == "x5");
  CHECK((*reader->next())->text() == "x6");
  reader = cursor->subscribe();  // begins again
  CHECK((*reader->next())->text() == "x5");
  require_ok(log.truncate(7));
  CHECK(cursor->info().committed == 7);
  CHECK(cursor->info().entries_behind == 3);
  reader = cursor->subscribe();
  CHECK((*reader->next())->text() == "x8");
  CHECK((*cursor->read()->next())->text() == "x8");
  append_text(log, "x11");
  for (const std::string text : {"x9", "x10", "x11"}) CHECK((*reader->next())->text() == text);
  CHECK_FALSE(reader->next()->has_value());
}

TEST_CASE("a log has no more cursors than it can have, and those there go on") {
  const TestRoot root(RootKind::kMemory);
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  for (int i = 0; i < 100; ++i) require_ok(log.cursor("c" + std::to_string(i)).status());
  const auto more = log.cursor("one more");
  CHECK_CODE(more, Code::kInvalid);
  CHECK(more.status().message().find("drop one") != std::string::npos);
  CHECK(log.cursors().size() == 100);
  require_ok(log.cursor("c7")->commit(1));
  require_ok(log.cursor("c3")->drop());
  require_ok(log.cursor("one more").status());
  CHECK(log.cursors().size() == 100);
}

TEST_CASE("what a cursor said before it was dropped does not make it anew") {
  SimWorld world(1);
  Site site = world.open("m");
  Log log = log_of(site, "a");
  for (const std::string& text : texts("x", 5)) append_text(log, text);
  auto cursor = log.cursor("c");
  require_ok(cursor.status());
  require_ok(cursor->commit(3));  // in no fragment yet
  bool seen = false;
  site.store->before = [&](const SimRequest& request) {
    if (!request.put("j/")) return;
    seen = true;
    CHECK(log.cursors().empty());  // at once, and not only when that is stored
    require_ok(cursor->drop());
  };
  require_ok(cursor->drop());
  site.store->before = nullptr;
  CHECK(seen);
  const CursorInfo gone = cursor->info();
  CHECK(gone.name == "c");
  CHECK_FALSE(gone.holds);
  append_text(log, "x6");
  require_ok(site->close());
  CHECK(log_of(world.open("next"), "a").cursors().empty());
}

TEST_CASE("a cursor that is opened while another drops it, or makes it, is there afterwards") {
  for (const bool drops : {true, false}) {
    CAPTURE(drops);
    SimWorld world(1);
    Site site = world.open("m");
    Log log = log_of(site, "a");
    append_text(log, "1");
    if (drops) require_ok(log.cursor("c").status());
    size_t opened = 0;
    bool spawned = false;
    site.store->before = [&](const SimRequest& request) {
      if (spawned || !request.put("j/")) return;
      spawned = true;
      world.sim.spawn(site.machine, "opens it", [&] {
        require_ok(log.cursor("c").status());
        ++opened;
      });
    };
    if (drops) {
      require_ok(log.cursor("c")->drop());
    } else {
      require_ok(log.cursor("c").status());
    }
    world.sim.run_actors();
    CHECK(opened == 1);
    REQUIRE(log.cursors().size() == 1);
    require_ok(log.cursor("c")->commit(1));
    require_ok(site->close());
    CHECK(log_of(world.open("next"), "a").cursors().at(0).committed == 1);
  }
}

TEST_CASE("a follower knows why everything is still there, as far as one can without the writer") {
  SimWorld world(1);
  Options options;
  options.reclaim_grace = Duration{3'600'000};
  options.compact_share = 0;
  Site site = world.open("writer", options);
  Log log = log_of(site, "a"), kept = log_of(site, "b");
  for (int i = 0; i < 20; ++i) append_text(log, noise(static_cast<uint64_t>(i), 1'000));
  append_text(kept, "stays");
  require_ok(log.truncate(20));
  require_ok(site->gc(false).status());
  Options read_only = options;
  read_only.read_only = true;
  Site follower = world.open("follower", read_only);
  require_ok(follower.status);
  append_text(kept, "and more");
  const auto held = follower->why({});
  require_ok(held.status());
  uint64_t bytes = 0, stored = 0;
  bool grace = false;
  for (const Holding& holding : *held) {
    bytes += holding.bytes;
    if (holding.why != Holding::Why::kGrace) continue;
    grace = true;
    CHECK(holding.bytes > 20'000);
    CHECK_FALSE(holding.goes_in.has_value());  // only the writer knows
    CHECK(holding.text.find("the writer's reclaim_grace") != std::string::npos);
  }
  CHECK(grace);
  for (const std::string& key : world.bucket->keys()) {
    if (key != "root") stored += world.bucket->get(key)->size();
  }
  CHECK(bytes == stored);
  CHECK_CODE(follower->why("none"), Code::kNotFound);
}

TEST_CASE("a retention that was taken back is not acted upon any more") {
  SimWorld world(1);
  Options options;
  options.reclaim_grace = Duration{0};
  options.compact_share = 0;
  Site site = world.open("m", options);
  Log log = log_of(site, "a");
  for (const std::string& text : texts("x", 12)) append_text(log, text);
  require_ok(log.retain({.bytes = 1}));
  require_ok(site->gc(true).status());
  bool retained = false;
  site.store->before = [&](const SimRequest& request) {
    if (retained || request.cause != Cause::kReclaim) return;
    retained = true;
    world.sim.spawn(site.machine, "retain", [&] { require_ok(log.retain({})); });
  };
  for (int i = 0; i < 3; ++i) {
    append_text(log, "y");
    (void)site->gc(false);
    if (retained) break;
  }
  const Lsn first = log.info().lsn_first;
  require_ok(site->gc(false).status());
  CHECK(log.info().lsn_first == first);
}

TEST_CASE("commits of cursors ride along, and on their own cost one request in a while") {
  const TestRoot root(RootKind::kMemory);
  Options options = root.options();
  options.cursor_commit_interval = Duration{200};
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  auto cursor = log.cursor("c");
  require_ok(cursor.status());
  const uint64_t before = requests_of(wal->stats(), "put");
  require_ok(cursor->commit(1));
  append_text(log, "2");
  CHECK(requests_of(wal->stats(), "put") == before + 1);
  for (int i = 0; i < 1'000; ++i) require_ok(cursor->commit(static_cast<Lsn>(i % 3)));
  CHECK(requests_of(wal->stats(), "put") == before + 1);
  for (int i = 0; i < 100 && requests_of(wal->stats(), "put") == before + 1; ++i) {
    std::this_thread::sleep_for(Duration{20});
  }
  CHECK(requests_of(wal->stats(), "put") == before + 2);
}

TEST_CASE("C22 retention by age and size is honoured, by the log's own time") {
  const TestRoot root(each_root());
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  for (int i = 0; i < 20; ++i) append_text(log, noise(static_cast<uint64_t>(i), 1'000));
  require_ok(log.retain({.bytes = 5'000}));
  CHECK(wal->gc(true)->entries_expired == 15);
  CHECK(log.info().lsn_first == 1);
  CHECK(gc(*wal).entries_expired == 15);
  CHECK(log.info().lsn_first == 16);
  require_ok(log.retain({.age = Duration{50}}));
  std::this_thread::sleep_for(Duration{120});
  gc(*wal);
  CHECK(log.info().lsn_first == 16);  // nothing newer came: the log's time stands still
  append_text(log, "new");
  gc(*wal);
  CHECK(log.info().lsn_first == 21);
  require_ok(log.retain({}));
  CHECK(log.info().retention == Retention{});
}

TEST_CASE("why is it still here: every byte has a reason") {
  const TestRoot root(each_root());
  Options options = brisk(root);
  options.reclaim_grace = Duration{3'600'000};
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a"), kept = log_of(*wal, "b");
  for (int i = 0; i < 20; ++i) append_text(log, noise(static_cast<uint64_t>(i), 1'000));
  append_text(kept, "stays");
  require_ok(log.truncate(20));
  const GcReport report = gc(*wal);
  CHECK(report.objects_deleted == 0);
  CHECK(report.bytes_waiting > 20'000);
  auto held = wal->why();
  require_ok(held.status());
  std::map<Holding::Why, Holding> by_reason;
  uint64_t bytes = 0;
  for (const Holding& holding : *held) {
    by_reason[holding.why] = holding;
    bytes += holding.bytes;
    CHECK_FALSE(holding.text.empty());
  }
  CHECK(by_reason[Holding::Why::kGrace].bytes > 20'000);
  REQUIRE(by_reason[Holding::Why::kGrace].goes_in.has_value());
  CHECK(*by_reason[Holding::Why::kGrace].goes_in > Duration{3'500'000});
  CHECK(by_reason[Holding::Why::kEntries].log == "b");
  uint64_t stored = 0;
  for (const std::string& key : root.keys()) {
    if (key != "root") stored += root.bytes(key).size();
  }
  CHECK(bytes == stored);
  CHECK_CODE(wal->why("none"), Code::kNotFound);
}

TEST_CASE("the grace also runs while nobody has the root open") {
  const TestRoot root(RootKind::kDirectory);
  Options options = brisk(root);
  options.reclaim_grace = Duration{300};
  for (int opening = 0; opening < 3; ++opening) {
    const auto wal = root.open(options);
    Log log = log_of(*wal, "a");
    append_text(log, noise(static_cast<uint64_t>(opening), 10'000));
    if (opening == 0) require_ok(log.truncate(1));
    require_ok(wal->close());
  }
  std::this_thread::sleep_for(Duration{400});
  const auto wal = root.open(options);
  CHECK(gc(*wal).bytes_deleted > 10'000);
}

TEST_CASE("leftovers are swept: segments that were not published, slots past a fence") {
  const TestRoot root(each_root());
  {
    const auto wal = root.open(brisk(root));
    Log log = log_of(*wal, "a");
    for (const std::string& text : texts("x", 5)) append_text(log, text);
    wal->abandon();
  }
  std::string past, segment;
  for (const std::string& key : root.keys()) {
    if (!key.starts_with("j/")) continue;
    past = key.substr(0, key.rfind('/') + 1) + "0000000000ff";
    segment = "s" + key.substr(1, key.rfind('/')) + "000000000007";
  }
  root.put(past, root.bytes("root"));
  root.put(segment, root.bytes("root"));
  root.put("j/strange", root.bytes("root"));
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  append_text(log, "x6");
  CHECK(gc(*wal).leftovers_deleted == 2);
  const auto keys = root.keys();
  CHECK(count(keys, past) == 0);
  CHECK(count(keys, segment) == 0);
  CHECK(count(keys, "j/strange") == 1);
  CHECK(read_texts(*wal->find("a")) == texts("x", 6));
  // The fence behind an owner that did not close is there for ever.
  bool fence = false;
  const auto held = wal->why();
  for (const Holding& holding : *held) fence = fence || holding.why == Holding::Why::kFence;
  CHECK(fence);
  require_ok(wal->verify());
}

TEST_CASE("openings that write nothing leave nothing, however many") {
  const TestRoot root(each_root());
  for (int i = 0; i < 60; ++i) require_ok(root.open(brisk(root))->close());
  const auto wal = root.open(brisk(root));
  gc(*wal);
  CHECK(root.keys().size() < 12);
}

TEST_CASE("what cursors lag behind, and what the space is used for, is in the stats") {
  const TestRoot root(each_root());
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a"), other = log_of(*wal, "b");
  for (int i = 0; i < 20; ++i) append_text(log, noise(static_cast<uint64_t>(i), 1'000));
  append_text(other, "x");
  require_ok(log.cursor("slow").status());
  require_ok(log.cursor("fast")->commit(15));
  Stats stats = wal->stats();
  REQUIRE(stats.cursors.size() == 2);
  CHECK(stats.cursors[0].log == "a");
  CHECK(stats.cursors[0].cursor.name == "fast");
  CHECK(stats.cursors[0].cursor.entries_behind == 5);
  CHECK(stats.cursors[0].cursor.bytes_behind == 5'000);
  CHECK(stats.cursors[1].cursor.entries_behind == 20);
  require_ok(log.truncate(10));
  gc(*wal);
  stats = wal->stats();
  CHECK(stats.segments_written == 1);
  CHECK(stats.reclaimed_bytes > 10'000);
  const std::string text = to_prometheus(stats, "r");
  CHECK(text.find("wp_cursor_lag_entries{root=\"r\",log=\"a\",cursor=\"fast\"} 5\n") !=
        std::string::npos);
  CHECK(text.find("wp_segments_written_total{root=\"r\"} 1\n") != std::string::npos);
}

TEST_CASE("D03 a thousand logs that append cost the requests of one") {
  const TestRoot root(RootKind::kMemory);
  Options options = root.options();
  options.linger = Duration{100};
  const auto wal = root.open(options);
  std::vector<Log> logs;
  for (int i = 0; i < 1'000; ++i) logs.push_back(log_of(*wal, "log" + std::to_string(i)));
  require_ok(wal->flush());
  const uint64_t before = requests_of(wal->stats(), "put");
  for (int round = 0; round < 5; ++round) {
    for (Log& log : logs) require_ok(log.append_async(as_bytes("tick")).status());
    require_ok(wal->flush());
  }
  CHECK(requests_of(wal->stats(), "put") == before + 5);
}

TEST_CASE("in the background: compaction and reclaiming happen by themselves") {
  const TestRoot root(RootKind::kMemory);
  Options options = root.options();
  options.reclaim_grace = Duration{0};
  options.checkpoint_slots = 16;
  options.compact_objects = 16;
  options.compact_share = 1;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  const auto settled = [&] {
    const Stats stats = wal->stats();
    return stats.segments_written > 3 && stats.reclaimed_bytes > 10'000;
  };
  int appended = 0;
  for (; appended < 200'000 && (appended < 1'000 || !settled()); ++appended) {
    append_text(log, "entry " + std::to_string(appended));
  }
  CHECK(settled());
  const auto read = read_texts(log);
  REQUIRE(read.size() == static_cast<size_t>(appended));
  for (int i = 0; i < appended; ++i)
    CHECK(read[static_cast<size_t>(i)] == "entry " + std::to_string(i));
  require_ok(wal->verify());
}

TEST_CASE("a cursor in the middle of a segment is not behind by all of it") {
  const TestRoot root(each_root());
  const auto wal = root.open(brisk(root));
  Log log = log_of(*wal, "a");
  for (uint64_t i = 0; i < 40; ++i) {
    append_text(log, noise(i, 1000));
  }
  CHECK(gc(*wal).segments_written == 1);
  auto cursor = log.cursor("c");
  require_ok(cursor.status());
  require_ok(log.retain({.bytes = 1, .hold_bytes = 5000}));
  require_ok(cursor->commit(20));
  CHECK_FALSE(cursor->info().holds);
  require_ok(cursor->commit(38));
  CHECK(cursor->info().bytes_behind == 2000);
  CHECK(cursor->info().holds);
  append_text(log, "another run");
  gc(*wal);
  CHECK(log.info().lsn_first <= 39);
}

}  // namespace wp
