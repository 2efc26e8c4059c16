// The randomised simulation: machines that open, append, truncate, drop, crash, sleep and take the
// root from each other, on a bucket behind a bad network; and a checker that knows only what
// callers were told. WP_SIM_SEEDS says how many seeds (from WP_SIM_FIRST on); a failure prints its
// seed.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "tests/test_root.h"

namespace wp {
namespace {

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? otherwise : std::stoull(text);
}

// What callers were told, and what readers saw, for all machines together. Every entry's payload is
// unique. It knows nothing of slots, epochs or fences.
class Checker {
 public:
  explicit Checker(SimRuntime& sim) : sim_(sim) {}

  enum class Told : uint8_t { kNothing, kAcknowledged, kFenced };

  // Before an append: this text may appear in logs of that name.
  std::string new_text(const std::string& log, size_t padding) {
    std::string text = log + "#" + std::to_string(++text_next_);
    text += " " + noise(text_next_, padding);
    texts_.emplace(text, Text{log, Told::kNothing});
    return text;
  }

  void acknowledged(LogId id, Lsn lsn, const std::string& text) {
    Text& known = texts_.at(text);
    if (known.told == Told::kFenced) fail("acknowledged after kFenced", id, lsn);
    known.told = Told::kAcknowledged;
    see(id, lsn, text);
    Lsn& last = last_acknowledged_[id];
    last = std::max(last, lsn);
  }

  void fenced(const std::string& text) { texts_.at(text).told = Told::kFenced; }

  // A truncation was asked for; later it may have been confirmed.
  void truncating(LogId id, Lsn upto) {
    Lsn& most = truncated_most_[id];
    most = std::max(most, upto);
  }
  void truncated(LogId id, Lsn upto) {
    Lsn& sure = truncated_sure_[id];
    sure = std::max(sure, upto);
  }
  // A cursor was told to be there; what was told before a flush that succeeded is durable.
  void commits(LogId id, Lsn upto) { committed_[id].push_back(upto); }
  void flushed(LogId id, size_t commits_before) {
    size_t& sure = committed_sure_[id];
    sure = std::max(sure, commits_before);
  }
  size_t commits_so_far(LogId id) { return committed_[id].size(); }
  // As the newest opening sees it: one of those that were told since the last that is sure.
  void cursor_at(LogId id, Lsn committed, Lsn first) {
    const auto& told = committed_[id];
    const size_t sure = committed_sure_[id];
    for (size_t i = sure == 0 ? 0 : sure - 1; i < told.size(); ++i) {
      if (committed == std::max(told[i], first - 1)) return;
    }
    fail("a cursor is where nobody put it", id, committed);
  }

  void dropping(LogId id) { dropped_maybe_.insert(id); }
  void dropped(LogId id) { dropped_sure_.insert(id); }

  // Some reader, anywhere, saw this entry.
  void see(LogId id, Lsn lsn, const std::string& text) {
    const auto known = texts_.find(text);
    if (known == texts_.end()) return fail("an entry that nobody appended", id, lsn);
    if (known->second.told == Told::kFenced) fail("an entry of a fenced writer", id, lsn);
    if (lsn == 0) fail("LSN 0", id, lsn);
    const auto [at, is_new] = history_[id].emplace(lsn, text);
    if (!is_new && at->second != text) fail("two entries of one LSN", id, lsn);
    const auto [place, first] = places_.emplace(text, std::pair{id, lsn});
    if (!first && place->second != std::pair{id, lsn}) fail("an entry twice", id, lsn);
  }

  // A read from the first entry on to the end, by the current owner or a follower.
  void read_whole(LogId id, const std::vector<Entry>& entries, bool fresh) {
    Lsn expected = entries.empty() ? 0 : entries.front().lsn;
    if (!entries.empty() && expected > truncated_most_[id] + 1) {
      fail("entries are missing at the beginning", id, expected);
    }
    for (const Entry& entry : entries) {
      if (entry.lsn != expected++) fail("a gap", id, entry.lsn);
      see(id, entry.lsn, std::string(entry.text()));
    }
    if (!fresh) return;
    const Lsn last = last_acknowledged_[id];
    if (last > truncated_most_[id] && (entries.empty() || entries.back().lsn < last)) {
      fail("an acknowledged entry is missing at the end", id, last);
    }
    if (!entries.empty() && entries.front().lsn <= truncated_sure_[id]) {
      fail("a truncated entry is back", id, entries.front().lsn);
    }
  }

