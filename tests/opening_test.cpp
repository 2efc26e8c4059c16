// The opening protocol with a rival at every step. Two or three machines on one bucket, simulated;
// at each request of an opening something else happens first, and after each history the root holds
// exactly what was acknowledged, in order, once.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "engine/format.h"
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

// ------------------------------------------------------------------------------- damaged ground

namespace {

// A root whose owner was killed before it stored a checkpoint: an opening reads every slot.
std::shared_ptr<MemoryBucket> without_checkpoint() {
  SimWorld world(1);
  for (int epoch = 0; epoch < 2; ++epoch) {
    Site site = world.open("writer");
    Log a = log_of(site, "a"), b = log_of(site, "b");
    append_text(a, "a" + std::to_string(epoch));
    append_text(b, "b" + std::to_string(epoch));
    site->abandon();
  }
  CHECK(world.bucket->list("c/", "", 0).objects.empty());
  return world.bucket;
}

std::vector<std::string> slots_of(const MemoryBucket& bucket) {
  std::vector<std::string> keys;
  for (const ListedObject& object : bucket.list("j/", "", 0).objects) keys.push_back(object.key);
  return keys;
}

// An opening of the bucket with these bytes in that slot's place is refused and names it, and
// nothing is written. Returns what was said.
std::string check_refused(const MemoryBucket& bucket, const std::string& key,
                          std::vector<std::byte> bytes) {
  std::string said;
  for (const bool read_only : {false, true}) {
    CAPTURE(read_only);
    SimWorld world(2);
    world.bucket = bucket.copy();
    world.bucket->overwrite(key, bytes);
    const auto keys = world.bucket->keys();
    Options options;
    options.read_only = read_only;
    Site site = world.open("opener", options);
    INFO(site.status.to_string());
    REQUIRE_FALSE(site.ok());
    const Code code = site.status.code();
    CHECK((code == Code::kCorrupt || code == Code::kUnsupported));
    CHECK(site.status.message().find(key) != std::string::npos);
    CHECK(site.status.message().find("run wp verify") != std::string::npos);
    CHECK(world.bucket->keys() == keys);  // above all no fence
    said = site.status.message();
  }
  return said;
}

// The slot with another header, which is sound in itself.
std::vector<std::byte> with_header(const std::vector<std::byte>& slot,
                                   const std::function<void(SlotHeader&)>& change) {
  auto header = decode_header(slot);
  require_ok(header.status());
  change(*header);
  auto bytes = slot;
  encode_header(*header, bytes.data());
  return bytes;
}

}  // namespace

TEST_CASE("an opening that meets a slot that is cut or damaged names it and writes nothing") {
  const auto bucket = without_checkpoint();
  for (const std::string& key : slots_of(*bucket)) {
    CAPTURE(key);
    const std::vector<std::byte> whole = *bucket->get(key);
    const auto header = decode_header(whole);
    require_ok(header.status());
    const size_t needed = header->header_bytes + header->index_bytes;
    for (size_t at = 0; at < needed; at += 3) {
      CAPTURE(at);
      auto bytes = whole;
      bytes[at] ^= std::byte{0x10};
      check_refused(*bucket, key, bytes);
      bytes.resize(at);
      check_refused(*bucket, key, bytes);
    }
  }
}

TEST_CASE("an opening that meets a slot of another place or history says so") {
  const auto bucket = without_checkpoint();
  const auto keys = slots_of(*bucket);
  for (size_t i = 1; i < keys.size(); ++i) {
    CAPTURE(keys[i]);
    CHECK(check_refused(*bucket, keys[i], *bucket->get(keys[i - 1])).find("belongs there") !=
          std::string::npos);
    const auto other = with_header(
        *bucket->get(keys[i]), [](SlotHeader& header) { header.prev.digest[0] ^= std::byte{1}; });
    CHECK(check_refused(*bucket, keys[i], other).find("does not follow") != std::string::npos);
    auto longer = *bucket->get(keys[i]);
    longer.push_back(std::byte{0});
    check_refused(*bucket, keys[i], longer);
  }
}

