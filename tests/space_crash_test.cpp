// Compaction, publishing and reclaiming, killed at every step: whichever request is the last of a
// machine, and whether it was applied or not, nothing is lost, and the next pass leaves nothing
// behind.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "engine/format.h"
#include "tests/test_root.h"

namespace wp {
namespace {

Options small_options() {
  Options options;
  options.fragment_bytes_max = 4u << 10;
  options.block_bytes = 1u << 10;
  options.ram_bytes_max = 1u << 20;
  options.entry_bytes_max = 4u << 10;
  options.checkpoint_slots = 16;
  options.reclaim_grace = Duration{0};
  options.compact_objects = 4;
  options.compact_share = 0;
  return options;
}

using Contents = std::map<std::string, std::vector<std::string>>;

Contents contents_of(Engine& engine) {
  Contents all;
  const auto logs = engine.logs();
  require_ok(logs.status());
  for (const LogInfo& info : *logs) {
    const auto log = engine.find(info.name);
    require_ok(log.status());
    for (const Entry& entry : read_entries(*log)) {
      all[info.name].push_back(std::to_string(entry.lsn) + ":" + std::string(entry.text()));
    }
  }
  return all;
}

// A root with something for each step to do: entries of several logs in small fragments, segments,
// a truncation, a log that was dropped, one with a retention and a cursor, and leftovers.
struct Prepared {
  std::shared_ptr<MemoryBucket> bucket;
  std::shared_ptr<MemViewData> view = std::make_shared<MemViewData>();
  Contents contents;
};

Prepared prepare() {
  Prepared out;
  SimWorld world(1);
  const auto append = [](Site& site, std::string_view name, uint64_t number) {
    Log log = log_of(site, name);
    append_text(log, std::to_string(number) + noise(number, 200));
  };
  Site crashed = world.open("crashed", small_options(), out.view);
  for (uint64_t i = 0; i < 12; ++i) append(crashed, i % 3 == 0 ? "b" : "a", i);
  require_ok(crashed->gc(false).status());
  crashed->abandon();
  Site site = world.open("first", small_options(), out.view);
  for (uint64_t i = 0; i < 40; ++i) {
    append(site, i % 4 == 0 ? "b" : i % 7 == 0 ? "dropped" : "a", i);
  }
  Log a = log_of(site, "a"), b = log_of(site, "b");
  require_ok(a.truncate(10));
  require_ok(b.cursor("c").status());
  require_ok(b.cursor("c")->commit(6));
  require_ok(b.retain({.bytes = 300, .cursors = true}));
  require_ok(site->drop("dropped"));
  require_ok(site->close());
  out.bucket = world.bucket;
  // What b's retention lets go, a pass may have done or not.
  Site reader = world.open("reader", small_options(), out.view->copy());
  out.contents = contents_of(*reader.engine);
  return out;
}

// Entries as they were, but for those that the retention of b lets go.
void check_contents(const Contents& now, const Contents& before) {
  CHECK(now.at("a") == before.at("a"));
  const auto &b = now.at("b"), &all = before.at("b");
  REQUIRE(b.size() <= all.size());
  CHECK(b.size() + 6 >= all.size());
  CHECK(std::equal(b.begin(), b.end(), all.end() - static_cast<ptrdiff_t>(b.size())));
  CHECK(now.size() == 2);
}

// Whatever lies there is needed by somebody, but for a few slots of the last pass.
void check_nothing_left(Site& site, const MemoryBucket& bucket) {
  require_ok(site->gc(false).status());
  const auto report = site->gc(false);
  require_ok(report.status());
  CHECK(report->leftovers_deleted == 0);
  CHECK(report->segments_written == 0);
  require_ok(site->verify({}));
  const auto held = site->why({});
  require_ok(held.status());
  uint64_t bytes = 0, stored = 0;
  for (const Holding& holding : *held) bytes += holding.bytes;
  for (const std::string& key : bucket.keys()) {
    if (key != "root") stored += bucket.get(key)->size();
  }
  CHECK(bytes + 100 >= stored);
  CHECK(bytes <= stored);
  CHECK(bucket.keys().size() < 30);
}

// Kills the machine at its request of that number. False: it did not make so many.
bool pass_killed_at(const Prepared& from, uint64_t number, bool applied, bool lose_view) {
  SimWorld world(number * 2 + applied);
  world.bucket = from.bucket->copy();
  auto view = from.view->copy();
  uint64_t count = 0;
  bool counting = false, killed = false;
  Site site = world.open("killed", small_options(), view, [&](SimStore& store) {
    const auto kill = [&](bool after) {
      return [&, after](const SimRequest&) {
        if (!counting || killed || after != applied) return;
        if (count++ != number) return;
        killed = true;
        site.machine->kill();
      };
    };
    store.before = kill(false);
    store.after = kill(true);
  });
  require_ok(site.status);
  counting = true;
  bool done = false;
  world.sim.spawn(site.machine, "gc", [&] {
    require_ok(site->gc(false).status());
    done = true;
  });
  world.sim.run_actors();
  CHECK(done != killed);
  if (lose_view) view = std::make_shared<MemViewData>();
  Site next = world.open("next", small_options(), view);
  require_ok(next.status);
  check_contents(contents_of(*next.engine), from.contents);
  check_nothing_left(next, *world.bucket);
  check_contents(contents_of(*next.engine), from.contents);
  require_ok(next->close());
  Site rebuilt = world.open("rebuilt", small_options());
  require_ok(rebuilt.status);
  check_contents(contents_of(*rebuilt.engine), from.contents);
  require_ok(rebuilt->verify({}));
  CHECK(log_of(rebuilt, "b").cursors().at(0).committed == 6);
  return killed;
}

}  // namespace

TEST_CASE(
    "C31 a pass that is killed at any step loses nothing, and the next leaves nothing behind") {
  const Prepared from = prepare();
  for (const bool lose_view : {false, true}) {
    for (const bool applied : {false, true}) {
      CAPTURE(lose_view);
      CAPTURE(applied);
      uint64_t number = 0;
      for (;; ++number) {
        CAPTURE(number);
        if (!pass_killed_at(from, number, applied, lose_view)) break;
      }
      CHECK(number > 20);  // requests of a whole pass
    }
  }
}

TEST_CASE("C31 a segment whose publication is under way as the root is closed stays") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    Options options = small_options();
    options.reclaim_grace = Duration{3'600'000};
    options.close_timeout = Duration{50};
    options.compact_share = 1;
    bool armed = false, segment = false, hung = false;
    Site site = world.open("one", options, nullptr, [&](SimStore& store) {
      store.faults.latency_min = store.faults.latency_max = std::chrono::microseconds{20};
      store.script = [&](const SimRequest& request) -> std::optional<SimFate> {
        if (!armed) return std::nullopt;
        if (request.put("s/") && request.attempt == 0) return fate_lost_request();
        segment = segment || request.put("s/");
        if (!segment || !request.put("j/")) return std::nullopt;
        hung = true;
        return SimFate{true, std::nullopt, {}, false};  // stored, and nobody is told
      };
    });
    require_ok(site.status);
    Log log = log_of(site, "a");
    for (const std::string& text : texts("x", 20)) append_text(log, text);
    require_ok(site->gc(false).status());
    armed = true;
    int appended = 20;
    for (; !hung && appended < 3'000; ++appended) {
      require_ok(log.append_async(as_bytes("x" + std::to_string(appended + 1))).status());
      world.sim.run_for(Duration{20});
    }
    CHECK(hung);
    world.sim.spawn(site.machine, "close", [&] { (void)site->close(); });
    world.sim.run_actors();
    Site next = world.open("two", options);
    require_ok(next.status);
    require_ok(next->verify({}));
    CHECK(read_texts(log_of(next, "a")).size() >= 20);
  }
}

