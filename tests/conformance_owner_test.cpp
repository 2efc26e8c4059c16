// Who may write: takeovers, fences, and a view that fails. Simulated: two machines, one bucket.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/test_root.h"

namespace wp {
namespace {

std::vector<std::string> plus(std::vector<std::string> texts, std::string_view text) {
  texts.emplace_back(text);
  return texts;
}

bool contains(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

// What a root holds, seen by a fresh opening without a view.
std::vector<std::string> stored(SimWorld& world, std::string_view log) {
  Options options;
  options.read_only = true;
  Site site = world.open("looker", options);
  require_ok(site.status);
  auto found = site->find(log);
  require_ok(found.status());
  auto texts = read_texts(*found);
  require_ok(site->close());
  return texts;
}

}  // namespace

TEST_CASE("C09 a new writer on another machine fences the old one") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    Site old = world.open("old");
    Log a = log_of(old, "a");
    for (const std::string& text : texts("", 5)) append_text(a, text);

    Site next = world.open("new");
    Log b = log_of(next, "a");
    CHECK(read_texts(b) == texts("", 5));
    CHECK(append_text(b, "6") == 6);
    CHECK_CODE(a.append(as_bytes("lost")), Code::kFenced);
    CHECK_CODE(a.append(as_bytes("lost too")), Code::kFenced);
    CHECK(append_text(b, "7") == 7);
    CHECK(read_texts(b) == texts("", 7));
    // What it knew, it can still read; nothing of its own that was refused.
    CHECK(read_texts(a) == texts("", 5));
    (void)old->close();
    require_ok(next->close());
    CHECK(stored(world, "a") == texts("", 7));
  }
}

TEST_CASE("C23 a fenced writer gets its own error from everything, and none of its data appears") {
  SimWorld world(1);
  Site old = world.open("old");
  Log a = log_of(old, "a");
  append_text(a, "1");
  Site next = world.open("new");
  Log b = log_of(next, "a");
  append_text(b, "2");

  std::vector<Code> told;
  for (int i = 0; i < 5; ++i) {
    const auto lsn =
        a.append_async(as_bytes("ghost"), [&](Result<Lsn> r) { told.push_back(r.code()); });
    if (!lsn.ok()) CHECK_CODE(lsn, Code::kFenced);
  }
  CHECK_CODE(old->flush({}), Code::kFenced);
  CHECK_CODE(a.truncate(1), Code::kFenced);
  CHECK_CODE(old->drop("a"), Code::kFenced);
  CHECK_CODE(a.append_async(as_bytes("ghost")), Code::kFenced);
  const Status closed = old->close();
  CHECK(closed.code() != Code::kOk);
  for (const Code code : told) CHECK(code == Code::kFenced);
  require_ok(next->close());
  CHECK(stored(world, "a") == texts("", 2));
}

TEST_CASE("C24 many concurrent appends of a writer that is being fenced leave no ghost entry") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    Options options;
    options.fragment_bytes_max = 4u << 10;
    Site old = world.open("old", options);
    std::vector<std::string> acknowledged, refused;
    Log a = log_of(old, "a");
    const auto append = [&](int i) {
      const std::string text = "old " + std::to_string(i) + noise(seed, 100);
      const auto lsn = a.append_async(as_bytes(text), [&, text](Result<Lsn> result) {
        if (result.ok()) {
          acknowledged.push_back(text);
        } else if (result.code() == Code::kFenced) {
          refused.push_back(text);
        }
      });
      CHECK(lsn.ok());
    };
    for (int i = 0; i < 399; ++i) {
      append(i);
      if (i % 20 == 0) world.sim.run_for(Duration{static_cast<int64_t>(seed % 7)});
    }
    Site next = world.open("new", options);
    Log b = log_of(next, "a");
    auto expected = read_texts(b);
    append_text(b, "new");
    expected = plus(std::move(expected), "new");
    append(399);
    CHECK_CODE(old->flush({}), Code::kFenced);
    (void)old->close();
    append_text(b, "newer");
    expected = plus(std::move(expected), "newer");
    CHECK(read_texts(b) == expected);
    require_ok(next->close());

    const auto final_texts = stored(world, "a");
    CHECK(final_texts == expected);
    REQUIRE(final_texts.size() >= acknowledged.size());
    CHECK(std::equal(acknowledged.begin(), acknowledged.end(), final_texts.begin()));
    for (const std::string& text : refused) CHECK_FALSE(contains(final_texts, text));
    CHECK(acknowledged.size() + refused.size() == 400);
  }
}

