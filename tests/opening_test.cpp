// The opening protocol with a rival at every step. Two or three machines on one bucket, simulated;
// at each request of an opening something else happens first, and after each history the root holds
// exactly what was acknowledged, in order, once.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "tests/test_root.h"

namespace wp {
namespace {

std::vector<std::string> read_back(SimWorld& world) {
  Site site = world.open("checker");
  Log log = log_of(site, "a");
  auto texts = read_texts(log);
  CHECK(append_text(log, "checked") == texts.size() + 1);
  require_ok(site->verify({}));
  require_ok(site->close());
  return texts;
}

// What any machine was told, and a check against what is stored at the end.
struct Ledger {
  std::vector<std::string> acknowledged, fenced;

  bool append(Site& site, const std::string& text) {
    if (!site.ok()) return false;
    auto log = site.engine->log("a");
    Result<Lsn> lsn = log.ok() ? log->append(as_bytes(text)) : Result<Lsn>(log.status());
    if (lsn.ok()) {
      acknowledged.push_back(text);
    } else if (lsn.code() == Code::kFenced) {
      fenced.push_back(text);
    }
    return lsn.ok();
  }

  void check(const std::vector<std::string>& stored) const {
    // The order of acknowledgements is the order in the log, as each was waited for.
    auto at = stored.begin();
    for (const std::string& text : acknowledged) {
      CAPTURE(text);
      at = std::find(at, stored.end(), text);
      REQUIRE(at != stored.end());
      ++at;
    }
    for (const std::string& text : fenced) {
      CAPTURE(text);
      CHECK(std::find(stored.begin(), stored.end(), text) == stored.end());
    }
    auto sorted = stored;
    std::sort(sorted.begin(), sorted.end());
    CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
  }
};

// A root with a few slots, two epochs, and perhaps checkpoints.
void fill(SimWorld& world, Ledger& ledger, const Options& options, int entries) {
  for (int epoch = 0; epoch < 2; ++epoch) {
    Site site = world.open("filler", options);
    for (int i = 0; i < entries; ++i) {
      CHECK(ledger.append(site, "fill " + std::to_string(epoch) + "/" + std::to_string(i)));
    }
    if (epoch == 0) {
      site->abandon();
    } else {
      require_ok(site->close());
    }
  }
}

enum class Rival {
  kAppends,        // the old owner, alive, appends
  kOpens,          // another machine opens and appends
  kOpensAndDies,   // another machine opens and is gone
  kOpensTwice,     // two others, one after the other
  kManyAppends,    // the old owner appends enough for a checkpoint
  kClosesAndOpens  // the old owner closes, and opens again
};

// Everything that the rival does, while the opener stands still.
void act(Rival rival, SimWorld& world, Ledger& ledger, const Options& options, Site& old,
         const std::shared_ptr<MemViewData>& disk, std::vector<Site>& others) {
  const auto open_and_append = [&](const std::string& name) {
    others.push_back(world.open(name, options));
    ledger.append(others.back(), name);
  };
  switch (rival) {
    case Rival::kAppends:
      ledger.append(old, "old 2");
      break;
    case Rival::kManyAppends:
      for (int i = 2; i < 60; ++i) ledger.append(old, "old " + std::to_string(i));
      world.sim.run_for(Duration{10'000});
      break;
    case Rival::kOpens:
      open_and_append("rival");
      break;
    case Rival::kOpensAndDies:
      others.push_back(world.open("rival", options));
      if (others.back().ok()) others.back()->abandon();
      break;
    case Rival::kOpensTwice:
      open_and_append("rival 1");
      open_and_append("rival 2");
      break;
    case Rival::kClosesAndOpens:
      (void)old->close();
      old = world.open("old owner again", options, disk);
      ledger.append(old, "old again");
      break;
  }
}

// Opens on a machine that stands still at its n-th request, before or after the request is applied,
// while the rival acts. False: the opening made fewer requests than that.
bool open_with_rival(uint64_t nth, bool before, Rival rival, uint64_t seed) {
  SimWorld world(seed);
  Ledger ledger;
  Options options;
  options.checkpoint_slots = 16;
  fill(world, ledger, options, 3);
  auto disk = std::make_shared<MemViewData>();
  Site old = world.open("old owner", options, disk);
  CHECK(ledger.append(old, "old 1"));

  std::vector<Site> others;
  bool reached = false;
  Site opener = world.site("opener");
  auto& hook = before ? opener.store->before : opener.store->after;
  hook = [&](const SimRequest& request) {
    if (request.number != nth) return;
    reached = true;
    world.sim.note("the rival acts");
    opener.machine->pause();
    act(rival, world, ledger, options, old, disk, others);
    opener.machine->resume();
  };
  world.sim.spawn(opener.machine, "opening", [&] { world.open(opener, options); });
  world.sim.run_actors();
  hook = nullptr;  // what follows is no part of the opening
  if (opener.ok()) {
    ledger.append(opener, "opener 1");
  } else {
    INFO(opener.status.to_string());
    CHECK(opener.status.retryable());
  }
  // The earlier owners learn of it, one by one, and acknowledge nothing that will not stay.
  ledger.append(old, "old late");
  for (size_t i = 0; i < others.size(); ++i) {
    ledger.append(others[i], "rival late " + std::to_string(i));
  }
  if (opener.ok()) ledger.append(opener, "opener 2");
  for (Site& site : others) {
    if (site.ok()) (void)site->close();
  }
  (void)old->close();
  if (opener.ok()) (void)opener->close();
  ledger.check(read_back(world));
  return reached;
}

void each_step_with_rival(Rival rival) {
  for (const bool before : {false, true}) {
    for (uint64_t nth = 0; nth < 200; ++nth) {
      CAPTURE(before);
      CAPTURE(nth);
      if (!open_with_rival(nth, before, rival, nth + 1)) {
        CHECK(nth >= 4);  // an opening asks for something
        break;
      }
    }
  }
}

}  // namespace

TEST_CASE("an opening with the old owner appending at any step loses and doubles nothing") {
  each_step_with_rival(Rival::kAppends);
}

TEST_CASE("an opening with a checkpoint appearing at any step loses and doubles nothing") {
  each_step_with_rival(Rival::kManyAppends);
}

TEST_CASE("an opening with another opener at any step loses and doubles nothing") {
  each_step_with_rival(Rival::kOpens);
}

TEST_CASE("an opening with another opener that dies at any step walks over its fence") {
  each_step_with_rival(Rival::kOpensAndDies);
}

TEST_CASE("an opening with two other openers at any step loses and doubles nothing") {
  each_step_with_rival(Rival::kOpensTwice);
}

TEST_CASE("an opening while the old owner closes and opens again loses and doubles nothing") {
  each_step_with_rival(Rival::kClosesAndOpens);
}

TEST_CASE("an opener that dies at any step leaves nothing that another must repair") {
  for (uint64_t nth = 0; nth < 200; ++nth) {
    CAPTURE(nth);
    SimWorld world(nth + 1);
    Ledger ledger;
    fill(world, ledger, {}, 3);
    bool reached = false;
    Site opener = world.site("opener");
    opener.store->after = [&](const SimRequest& request) {
      if (request.number != nth) return;
      reached = true;
      opener.machine->pause();
    };
    world.sim.spawn(opener.machine, "opening", [&] { world.open(opener); });
    world.sim.run_until([&] { return reached || world.sim.actors_left() == 0; });
    if (!reached) {
      CHECK(nth >= 4);
      opener.store->after = nullptr;
      if (opener.ok()) (void)opener->close();
      break;
    }
    opener.machine->kill();
    world.sim.run_actors();
    Site next = world.open("next");
    CHECK(ledger.append(next, "next 1"));
    require_ok(next->close());
    ledger.check(read_back(world));
  }
}

TEST_CASE("a new root that two machines create at once is one root") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    Ledger ledger;
    std::vector<Site> sites;
    for (int m = 0; m < 3; ++m) sites.push_back(world.site("m" + std::to_string(m)));
    for (Site& site : sites) {
      world.sim.spawn(site.machine, "opening", [&] { world.open(site); });
    }
    world.sim.run_actors();
    for (size_t m = 0; m < sites.size(); ++m) {
      require_ok(sites[m].status);
      ledger.append(sites[m], "m" + std::to_string(m));
    }
    CHECK(ledger.acknowledged.size() == 1);  // the last opener's
    for (Site& site : sites) CHECK(site->info().root_id == sites[0]->info().root_id);
    for (Site& site : sites) (void)site->close();
    ledger.check(read_back(world));
  }
}

TEST_CASE("openers that race, all of them, end with one owner and one history") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    Ledger ledger;
    fill(world, ledger, {}, 2);
    std::vector<Site> sites;
    for (int m = 0; m < 5; ++m) {
      sites.push_back(world.site("m" + std::to_string(m), [&](SimStore& store) {
        if (seed % 2 == 0) store.faults = SimFaults::some();
      }));
    }
    for (Site& site : sites) {
      world.sim.spawn(site.machine, "opening", [&] { world.open(site); });
    }
    world.sim.run_actors();
    const size_t before = ledger.acknowledged.size();
    for (size_t m = 0; m < sites.size(); ++m) {
      if (sites[m].ok()) ledger.append(sites[m], "m" + std::to_string(m));
    }
    CHECK(ledger.acknowledged.size() <= before + 1);
    for (Site& site : sites) {
      if (site.ok()) (void)site->close();
    }
    world.sim.run_for(Duration{600'000});
    ledger.check(read_back(world));
  }
}

TEST_CASE("a foreign body in our slot is another's: we are fenced, and never acknowledge into it") {
  SimWorld world(1);
  Site site = world.open("writer");
  Log log = log_of(site, "a");
  append_text(log, "1");
  std::string taken;
  site.store->before = [&](const SimRequest& request) {
    if (!taken.empty() || !request.put("j/")) return;
    taken = request.key;
    world.bucket->put_if_absent(
        request.key, std::make_shared<const std::vector<std::byte>>(300, std::byte{0x5a}));
  };
  AppendOptions options;
  options.timeout = Duration{60'000};
  const auto lsn = log.append(as_bytes("2"), options);
  INFO(lsn.status().to_string());
  CHECK_FALSE(lsn.ok());
  CHECK(lsn.code() != Code::kTimeout);  // it is told, not left waiting
  CHECK(log.info().lsn_durable == 1);
  CHECK_FALSE(log.append(as_bytes("3"), options).ok());
  CHECK(read_texts(log) == texts("", 1));
  (void)site->close();
}

TEST_CASE("one's own slot that exists already is recognised by its header, and acknowledged once") {
  SimWorld world(1);
  Site site = world.open("writer");
  Log log = log_of(site, "a");
  append_text(log, "1");
  uint64_t lost = 0;
  site.store->script = [&](const SimRequest& request) -> std::optional<SimFate> {
    if (!request.put("j/") || request.attempt != 0) return std::nullopt;
    ++lost;
    return fate_lost_answer();
  };
  int told = 0;
  for (int i = 2; i <= 6; ++i) {
    const auto lsn = log.append_async(as_bytes(std::to_string(i)),
                                      [&](Result<Lsn> result) { told += result.ok(); });
    require_ok(lsn.status());
    require_ok(site->flush({}));
  }
  CHECK(lost == 5);
  world.sim.run_for(Duration{1});  // a callback may come a moment after flush()
  CHECK(told == 5);
  CHECK(read_texts(log) == texts("", 6));
  CHECK(append_text(log, "7") == 7);
  require_ok(site->close());
  CHECK(read_back(world) == texts("", 7));
}

TEST_CASE("an owner that sleeps in the middle of its PUTs and wakes after a takeover is fenced") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    Options options;
    options.fragment_bytes_max = 4u << 10;
    options.checkpoint_slots = 16;
    Site sleeper = world.open("sleeper", options);
    Log log = log_of(sleeper, "a");
    std::vector<std::string> acknowledged, fenced;
    const auto append = [&](int i) {
      const std::string text = "sleeper " + std::to_string(i) + noise(seed + 1, 300);
      const auto lsn = log.append_async(as_bytes(text), [&, text](Result<Lsn> result) {
        if (result.ok()) acknowledged.push_back(text);
        if (result.code() == Code::kFenced) fenced.push_back(text);
      });
      require_ok(lsn.status());
    };
    for (int i = 0; i < 199; ++i) append(i);
    world.sim.run_for(Duration{static_cast<int64_t>(seed)});
    sleeper.machine->pause();
    const auto before = acknowledged;
    Site next = world.open("next", options);
    Log log_next = log_of(next, "a");
    const auto taken_over = read_texts(log_next);
    for (int i = 0; i < 40; ++i) append_text(log_next, "next " + std::to_string(i));
    require_ok(next->close());
    world.sim.run_for(Duration{7 * 24 * 3'600'000});
    sleeper.machine->resume();
    append(199);
    CHECK_CODE(sleeper->flush({}), Code::kFenced);
    (void)sleeper->close();
    const auto stored = read_back(world);
    REQUIRE(stored.size() == taken_over.size() + 40);
    REQUIRE(taken_over.size() >= acknowledged.size());
    CHECK(acknowledged.size() >= before.size());
    CHECK(std::equal(acknowledged.begin(), acknowledged.end(), stored.begin()));
    CHECK(acknowledged.size() == taken_over.size());  // what landed is told as stored
    CHECK(acknowledged.size() + fenced.size() == 200);
  }
}