TEST_CASE("what damages a slot on its way once does not keep anyone from opening") {
  const auto bucket = without_checkpoint();
  for (const std::string& key : slots_of(*bucket)) {
    CAPTURE(key);
    SimWorld world(3);
    world.bucket = bucket->copy();
    const Body whole = world.bucket->get(key);
    bool damaged = false;
    Site site = world.open("opener", {}, nullptr, [&](SimStore& store) {
      store.before = [&](const SimRequest& request) {
        if (damaged || !request.get(key)) return;
        damaged = true;
        world.bucket->overwrite(key, std::vector<std::byte>(whole->size(), std::byte{7}));
      };
      store.after = [&](const SimRequest& request) {
        if (request.get(key)) world.bucket->overwrite(key, *whole);
      };
    });
    require_ok(site.status);
    CHECK(damaged);
    CHECK(read_texts(log_of(site, "a")) == std::vector<std::string>{"a0", "a1"});
    require_ok(site->close());
  }
}

TEST_CASE("a slot that makes no sense is passed over from a checkpoint that appears meanwhile") {
  SimWorld world(1);
  Ledger ledger;
  Options options;
  options.checkpoint_slots = 16;
  fill(world, ledger, options, 40);
  std::map<std::string, Body> hidden;
  for (const ListedObject& object : world.bucket->list("c/", "", 0).objects) {
    hidden[object.key] = world.bucket->get(object.key);
  }
  REQUIRE_FALSE(hidden.empty());
  for (const auto& [key, body] : hidden) world.bucket->erase(key);
  // As if it had been reclaimed, and something else lay there.
  const std::string slot = slots_of(*world.bucket)[5];
  const std::vector<std::byte> whole = *world.bucket->get(slot);
  world.bucket->overwrite(slot, std::vector<std::byte>(100, std::byte{7}));
  bool shown = false;
  Site opener = world.open("opener", options, nullptr, [&](SimStore& store) {
    store.before = [&](const SimRequest& request) {
      if (shown || !request.get(slot)) return;
      shown = true;
      for (const auto& [key, body] : hidden) world.bucket->put_if_absent(key, body);
    };
  });
  require_ok(opener.status);
  CHECK(shown);
  CHECK(ledger.append(opener, "after"));
  require_ok(opener->close());
  world.bucket->overwrite(slot, whole);
  ledger.check(read_back(world));
}

TEST_CASE("a view of another root or history is refused, whichever slot it stands on") {
  SimWorld world(1);
  const auto view = std::make_shared<MemViewData>();
  Site site = world.open("writer", {}, view);
  Log log = log_of(site, "a");
  append_text(log, "1");
  require_ok(site->close());
  ViewHead known;
  {
    MutexLock lock(view->mutex);
    REQUIRE(view->head.has_value());
    known = *view->head;
  }
  for (const ListedObject& object : world.bucket->list("c/", "", 0).objects) {
    world.bucket->erase(object.key);
  }
  const auto open_with = [&](const ViewHead& head) {
    const auto changed = view->copy();
    {
      MutexLock lock(changed->mutex);
      changed->head = head;
    }
    const auto keys = world.bucket->keys();
    const Status status = world.open("other", {}, changed).status;
    if (!status.ok()) CHECK(world.bucket->keys() == keys);
    return status;
  };
  ViewHead head = known;
  head.last.digest[0] ^= std::byte{1};
  Status status = open_with(head);
  CHECK_CODE(status, Code::kRolledBack);
  CHECK(status.message().find("rebuild=true") != std::string::npos);
  // One that stands on the root itself.
  head = known;
  head.last.slot = {};
  status = open_with(head);
  CHECK_CODE(status, Code::kRolledBack);
  CHECK(status.message().find("another root") != std::string::npos);
  head = ViewHead();
  head.root_id = known.root_id;
  head.last.digest = sha256(*world.bucket->get("root"));
  head.next = {1, decode_root(*world.bucket->get("root"))->creator, 0};
  head.log_id_next = 1;
  SimWorld empty(4);
  empty.bucket = world.bucket;
  const auto blank = std::make_shared<MemViewData>();
  {
    MutexLock lock(blank->mutex);
    blank->head = head;
  }
  Site opener = empty.open("opener", {}, blank);
  require_ok(opener.status);
  CHECK(read_texts(log_of(opener, "a")) == texts("", 1));
}