TEST_CASE("C25 ending epochs in any order, across restarts, is harmless") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    SimRandom random(seed);
    std::vector<Site> sites;
    std::vector<std::string> expected;
    for (int round = 0; round < 12; ++round) {
      sites.push_back(world.open("m" + std::to_string(round)));
      Site& site = sites.back();
      Log log = log_of(site, "a");
      const std::string text = "round " + std::to_string(round);
      append_text(log, text);
      expected.push_back(text);
      CHECK(read_texts(log) == expected);
      // Some earlier owner ends now, in whatever way, perhaps for the second time.
      Site& victim = sites[random.below(sites.size())];
      switch (random.below(3)) {
        case 0:
          (void)victim->close();
          break;
        case 1:
          victim->abandon();
          break;
        default:
          break;
      }
    }
    for (Site& site : sites) (void)site->close();
    for (Site& site : sites) (void)site->close();
    CHECK(stored(world, "a") == expected);
  }
}

TEST_CASE("C25 a paused owner that wakes after others came and went is fenced") {
  SimWorld world(9);
  Site sleeper = world.open("sleeper");
  Log a = log_of(sleeper, "a");
  append_text(a, "1");
  std::vector<Code> told;
  for (int i = 0; i < 10; ++i) {
    require_ok(a.append_async(as_bytes("asleep"), [&](Result<Lsn> r) {
                  told.push_back(r.code());
                }).status());
  }
  sleeper.machine->pause();
  world.sim.run_for(Duration{60'000});
  std::vector<std::string> expected;
  for (int round = 0; round < 3; ++round) {
    Site site = world.open("m" + std::to_string(round));
    Log log = log_of(site, "a");
    append_text(log, "round " + std::to_string(round));
    expected = read_texts(log);
    require_ok(site->close());
    world.sim.run_for(Duration{7 * 24 * 3'600'000});
  }
  sleeper.machine->resume();
  (void)sleeper->flush({});
  CHECK_CODE(a.append(as_bytes("awake")), Code::kFenced);
  (void)sleeper->close();
  CHECK(told.size() == 10);
  const auto now = stored(world, "a");
  CHECK(now == expected);
  const auto survived = static_cast<size_t>(std::count(now.begin(), now.end(), "asleep"));
  CHECK(static_cast<size_t>(std::count(told.begin(), told.end(), Code::kOk)) == survived);
}

TEST_CASE("C26 a view that cannot be written loses nothing, is told, and recovers") {
  enum class End { kRecovers, kBrokenAtClose, kCrash };
  for (const End end : {End::kRecovers, End::kBrokenAtClose, End::kCrash}) {
    for (const Code code : {Code::kNoSpace, Code::kDenied, Code::kCorrupt, Code::kUnavailable}) {
      CAPTURE(code_name(code));
      CAPTURE(static_cast<int>(end));
      SimWorld world(10);
      auto view = std::make_shared<MemViewData>();
      Options options;
      options.checkpoint_slots = 16;
      Site site = world.open("writer", options, view);
      Log log = log_of(site, "a");
      std::vector<std::string> expected;
      const auto append = [&](int count) {
        for (int i = 0; i < count; ++i) {
          expected.push_back("e" + std::to_string(expected.size()));
          append_text(log, expected.back());
        }
      };
      append(20);
      view->set_broken(Status(code, "write view: the disk is full; free space"));
      append(100);
      require_ok(log.truncate(3));
      expected.erase(expected.begin(), expected.begin() + 3);
      Log other = log_of(site, "b");
      append_text(other, "also");
      require_ok(site->flush({}));
      CHECK(read_texts(log) == expected);
      CHECK_FALSE(site->info().view_error.empty());

      if (end == End::kRecovers) {
        view->set_broken({});
        append(100);
        world.sim.run_for(Duration{600'000});
        append(40);
        CHECK(read_texts(log) == expected);
        CHECK(site->info().view_error.empty());
        require_ok(site->close());
      } else if (end == End::kBrokenAtClose) {
        (void)site->close();
      } else {
        site->abandon();
      }
      view->set_broken({});
      Site again = world.open("writer again", options, view);
      CHECK(read_texts(log_of(again, "a")) == expected);
      CHECK(read_texts(log_of(again, "b")) == std::vector<std::string>{"also"});
      require_ok(again->verify({}));
      require_ok(again->close());
      CHECK(stored(world, "a") == expected);
    }
  }
}

TEST_CASE("C26 a view that cannot be read while the root is open is an error, not wrong data") {
  SimWorld world(11);
  auto view = std::make_shared<MemViewData>();
  Options options;
  options.fragment_bytes_max = 4u << 10;
  Site site = world.open("writer", options, view);
  Log log = log_of(site, "a");
  std::vector<std::string> expected;
  for (int i = 0; i < 200; ++i) {
    expected.push_back("e" + std::to_string(i));
    append_text(log, expected.back());
  }
  require_ok(site->close());
  site = world.open("again", options, view);
  log = log_of(site, "a");
  view->set_unreadable(Status(Code::kCorrupt, "read view: a page is damaged"));
  auto reader = log.read();
  if (reader.ok()) {
    for (size_t i = 0;; ++i) {
      const auto next = reader->next();
      if (!next.ok() || !next->has_value()) {
        CHECK((!next.ok() || i == expected.size()));
        break;
      }
      REQUIRE(i < expected.size());
      CHECK((*next)->text() == expected[i]);
    }
  }
  expected.push_back("after");
  append_text(log, "after");
  (void)site->close();
  site = world.open("healed", options, view);  // builds the view anew
  CHECK(read_texts(log_of(site, "a")) == expected);
  require_ok(site->close());
}

TEST_CASE("C26 a view that is wrong about where entries lie is an error, and heals when reopened") {
  SimWorld filled(13);
  const auto view = std::make_shared<MemViewData>();
  {
    Site site = filled.open("writer", {}, view);
    Log log = log_of(site, "a");
    for (const std::string& text : texts("", 10)) append_text(log, text);
    require_ok(site->close());
  }
  for (const bool lost : {true, false}) {
    CAPTURE(lost);
    SimWorld world(1);
    world.bucket = filled.bucket->copy();
    const auto disk = view->copy();
    {
      MutexLock lock(disk->mutex);
      REQUIRE(disk->runs.size() == 10);
      const auto fifth = std::next(disk->runs.begin(), 4);
      REQUIRE(fifth->second.lsn_first == 5);
      if (lost) {
        disk->runs.erase(fifth);
      } else {
        fifth->second.seq = std::next(fifth)->second.seq;
      }
    }
    Site site = world.open("again", {}, disk);
    Log log = log_of(site, "a");
    auto reader = log.read();
    require_ok(reader.status());
    for (Lsn lsn = 1; lsn <= 4; ++lsn) CHECK((*reader->next())->lsn == lsn);
    const auto fifth = reader->next();
    CHECK_CODE(fifth, Code::kCorrupt);
    CHECK(fifth.status().message().find(lost ? "rebuild=true" : "knows other entries") !=
          std::string::npos);
    require_ok(reader->seek(From::at(6)));
    for (Lsn lsn = 6; lsn <= 10; ++lsn) CHECK((*reader->next())->lsn == lsn);
    // What is wrong goes into no checkpoint, and nothing is deleted that the view forgot.
    CHECK_CODE(site->gc(false), Code::kCorrupt);
    CHECK_FALSE(site->info().view_error.empty());
    const size_t checkpoints = world.bucket->list("c/", "", 0).objects.size();
    require_ok(site->close());
    CHECK(world.bucket->list("c/", "", 0).objects.size() == checkpoints);
    site = world.open("healed", {}, disk);
    CHECK(read_texts(log_of(site, "a")) == texts("", 10));
    require_ok(site->verify({}));
    require_ok(site->close());
  }
}

TEST_CASE("C23 a slot reclaimed before its owner looked may have been its own, and is told so") {
  SimWorld world(14);
  Site site = world.open("writer");
  Log log = log_of(site, "a");
  append_text(log, "1");
  // Taken when it is put, and gone when it is looked at.
  site.store->script = [&](const SimRequest& request) -> std::optional<SimFate> {
    if (!request.put("j/")) return std::nullopt;
    return SimFate{false, Answer::kExists, {}, true};
  };
  const auto unknown = log.append(as_bytes("2"));
  CHECK_CODE(unknown, Code::kUnavailable);
  CHECK(unknown.status().message().find("reopen and look") != std::string::npos);
  site.store->script = nullptr;
  const auto late = log.append(as_bytes("3"));
  CHECK_CODE(late, Code::kFenced);
  CHECK(late.status().message().find("reopen") != std::string::npos);
  CHECK(read_texts(log) == texts("", 1));
  (void)site->close();
  CHECK(stored(world, "a") == texts("", 1));
}

TEST_CASE("C23 truncating what is not stored yet fails where that cannot be stored any more") {
  SimWorld world(15);
  Site site = world.open("writer", {}, nullptr,
                         [](SimStore& store) { store.linger = std::chrono::minutes{10}; });
  Log log = log_of(site, "a");
  require_ok(log.append_async(as_bytes("1"), {}).status());
  require_ok(world.open("rival").status);
  CHECK_CODE(log.truncate(1), Code::kFenced);
}

TEST_CASE("D23 a cloned disk is a second machine: the last opener wins") {
  SimWorld world(12);
  auto disk = std::make_shared<MemViewData>();
  {
    Site site = world.open("template", {}, disk);
    Log log = log_of(site, "a");
    for (const std::string& text : texts("", 3)) append_text(log, text);
    require_ok(site->close());
  }
  Site one = world.open("clone 1", {}, disk->copy());
  Site two = world.open("clone 2", {}, disk->copy());
  Log b = log_of(two, "a");
  CHECK(append_text(b, "4") == 4);
  Log a = log_of(one, "a");
  CHECK_CODE(a.append(as_bytes("4 too")), Code::kFenced);
  (void)one->close();
  require_ok(two->close());
  CHECK(stored(world, "a") == texts("", 4));
}

}  // namespace wp