TEST_CASE("a slot that is gone when it is read sends the opener back to the checkpoints") {
  SimWorld world(1);
  Ledger ledger;
  Options options;
  options.checkpoint_slots = 16;
  fill(world, ledger, options, 40);
  std::vector<std::string> checkpoints;
  for (const std::string& key : world.bucket->keys()) {
    if (key.starts_with("c/")) checkpoints.push_back(key);
  }
  REQUIRE_FALSE(checkpoints.empty());
  // The opener does not see them at first: as if they appeared while it was walking.
  uint64_t lists = 0;
  std::map<std::string, Body> hidden;
  for (const std::string& key : checkpoints) {
    hidden[key] = world.bucket->get(key);
    world.bucket->erase(key);
  }
  Site opener = world.open("opener", options, nullptr, [&](SimStore& store) {
    store.before = [&](const SimRequest& request) {
      if (request.operation != Operation::kList || !request.key.starts_with("c")) return;
      if (++lists != 2) return;
      for (const auto& [key, body] : hidden) world.bucket->put_if_absent(key, body);
    };
  });
  require_ok(opener.status);
  CHECK(lists >= 3);  // at the start, after its fence, and again from the start
  CHECK(ledger.append(opener, "after"));
  require_ok(opener->close());
  ledger.check(read_back(world));
}