TEST_CASE("a view that fails at any step of an opening is built anew, or is the opening's error") {
  SimWorld filled(1);
  Ledger ledger;
  Options options;
  options.checkpoint_slots = 16;
  const auto view = std::make_shared<MemViewData>();
  {
    Site site = filled.open("writer", options, view);
    for (int i = 0; i < 20; ++i) ledger.append(site, "1/" + std::to_string(i));
    require_ok(site->close());
  }
  {
    Site site = filled.open("elsewhere", options);
    for (int i = 0; i < 20; ++i) ledger.append(site, "2/" + std::to_string(i));
    site->abandon();
  }
  for (const Code code : {Code::kCorrupt, Code::kUnavailable}) {
    size_t opened = 0, refused = 0;
    for (uint64_t nth = 0;; ++nth) {
      CAPTURE(code_name(code));
      CAPTURE(nth);
      SimWorld world(nth + 1);
      world.bucket = filled.bucket->copy();
      const auto disk = view->copy();
      bool reached = false;
      Site site = world.site("opener", [&](SimStore& store) {
        store.before = [&](const SimRequest& request) {
          if (request.number != nth) return;
          reached = true;
          disk->set_unreadable(Status(code, "read view: a page is damaged"));
        };
      });
      std::vector<std::string> said;
      Options opening = options;
      opening.on_message = [&](Level, std::string_view text) { said.emplace_back(text); };
      world.open(site, opening, disk);
      site.store->before = nullptr;
      if (!reached) break;
      if (site.ok()) {
        ++opened;
        // Where it failed behind the last look at it, reading notices.
        disk->set_unreadable({});
        auto texts = read_texts(log_of(site, "a"));
        CHECK(texts == ledger.acknowledged);
        require_ok(site->close());
      } else {
        ++refused;
        CHECK_CODE(site.status, code);
        CHECK(code != Code::kCorrupt);
      }
    }
    CHECK(opened > 0);
    CHECK((refused > 0) == (code != Code::kCorrupt));
  }
}

TEST_CASE("a store that refuses or answers strangely in the middle of an opening ends it as told") {
  const auto bucket = without_checkpoint();
  for (const Answer answer : {Answer::kDenied, Answer::kNoSpace, Answer::kInvalid}) {
    CAPTURE(answer_name(answer));
    for (uint64_t nth = 0;; ++nth) {
      CAPTURE(nth);
      SimWorld world(nth + 1);
      world.bucket = bucket->copy();
      bool reached = false;
      Site site = world.open("opener", {}, nullptr, [&](SimStore& store) {
        store.script = [&](const SimRequest& request) -> std::optional<SimFate> {
          if (request.number != nth) return std::nullopt;
          reached = true;
          return SimFate{false, answer, {}, true};
        };
      });
      if (!reached) {
        CHECK(nth >= 5);
        break;
      }
      CHECK_FALSE(site.ok());
      const Code code = answer == Answer::kDenied    ? Code::kDenied
                        : answer == Answer::kNoSpace ? Code::kNoSpace
                                                     : Code::kInvalid;
      CHECK_CODE(site.status, code);
      CHECK(read_back(world) == std::vector<std::string>{"a0", "a1"});
    }
  }
}

TEST_CASE("an opener whose fence's place was taken and is free again begins anew") {
  SimWorld world(1);
  world.bucket = without_checkpoint();
  bool told = false;
  Site site = world.open("opener", {}, nullptr, [&](SimStore& store) {
    store.script = [&](const SimRequest& request) -> std::optional<SimFate> {
      if (told || !request.put("j/")) return std::nullopt;
      told = true;
      return SimFate{false, Answer::kExists, {}, true};
    };
  });
  require_ok(site.status);
  CHECK(told);
  require_ok(site->close());
  CHECK(read_back(world) == std::vector<std::string>{"a0", "a1"});
}