TEST_CASE("C31 while the view cannot be written no pass plans again what was published") {
  SimWorld world(1);
  Options options = small_options();
  options.compact_share = 1;
  options.reclaim_grace = Duration{3'600'000};
  const auto view = std::make_shared<MemViewData>();
  uint64_t segments = 0;
  Site site = world.open("m", options, view, [&](SimStore& store) {
    store.after = [&](const SimRequest& request) {
      if (!request.put("s/")) return;
      ++segments;
      view->set_broken(Status(Code::kNoSpace, "the disk is full"));
    };
  });
  require_ok(site.status);
  Log log = log_of(site, "a");
  int appended = 0;
  const auto append = [&](int count) {
    for (; count > 0; --count) {
      append_text(log, "x" + std::to_string(++appended));
      world.sim.run_for(Duration{200});
    }
  };
  while (segments == 0 && appended < 500) append(1);
  append(200);  // several passes are due, and the view is tried again and again
  CHECK(segments == 1);
  view->set_broken({});
  append(500);
  CHECK(segments > 1);
  CHECK(read_texts(log) == texts("x", appended));
  require_ok(site->verify({}));
}

TEST_CASE("C31 what cannot be gathered does not stand in the way of what can") {
  SimWorld world(1);
  Options options = small_options();
  options.fragment_bytes_max = 64u << 10;
  options.ram_bytes_max = 64u << 20;
  Site site = world.open("m", options);
  for (int i = 0; i < 4'200; ++i) {
    Log lone = log_of(site, "lone" + std::to_string(i));
    append_text(lone, "1");
  }
  Log busy = log_of(site, "busy");
  for (const std::string& text : texts("x", 500)) append_text(busy, text);
  const auto report = site->gc(false);
  require_ok(report.status());
  CHECK(report->segments_written >= 1);
  CHECK(report->objects_deleted >= 499);
  CHECK(read_texts(busy) == texts("x", 500));
}