  // Every log that holds something acknowledged, and was not dropped, is among these.
  void logs_there(const std::set<LogId>& ids) {
    for (const auto& [id, last] : last_acknowledged_) {
      if (last != 0 && !dropped_maybe_.contains(id) && !ids.contains(id)) {
        fail("a log is missing", id, last);
      }
    }
    for (const LogId id : dropped_sure_) {
      if (ids.contains(id)) fail("a dropped log is back", id, 0);
    }
  }

  void fail(const std::string& what, LogId id, Lsn lsn) {
    ++failures_;
    sim_.note("CHECKER: " + what + ", log " + std::to_string(id) + ", LSN " + std::to_string(lsn));
    if (failures_ <= 3) {
      FAIL_CHECK("seed " << sim_.seed() << ": " << what << ", log " << id << ", LSN " << lsn);
    }
  }
  uint64_t failures() const { return failures_; }
  uint64_t acknowledged_count() const {
    uint64_t count = 0;
    for (const auto& [text, known] : texts_) count += known.told == Told::kAcknowledged;
    return count;
  }

 private:
  struct Text {
    std::string log;
    Told told;
  };
  SimRuntime& sim_;
  uint64_t text_next_ = 0;
  uint64_t failures_ = 0;
  std::map<std::string, Text> texts_;
  std::map<LogId, std::map<Lsn, std::string>> history_;
  std::map<std::string, std::pair<LogId, Lsn>> places_;
  std::map<LogId, Lsn> last_acknowledged_, truncated_most_, truncated_sure_;
  std::set<LogId> dropped_maybe_, dropped_sure_;
  std::map<LogId, std::vector<Lsn>> committed_;
  std::map<LogId, size_t> committed_sure_;
};

// Reads a whole log; nothing if an error came in between, which is allowed while things go wrong.
std::optional<std::vector<Entry>> try_read(const Log& log) {
  auto reader = log.read();
  if (!reader.ok()) return std::nullopt;
  std::vector<Entry> entries;
  for (;;) {
    auto next = reader->next(Duration{20'000});
    if (!next.ok()) {
      if (next.code() != Code::kTruncated) return std::nullopt;
      entries.clear();  // what was read before is a prefix that others have seen
      continue;
    }
    if (!next->has_value()) return entries;
    entries.push_back(std::move(**next));
  }
}

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : world_(seed), checker_(world_.sim), plan_(seed * 7 + 1) {}

  void run() {
    const size_t machines = plan_.between(2, 3);
    bad_network_ = plan_.chance(0.8);
    options_.fragment_bytes_max = 4u << 10;
    options_.block_bytes = 1u << 10;
    options_.checkpoint_slots = plan_.chance(0.5) ? 16 : 1'000;
    options_.ram_bytes_max = 1u << 20;
    options_.entry_bytes_max = 8u << 10;
    options_.puts_in_flight_max = static_cast<uint32_t>(plan_.between(1, 8));
    options_.open_timeout = Duration{120'000};
    options_.close_timeout = Duration{10'000};
    options_.reclaim_grace = Duration{plan_.chance(0.5) ? 0 : 20'000};
    options_.compact_objects = static_cast<uint32_t>(plan_.between(2, 12));
    options_.compact_share = plan_.chance(0.2) ? 0 : 0.5;
    options_.cursor_commit_interval = Duration{1'000};
    for (size_t m = 0; m < machines; ++m) {
      homes_.push_back(world_.sim.machine("home " + std::to_string(m)));
      const auto home = homes_.back();
      const uint64_t seed = plan_.next();
      world_.sim.spawn(home, "writer " + std::to_string(m),
                       [this, home, m, seed] { writer(home, m, seed); });
    }
    if (plan_.chance(0.7)) {
      homes_.push_back(world_.sim.machine("follower's home"));
      world_.sim.spawn(homes_.back(), "follower", [this, home = homes_.back()] { follower(home); });
    }
    homes_.push_back(world_.sim.machine("chaos"));
    world_.sim.spawn(homes_.back(), "chaos", [this, home = homes_.back()] { chaos(home); });
    world_.sim.run_actors();
    finish();
  }

  SimWorld& world() { return world_; }
  Checker& checker() { return checker_; }

 private:
  // An actor's own open root. The actor lives on a home machine that is never paused; the engine
  // on a machine of its own per opening.
  struct Session {
    Site site;
    bool fenced = false;
    std::set<LogId> cursors;  // whose cursor this opening has made sure of
  };

  bool over() const { return ops_ >= kOpsMax; }

  // Blocking calls run as an actor of the engine's machine, so that its events wake them.
  void call(const std::shared_ptr<SimMachine>& home, Session& session,
            const std::function<void()>& body) {
    bool done = false;
    world_.sim.spawn(session.site.machine, "call", [&] {
      body();
      done = true;
    });
    while (!done) home->sleep(Duration{5});
  }

  void open(const std::shared_ptr<SimMachine>& home, Session& session, const std::string& name,
            const Options& options, const std::shared_ptr<MemViewData>& disk) {
    const auto offset = Duration{static_cast<int64_t>(plan_.below(7'200'000)) - 3'600'000};
    session = {};
    session.site = world_.site(
        name,
        [&](SimStore& store) {
          if (bad_network_) store.faults = SimFaults::some();
          store.linger = Duration{static_cast<int64_t>(plan_.below(3) * 20)};
        },
        offset);
    live_.push_back(session.site);
    call(home, session, [&] { world_.open(session.site, options, disk); });
    if (!session.site.ok() && !session.site.status.retryable()) {
      checker_.fail("opening failed: " + session.site.status.to_string(), 0, 0);
    }
  }

  void writer(const std::shared_ptr<SimMachine>& home, size_t number, uint64_t seed) {
    SimRandom random(seed);
    auto disk = std::make_shared<MemViewData>();
    std::shared_ptr<MemViewData> backup;
    Session session;
    for (uint64_t opening = 0; !over(); ++opening) {
      home->sleep(Duration{static_cast<int64_t>(random.below(4'000))});
      // Disks are lost, and set back to an old backup.
      if (random.chance(0.15)) disk = std::make_shared<MemViewData>();
      if (random.chance(0.10) && backup != nullptr) disk = backup->copy();
      if (random.chance(0.10)) backup = disk->copy();
      const std::string name = "m" + std::to_string(number) + "." + std::to_string(opening);
      open(home, session, name, options_, disk);
      ++ops_;
      if (!session.site.ok()) continue;
      if (random.chance(0.5))
        call(home, session, [&] { check_everything(*session.site.engine, false); });
      const uint64_t ops = random.between(1, 60);
      for (uint64_t i = 0; i < ops && !session.fenced && !over(); ++i) {
        ++ops_;
        call(home, session, [&] { operate(session, random); });
        if (random.chance(0.3)) home->sleep(Duration{static_cast<int64_t>(random.below(500))});
      }
      leave(home, session, random);
    }
  }

  void leave(const std::shared_ptr<SimMachine>& home, Session& session, SimRandom& random) {
    const auto engine = session.site.engine;
    if (random.chance(0.5)) {
      call(home, session, [&] { (void)engine->close(); });
    } else if (random.chance(0.7)) {
      call(home, session, [&] { engine->abandon(); });
    } else {
      session.site.machine->kill();  // nobody is told anything
      session.site.store->faults.down = true;
    }
    std::erase_if(live_, [&](const Site& site) { return site.machine == session.site.machine; });
    graves_.push_back(std::move(session.site));
  }

  // One thing that a program does.
  void operate(Session& session, SimRandom& random) {
    Engine& engine = *session.site.engine;
    const std::string name(1, static_cast<char>('a' + random.below(3)));
    auto log = engine.log(name);
    if (!log.ok()) return note_error(session, log.status());
    const LogId id = log->info().id;
    world_.sim.note("LOG " + session.site.machine->name() + " " + name + " id " +
                    std::to_string(id) + " last " + std::to_string(log->info().lsn_last));
    AppendOptions options;
    if (random.chance(0.3)) options.timeout = Duration{static_cast<int64_t>(random.below(3'000))};
    if (random.chance(0.2)) options.at_limit = AtLimit::kBusy;
    switch (random.below(24)) {
      default: {  // durable
        if (!options.timeout) options.timeout = Duration{60'000};
        const std::string text = checker_.new_text(name, random.below(200));
        outcome(session, id, text, log->append(as_bytes(text), options));
        break;
      }
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5: {  // many at once
        const uint64_t count = random.between(1, 40);
        for (uint64_t i = 0; i < count; ++i) {
          const std::string text = checker_.new_text(name, random.below(900));
          auto hold = std::make_shared<Session*>(&session);
          const auto lsn = log->append_async(
              as_bytes(text), [this, id, text](Result<Lsn> result) { told(id, text, result); },
              options);
          if (!lsn.ok()) {
            note_error(session, lsn.status());
            if (lsn.code() == Code::kFenced) checker_.fenced(text);
          }
        }
        break;
      }
      case 6:
      case 7: {
        std::vector<std::string> texts;
        std::vector<Bytes> batch;
        for (uint64_t i = random.between(1, 9); i > 0; --i)
          texts.push_back(checker_.new_text(name, 50));
        for (const std::string& text : texts) batch.push_back(as_bytes(text));
        if (!options.timeout) options.timeout = Duration{60'000};
        const auto first = log->append(std::span<const Bytes>(batch), options);
        for (size_t i = 0; i < texts.size(); ++i) {
          outcome(session, id, texts[i], first.ok() ? Result<Lsn>(*first + i) : first);
        }
        break;
      }
      case 8:
      case 9:
        note_error(session, engine.flush(Duration{static_cast<int64_t>(random.below(20'000))}));
        break;
      case 10: {
        const LogInfo info = log->info();
        if (info.lsn_durable < info.lsn_first) break;
        const Lsn upto = random.between(info.lsn_first, info.lsn_durable);
        checker_.truncating(id, upto);
        const Status status = log->truncate(upto);
        note_error(session, status);
        if (status.ok()) checker_.truncated(id, upto);
        break;
      }
      case 11: {
        if (!random.chance(0.3)) break;
        // A log that never had an entry may never have been stored: then its id is given again.
        const bool stored = log->info().lsn_last != 0;
        checker_.dropping(id);
        const Status status = engine.drop(name);
        note_error(session, status);
        world_.sim.note("DROP " + session.site.machine->name() + " id " + std::to_string(id) +
                        (stored ? " stored " : " ") + status.to_string());
        if (status.ok() && stored) checker_.dropped(id);
        break;
      }
      case 12:
      case 13:
        check_log(*log, false);
        break;
      case 14:
        commit(session, *log, id, random);
        break;
      case 15: {
        Retention retention;
        retention.bytes = random.chance(0.5) ? random.below(8'000) : 0;
        retention.age =
            Duration{static_cast<int64_t>(random.chance(0.5) ? random.below(9'000) : 0)};
        retention.cursors = random.chance(0.3);
        retention.hold_bytes = random.chance(0.3) ? random.below(20'000) : 0;
        checker_.truncating(id, UINT64_MAX - 1);
        note_error(session, log->retain(retention));
        break;
      }
      case 16: {
        const auto report = engine.gc(random.chance(0.2));
        note_error(session, report.status());
        break;
      }
      case 17: {
        const auto held = engine.why(random.chance(0.5) ? name : "");
        if (held.code() != Code::kNotFound) note_error(session, held.status());
        break;
      }
    }
  }

  // One cursor a log, moved anywhere.
  void commit(Session& session, Log& log, LogId id, SimRandom& random) {
    if (!session.cursors.contains(id)) {
      checker_.commits(id, log.info().lsn_first - 1);
      const auto cursor = log.cursor("c");
      if (!cursor.ok()) return note_error(session, cursor.status());
      session.cursors.insert(id);
    }
    auto cursor = log.cursor("c");
    if (!cursor.ok()) return note_error(session, cursor.status());
    const Lsn upto = random.below(log.info().lsn_durable + 1);
    checker_.commits(id, upto);
    const size_t commits = checker_.commits_so_far(id);
    const Status status = cursor->commit(upto);
    note_error(session, status);
    if (!status.ok() || random.chance(0.5)) return;
    const Status flushed = session.site.engine->flush(Duration{60'000});
    note_error(session, flushed);
    if (flushed.ok()) checker_.flushed(id, commits);
  }

  void told(LogId id, const std::string& text, const Result<Lsn>& result) {
    if (result.ok()) checker_.acknowledged(id, *result, text);
    if (result.code() == Code::kFenced) checker_.fenced(text);
  }

  void outcome(Session& session, LogId id, const std::string& text, const Result<Lsn>& result) {
    if (result.ok() && session.fenced)
      checker_.fail("acknowledged after it was fenced", id, *result);
    told(id, text, result);
    note_error(session, result.status());
  }

  void note_error(Session& session, const Status& status) {
    if (status.ok()) return;
    world_.sim.note(session.site.machine->name() + " was told " +
                    std::string(code_name(status.code())));
    if (status.code() == Code::kFenced) session.fenced = true;
    const Code unexpected[] = {Code::kInternal, Code::kCorrupt, Code::kRolledBack,
                               Code::kUnsupported, Code::kInvalid};
    if (std::find(std::begin(unexpected), std::end(unexpected), status.code()) !=
        std::end(unexpected)) {
      checker_.fail("unexpected error " + status.to_string(), 0, 0);
    }
  }

  void check_log(const Log& log, bool fresh) {
    const LogId id = log.info().id;
    const auto entries = try_read(log);
    if (entries) checker_.read_whole(id, *entries, fresh);
    if (!entries && fresh) checker_.fail("cannot be read", id, 0);
  }

  void check_everything(Engine& engine, bool fresh) {
    const auto logs = engine.logs();
    if (!logs.ok()) return;
    for (const LogInfo& info : *logs) {
      const auto log = engine.find(info.name);
      if (log.ok()) check_log(*log, fresh);
    }
  }

  void follower(const std::shared_ptr<SimMachine>& home) {
    Options options = options_;
    options.read_only = true;
    for (uint64_t opening = 0; !over(); ++opening) {
      home->sleep(Duration{2'000});
      Session session;
      session.site = world_.site("f" + std::to_string(opening), [&](SimStore& store) {
        if (bad_network_) store.faults = SimFaults::some();
      });
      call(home, session,
           [&] { world_.open(session.site, options, std::make_shared<MemViewData>()); });
      if (!session.site.ok()) {
        graves_.push_back(std::move(session.site));
        continue;  // perhaps there is no root yet
      }
      live_.push_back(session.site);
      for (int i = 0; i < 20 && !over(); ++i) {
        call(home, session, [&] { follow(session); });
        home->sleep(Duration{300});
      }
      call(home, session, [&] { (void)session.site.engine->close(); });
      std::erase_if(live_, [&](const Site& site) { return site.machine == session.site.machine; });
      graves_.push_back(std::move(session.site));
    }
  }

  void follow(Session& session) {
    auto log = session.site.engine->find("a");
    if (!log.ok()) return;
    const LogId id = log->info().id;
    auto reader = log->subscribe();
    if (!reader.ok()) return;
    Lsn last = 0;
    for (int i = 0; i < 200; ++i) {
      const auto next = reader->next(Duration{500});
      if (!next.ok()) {
        if (next.code() == Code::kTruncated) continue;
        if (next.code() != Code::kDropped) note_error(session, next.status());
        return;
      }
      if (!next->has_value()) return;
      if ((*next)->lsn <= last) checker_.fail("a follower went back", id, (*next)->lsn);
      last = (*next)->lsn;
      checker_.see(id, last, std::string((*next)->text()));
    }
  }

  // Pauses machines, takes the store away, and lets clocks jump.
  void chaos(const std::shared_ptr<SimMachine>& home) {
    SimRandom random(plan_.next());
    while (!over()) {
      home->sleep(Duration{static_cast<int64_t>(random.between(50, 3'000))});
      if (live_.empty()) continue;
      const Site victim = live_[random.below(live_.size())];
      const auto pause =
          Duration{static_cast<int64_t>(random.below(random.chance(0.2) ? 90'000 : 3'000))};
      switch (random.below(4)) {
        case 0:
        case 1:
          if (victim.machine->killed()) break;
          victim.machine->pause();
          home->sleep(pause);
          if (!victim.machine->killed()) victim.machine->resume();
          break;
        case 2:
          victim.store->faults.down = true;
          home->sleep(pause);
          victim.store->faults.down = false;
          break;
        default:
          victim.machine->jump(Duration{static_cast<int64_t>(random.below(100'000)) - 50'000});
          break;
      }
    }
  }

  // All is well again: the last opening reads everything and the checker agrees.
  void finish() {
    graves_.clear();
    world_.sim.run_for(Duration{60'000});  // what was late arrives
    Options options;
    options.reclaim_grace = Duration{0};
    Site site = world_.open("the last", options);
    require_ok(site.status);
    const auto logs = site->logs();
    require_ok(logs.status());
    std::set<LogId> ids;
    for (const LogInfo& info : *logs) ids.insert(info.id);
    checker_.logs_there(ids);
    check_everything(*site.engine, true);
    for (const LogInfo& info : *logs) {
      for (const CursorInfo& cursor : site->find(info.name)->cursors()) {
        checker_.cursor_at(info.id, cursor.committed, info.lsn_first);
      }
    }
    for (const LogInfo& info : *logs) {
      Log log = log_of(site, info.name);
      const std::string text = checker_.new_text(info.name, 10);
      const auto lsn = log.append(as_bytes(text));
      require_ok(lsn.status());
      checker_.acknowledged(info.id, *lsn, text);
    }
    const Status verified = site->verify({});
    INFO(verified.to_string());
    CHECK(verified.ok());
    nothing_left_behind(site);
    require_ok(site->close());
    Site rebuilt = world_.open("rebuilt", options);
    require_ok(rebuilt.status);
    check_everything(*rebuilt.engine, true);
    require_ok(rebuilt->verify({}));
    require_ok(rebuilt->close());
  }

  // After a pass whatever is there is needed, but for a few slots of the pass itself.
  void nothing_left_behind(Site& site) {
    require_ok(site->gc(false).status());
    const auto again = site->gc(false);
    require_ok(again.status());
    CHECK(again->leftovers_deleted == 0);
    CHECK(again->segments_written == 0);
    check_everything(*site.engine, true);
    require_ok(site->verify({}));
    const auto held = site->why({});
    require_ok(held.status());
    uint64_t bytes = 0, stored = 0;
    for (const Holding& holding : *held) {
      bytes += holding.bytes;
      if (holding.why == Holding::Why::kCheckpoint || holding.why == Holding::Why::kGrace) {
        CHECK(holding.objects < 12);
      }
    }
    for (const std::string& key : world_.bucket->keys()) {
      if (key != "root") stored += world_.bucket->get(key)->size();
    }
    CHECK(bytes <= stored);
    CHECK(bytes + 1'000 >= stored);  // shares of objects are rounded down
  }

  static constexpr uint64_t kOpsMax = 220;

  SimWorld world_;
  Checker checker_;
  SimRandom plan_;
  Options options_;
  bool bad_network_ = false;
  uint64_t ops_ = 0;
  std::vector<std::shared_ptr<SimMachine>> homes_;
  std::vector<Site> live_, graves_;
};

}  // namespace

TEST_CASE("machines that come, crash and sleep on a bad network keep one history of every log") {
  const uint64_t first = number_from("WP_SIM_FIRST", 1);
  const uint64_t seeds = number_from("WP_SIM_SEEDS", 40);
  uint64_t acknowledged = 0, events = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    CAPTURE(seed);
    Simulation simulation(seed);
    simulation.run();
    acknowledged += simulation.checker().acknowledged_count();
    events += simulation.world().sim.events();
    if (simulation.checker().failures() != 0) {
      MESSAGE("a failing seed: WP_SIM_FIRST=" << seed << " WP_SIM_SEEDS=1");
      if (number_from("WP_SIM_TRACE", 0) != 0) MESSAGE(simulation.world().sim.trace_text());
    }
  }
  MESSAGE(seeds << " histories, " << events << " events, " << acknowledged << " acknowledged");
  CHECK(acknowledged > seeds * 20);
}

TEST_CASE("one seed gives one history") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Simulation one(seed), two(seed), other(seed + 1'000);
    one.run();
    two.run();
    other.run();
    CHECK(one.world().sim.trace_hash() == two.world().sim.trace_hash());
    CHECK(one.world().sim.events() == two.world().sim.events());
    CHECK(one.world().sim.trace_hash() != other.world().sim.trace_hash());
  }
}

TEST_CASE("the simulator: posted tasks run in order, timers by time, and waiting is virtual") {
  SimRuntime sim(1);
  const auto machine = sim.machine("m");
  std::vector<int> ran;
  machine->call_at(std::chrono::seconds{2}, [&] { ran.push_back(4); });
  machine->call_at(std::chrono::seconds{1}, [&] {
    CHECK(machine->on_event_thread());
    ran.push_back(3);
  });
  const TimerId cancelled = machine->call_at(std::chrono::seconds{1}, [&] { ran.push_back(9); });
  machine->post([&] { ran.push_back(1); });
  machine->post([&] { ran.push_back(2); });
  machine->cancel(cancelled);
  CHECK_FALSE(machine->on_event_thread());
  sim.run_until_idle();
  CHECK(ran == std::vector<int>{1, 2, 3, 4});
  CHECK(sim.now() == std::chrono::seconds{2});

  Mutex mutex;
  CondVar cv;
  MutexLock lock(mutex);
  CHECK_FALSE(machine->wait(lock, cv, std::chrono::seconds{5}));
  CHECK(sim.now() == std::chrono::seconds{5});
}

TEST_CASE("the simulator: actors hand over to each other, and a paused machine stands still") {
  SimRuntime sim(2);
  const auto machine = sim.machine("m"), sleeper = sim.machine("sleeper");
  Mutex mutex;
  CondVar cv;
  int turn = 0;
  std::string order;
  for (int a = 0; a < 3; ++a) {
    sim.spawn(machine, "actor", [&, a] {
      for (int i = 0; i < 3; ++i) {
        MutexLock lock(mutex);
        while (turn != a) machine->wait(lock, cv, kNever);
        order += static_cast<char>('a' + a);
        turn = (turn + 1) % 3;
        cv.notify_all();
      }
    });
  }
  sim.run_actors();
  CHECK(order == "abcabcabc");

  int ticks = 0;
  sleeper->call_at(sim.now() + std::chrono::seconds{1}, [&] { ++ticks; });
  const TimerId later = sleeper->call_at(sim.now() + std::chrono::seconds{2}, [&] { ++ticks; });
  sleeper->pause();
  sim.run_for(Duration{10'000});
  CHECK(ticks == 0);
  sleeper->resume();
  sleeper->cancel(later);  // although it is due
  sim.run_until_idle();
  CHECK(ticks == 1);

  bool ended = false;
  sim.spawn(sleeper, "killed", [&] {
    sleeper->sleep(Duration{1'000});
    ended = true;
  });
  sim.run_for(Duration{10});
  sleeper->kill();
  sim.run_actors();
  CHECK_FALSE(ended);
}

TEST_CASE("the simulated store: faults do what they say") {
  SimWorld world(3);
  Site site = world.site("m");
  const auto body = std::make_shared<const std::vector<std::byte>>(10, std::byte{1});
  std::optional<StoreStatus> answer;
  const auto put = [&](const std::string& key, const SimFate& fate) {
    answer.reset();
    site.store->script = [&](const SimRequest&) { return fate; };
    site.store->put_if_absent(key, body, Cause::kFlush, [&](StoreStatus s) { answer = s; });
    CHECK_FALSE(answer.has_value());
    world.sim.run_for(Duration{100});
  };
  put("normal", {});
  CHECK(answer->ok());
  put("normal", {});
  CHECK(answer->answer == Answer::kExists);
  put("lost", fate_lost_request());
  CHECK(answer->answer == Answer::kUnknown);
  CHECK(world.bucket->get("lost") == nullptr);
  put("stored", fate_lost_answer());
  CHECK(answer->answer == Answer::kUnknown);
  CHECK(world.bucket->get("stored") != nullptr);
  put("late", fate_late(Duration{1'000}));
  CHECK(answer->answer == Answer::kUnknown);
  CHECK(world.bucket->get("late") == nullptr);
  world.sim.run_for(Duration{1'000});
  CHECK(world.bucket->get("late") != nullptr);
  put("hangs", {true, std::nullopt, {}, false});
  CHECK_FALSE(answer.has_value());
  CHECK(world.bucket->get("hangs") != nullptr);
  site.store->shutdown();
  CHECK(answer->answer == Answer::kCancelled);
  CHECK(site.store->count(Operation::kPut) == 6);
}

}  // namespace wp