TEST_CASE(
    "a journal of thousands of slots without a checkpoint is opened, and followed, in parts") {
  SimWorld world(1);
  Options options;
  options.checkpoint_slots = 100'000;
  Options read_only = options;
  read_only.read_only = true;
  Site writer = world.open("writer", options);
  Log log = log_of(writer, "a");
  append_text(log, "1");
  Site follower = world.open("follower", read_only);
  require_ok(follower.status);
  for (int i = 2; i <= 2'100; ++i) append_text(log, std::to_string(i));
  CHECK(follower->find("a")->info().lsn_durable == 2'100);
  CHECK(read_texts(*follower->find("a")) == texts("", 2'100));
  writer->abandon();
  // A checkpoint that appears under so long a walk: it may have gone over reclaimed ground.
  const auto bucket = world.bucket->copy();
  Site closing = world.open("closing", options);
  require_ok(closing.status);
  require_ok(closing->close());
  const auto checkpoint = world.bucket->list("c/", "", 0).objects.at(0).key;
  const Body body = world.bucket->get(checkpoint);
  for (const bool appears : {false, true}) {
    CAPTURE(appears);
    SimWorld again(2);
    again.bucket = appears ? world.bucket->copy() : bucket->copy();
    if (appears) again.bucket->erase(checkpoint);
    uint64_t gets = 0;
    Site opener = again.open("opener", options, nullptr, [&](SimStore& store) {
      store.before = [&](const SimRequest& request) {
        if (request.get("j/") && ++gets == 500 && appears) {
          again.bucket->put_if_absent(checkpoint, body);
        }
      };
    });
    require_ok(opener.status);
    CHECK(gets >= 2'000);
    CHECK(read_texts(log_of(opener, "a")) == texts("", 2'100));
    require_ok(opener->close());
  }
}

TEST_CASE("names among the checkpoints that are none, more than a list gives, hide nothing") {
  SimWorld world(1);
  Ledger ledger;
  fill(world, ledger, {}, 3);
  for (int i = 0; i < 1'100; ++i) {
    world.bucket->overwrite("c/!" + std::to_string(10'000 + i), {std::byte{1}});
  }
  Site opener = world.open("opener");
  require_ok(opener.status);
  CHECK(opener.store->count(Operation::kGet) < 12);  // from the checkpoint, not from the root
  require_ok(opener->close());
  ledger.check(read_back(world));
}

TEST_CASE("an index that is larger than the first read of a slot is read as well") {
  SimWorld world(1);
  Options options;
  options.reclaim_grace = Duration{0};
  options.compact_share = 0;
  Site writer = world.open("writer", options, nullptr,
                           [](SimStore& store) { store.linger = std::chrono::seconds{10}; });
  std::vector<std::string> names;
  for (int i = 0; i < 4'000; ++i) {
    names.push_back("a log with a name of some length " + std::to_string(i));
    require_ok(log_of(writer, names.back()).append_async(as_bytes(names.back()), {}).status());
  }
  require_ok(writer->flush({}));
  uint64_t largest = 0;
  for (const std::string& key : slots_of(*world.bucket)) {
    largest = std::max<uint64_t>(largest, decode_header(*world.bucket->get(key))->index_bytes);
  }
  REQUIRE(largest > kHeadBytes);
  writer->abandon();
  Site next = world.open("next", options);
  require_ok(next.status);
  for (const size_t i : {0, 1'999, 3'999}) {
    CHECK(read_texts(log_of(next, names[i])) == std::vector<std::string>{names[i]});
  }
  // Compaction reads it too.
  Log log = log_of(next, names[0]);
  for (int i = 0; i < 20; ++i) append_text(log, "more");
  require_ok(next->close());
  next = world.open("third", options);
  require_ok(next->gc(false).status());
  require_ok(next->verify({}));
  CHECK(read_texts(log_of(next, names[0])).size() == 21);
}

}  // namespace wp