TEST_CASE("C31 two owners at once: the one that was taken over deletes nothing that is needed") {
  const Prepared from = prepare();
  for (uint64_t number = 0;; ++number) {
    CAPTURE(number);
    SimWorld world(number);
    world.bucket = from.bucket->copy();
    uint64_t count = 0;
    bool counting = false, taken_over = false;
    Site rival;
    Site site = world.open("first", small_options(), from.view->copy(), [&](SimStore& store) {
      store.before = [&](const SimRequest&) {
        if (!counting || taken_over || count++ != number) return;
        taken_over = true;
        rival = world.open("rival", small_options());
        require_ok(rival.status);
        Log log = log_of(rival, "a");
        append_text(log, "rival");
        require_ok(rival->gc(false).status());
      };
    });
    require_ok(site.status);
    counting = true;
    const auto report = site->gc(false);
    counting = false;
    if (!taken_over) {
      require_ok(report.status());
      break;
    }
    if (!report.ok()) CHECK_CODE(report, Code::kFenced);
    Contents now = contents_of(*rival.engine);
    CHECK(now.at("a").back().ends_with(":rival"));
    now.at("a").pop_back();
    check_contents(now, from.contents);
    check_nothing_left(rival, *world.bucket);
  }
}

TEST_CASE("C31 an object that cannot be read is left, and named; what can be gathered is") {
  const Prepared from = prepare();
  std::string victim;
  for (const ListedObject& object : from.bucket->list("j/", "", 0).objects) {
    if (decode_header(*from.bucket->get(object.key))->entries != 0) victim = object.key;
  }
  REQUIRE_FALSE(victim.empty());
  const std::vector<std::byte> whole = *from.bucket->get(victim);
  const auto header = *decode_header(whole);
  const auto flipped = [&](size_t at) {
    auto bytes = whole;
    bytes[at] ^= std::byte{0x10};
    return bytes;
  };
  auto longer = whole;
  longer.push_back(std::byte{0});
  struct Row {
    const char* how;
    std::vector<std::byte> bytes;
    std::optional<Answer> answer;
  };
  for (const Row& row : {
           Row{"gone", {}, Answer::kNotFound},
           Row{"its header", flipped(20), {}},
           Row{"its index", flipped(header.header_bytes), {}},
           Row{"its entries", flipped(whole.size() - 1), {}},
           Row{"cut", {whole.begin(), whole.end() - 1}, {}},
           Row{"another length", longer, {}},
           Row{"said by the store", whole, Answer::kCorrupt},
       }) {
    CAPTURE(std::string(row.how));
    SimWorld world(1);
    world.bucket = from.bucket->copy();
    Site site = world.open("m", small_options(), from.view->copy());
    require_ok(site.status);
    if (row.answer == Answer::kNotFound) {
      world.bucket->erase(victim);
    } else {
      world.bucket->overwrite(victim, row.bytes);
    }
    if (row.answer) {
      site.store->script = [&](const SimRequest& request) -> std::optional<SimFate> {
        if (!request.get(victim)) return std::nullopt;
        return SimFate{false, row.answer, {}, true};
      };
    }
    const auto first = site->gc(false);
    CHECK_CODE(first, Code::kCorrupt);
    CHECK(first.status().message().find(victim) != std::string::npos);
    CHECK(first.status().message().find("wp verify") != std::string::npos);
    require_ok(site->gc(false).status());  // passes it by
    CHECK((world.bucket->get(victim) != nullptr) == (row.answer != Answer::kNotFound));
    site.store->script = nullptr;
    world.bucket->overwrite(victim, whole);
    check_contents(contents_of(*site.engine), from.contents);
    require_ok(site->close());
    // Put back, it is gathered by the next opening like any other.
    Site next = world.open("next", small_options());
    require_ok(next.status);
    check_nothing_left(next, *world.bucket);
    check_contents(contents_of(*next.engine), from.contents);
  }
}

TEST_CASE(
    "C31 a pass with a view that cannot be read says so, and the next one does what it left") {
  const Prepared from = prepare();
  SimWorld world(1);
  world.bucket = from.bucket->copy();
  const auto view = from.view->copy();
  Site site = world.open("m", small_options(), view);
  require_ok(site.status);
  const auto keys = world.bucket->keys();
  view->set_unreadable(Status(Code::kUnavailable, "read view: the disk does not answer"));
  CHECK_CODE(site->gc(false), Code::kUnavailable);
  CHECK_CODE(site->gc(true), Code::kUnavailable);
  CHECK_CODE(site->why({}), Code::kUnavailable);
  for (const std::string& key : keys) CHECK(world.bucket->get(key) != nullptr);
  view->set_unreadable({});
  check_nothing_left(site, *world.bucket);
  check_contents(contents_of(*site.engine), from.contents);
}

}  // namespace wp