TEST_CASE("a follower sees one history through takeovers, and never writes") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    Ledger ledger;
    Options options;
    options.checkpoint_slots = 16;
    fill(world, ledger, options, 3);
    Options read_only = options;
    read_only.read_only = true;
    Site follower = world.open("follower", read_only);
    require_ok(follower.status);
    auto log = follower->find("a");
    require_ok(log.status());
    auto reader = log->subscribe();
    require_ok(reader.status());
    std::vector<std::string> seen;
    for (int round = 0; round < 4; ++round) {
      Site writer = world.open("writer", options);
      for (int i = 0; i < 10; ++i) {
        CHECK(ledger.append(writer, "w" + std::to_string(round) + "/" + std::to_string(i)));
      }
      while (seen.size() < ledger.acknowledged.size()) {
        const auto next = reader->next(Duration{60'000});
        require_ok(next.status());
        REQUIRE(next->has_value());
        CHECK((*next)->lsn == seen.size() + 1);
        seen.emplace_back((*next)->text());
      }
      CHECK(seen == ledger.acknowledged);
      if (round % 2 == 0) {
        writer->abandon();
      } else {
        require_ok(writer->close());
      }
    }
    CHECK(follower.store->count(Operation::kPut) == 0);
    CHECK(follower.store->count(Operation::kDelete) == 0);
    require_ok(follower->close());
    CHECK(follower.store->count(Operation::kPut) == 0);
  }
}

}  // namespace wp
