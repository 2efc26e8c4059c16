#include "tests/simulation.h"

#include <algorithm>
#include <map>
#include <optional>

#include "tests/sim_ground.h"

namespace wp {
namespace {

// Reads a whole log; nothing if an error came in between, which is allowed while things go wrong.
std::optional<std::vector<Entry>> try_read(const Log& log, Status* why = nullptr) {
  const auto failed = [&](const Status& status) {
    if (why != nullptr) *why = status;
    return std::nullopt;
  };
  auto reader = log.read();
  if (!reader.ok()) return failed(reader.status());
  std::vector<Entry> entries;
  for (;;) {
    auto next = reader->next(Duration{20'000});
    if (!next.ok()) {
      if (next.code() != Code::kTruncated) return failed(next.status());
      entries.clear();  // what was read before is a prefix that others have seen
      continue;
    }
    if (!next->has_value()) return entries;
    entries.push_back(std::move(**next));
  }
}

std::string joined(const auto& items) {
  std::string text;
  for (const auto& item : items) {
    if (!text.empty()) text += ",";
    if constexpr (std::is_convertible_v<decltype(item), std::string>) {
      text += item;
    } else {
      text += std::to_string(item);
    }
  }
  return text;
}

}  // namespace

std::string SimChoice::text() const {
  std::string text = "replay " + std::to_string(seed);
  if (ops_max != SimChoice{}.ops_max) text += " --ops=" + std::to_string(ops_max);
  if (!without.empty()) text += " --without=" + joined(without);
  if (!skipped.empty()) text += " --skip=" + joined(skipped);
  return text;
}

class Simulation::Run {
 public:
  explicit Run(const SimChoice& choice)
      : choice_(choice),
        world_(choice.seed),
        sim_(world_.sim),
        checker_(world_.sim),
        plan_(choice.seed * 7 + 1) {}

  void run();

  SimWorld& world() { return world_; }
  Checker& checker() { return checker_; }

 private:
  // What append_async was told, and is to be told, in one opening.
  struct Callbacks {
    std::map<std::string, std::pair<LogId, Lsn>> waiting;
    std::map<LogId, Lsn> last;
  };
  // An actor's own open root. The actor lives on a home machine that is never paused; the engine
  // on a machine of its own per opening.
  struct Session {
    Site site;
    bool fenced = false;
    Checker::Sure since;              // what the opening must know
    std::map<LogId, size_t> cursors;  // that it has, and how many commits there were at its last
    std::shared_ptr<Callbacks> callbacks = std::make_shared<Callbacks>();
  };

  bool with(const char* part) const { return !choice_.without.contains(part); }
  bool over() const { return ops_ >= choice_.ops_max; }
  bool next_op() { return !choice_.skipped.contains(++ops_); }
  void did(std::string_view what) { sim_.count("did: " + std::string(what)); }

  void choose_options();
  bool call(const std::shared_ptr<SimMachine>& home, Session& session,
            const std::function<void()>& body);
  void open(const std::shared_ptr<SimMachine>& home, Session& session, const std::string& name,
            const Options& options, const std::shared_ptr<MemViewData>& disk);
  void check_opening(Session& session);
  void writer(const std::shared_ptr<SimMachine>& home, size_t number, uint64_t seed);
  void leave(const std::shared_ptr<SimMachine>& home, Session& session, SimRandom& random);
  void check_callbacks(const Session& session, const Status* closed);
  void bury(Session& session);

  void operate(Session& session, SimRandom& random);
  void append(Session& session, Log& log, const AppendOptions& options, SimRandom& random);
  void append_many(Session& session, Log& log, const AppendOptions& options, SimRandom& random);
  void append_batch(Session& session, Log& log, const AppendOptions& options, SimRandom& random);
  void truncate(Session& session, Log& log, SimRandom& random);
  void drop(Session& session, Log& log);
  void retain(Session& session, Log& log, SimRandom& random);
  void commit(Session& session, Log& log, SimRandom& random);
  bool make_cursor(Session& session, Log& log, SimRandom& random);

  void told(LogId id, const std::string& text, const Result<Lsn>& result);
  void outcome(Session& session, LogId id, const std::string& text, const Result<Lsn>& result);
  void note_error(Session& session, const Status& status);
  void check_log(Session& session, const Log& log);
  void check_cursors(const Log& log, const Checker::Sure& since);
  void read_must(const Log& log, const Checker::Sure& since);

  void follower(const std::shared_ptr<SimMachine>& home);
  void follow(Session& session);
  void follow_whole(Session& session);
  void chaos(const std::shared_ptr<SimMachine>& home);

  void finish();
  void read_all(Site& site);
  void verify(Site& site);
  void nothing_left_behind(Site& site);
  bool need(const Status& status, const char* what);
  void deleted();

  const SimChoice choice_;
  SimWorld world_;
  SimRuntime& sim_;
  Checker checker_;
  SimRandom plan_;
  Options options_;
  bool bad_network_ = false;
  bool clocks_lie_ = false;
  uint64_t ops_ = 0;
  std::vector<std::shared_ptr<SimMachine>> homes_;
  std::vector<std::shared_ptr<MemViewData>> disks_;  // of the writers
  std::vector<Site> live_, graves_;
};

// ------------------------------------------------------------------------------------- the run

void Simulation::Run::choose_options() {
  options_.fragment_bytes_max = 4u << 10;
  options_.block_bytes = 1u << 10;
  options_.checkpoint_slots = plan_.chance(0.5) ? 16 : 1'000;
  options_.ram_bytes_max = 1u << 20;
  options_.entry_bytes_max = 8u << 10;
  options_.puts_in_flight_max = static_cast<uint32_t>(plan_.between(1, 8));
  options_.open_timeout = Duration{120'000};
  options_.close_timeout = Duration{10'000};
  constexpr int64_t kGraces[] = {0, 3'000, 20'000};
  options_.reclaim_grace = Duration{kGraces[plan_.below(3)]};
  options_.compact_objects = static_cast<uint32_t>(plan_.between(2, 12));
  options_.compact_share = plan_.chance(0.2) ? 0 : 0.5;
  options_.cursor_commit_interval = Duration{1'000};
}

void Simulation::Run::run() {
  const size_t machines = plan_.between(2, 3);
  bad_network_ = plan_.chance(0.8) && with("faults");
  clocks_lie_ = plan_.chance(0.5) && with("clocks");
  choose_options();
  for (size_t m = 0; m < (with("machines") ? machines : 2); ++m) {
    homes_.push_back(sim_.machine("home " + std::to_string(m)));
    disks_.push_back(std::make_shared<MemViewData>());
    const auto home = homes_.back();
    const uint64_t seed = plan_.next();
    sim_.spawn(home, "writer " + std::to_string(m),
               [this, home, m, seed] { writer(home, m, seed); });
  }
  if (plan_.chance(0.7) && with("follower")) {
    homes_.push_back(sim_.machine("follower's home"));
    sim_.spawn(homes_.back(), "follower", [this, home = homes_.back()] { follower(home); });
  }
  homes_.push_back(sim_.machine("chaos"));
  sim_.spawn(homes_.back(), "chaos", [this, home = homes_.back()] { chaos(home); });
  sim_.run_actors();
  finish();
}

// Blocking calls run as an actor of the engine's machine. False: the machine was killed in it.
bool Simulation::Run::call(const std::shared_ptr<SimMachine>& home, Session& session,
                           const std::function<void()>& body) {
  struct Call {
    Mutex mutex;
    CondVar over;
    bool ended = false, whole = false;
  };
  struct End {  // also where the actor is unwound, or never begun
    explicit End(std::shared_ptr<Call> of_call) : of(std::move(of_call)) {}
    ~End() {
      of->ended = true;
      of->over.notify_all();
    }
    const std::shared_ptr<Call> of;
  };
  const auto state = std::make_shared<Call>();
  sim_.spawn(session.site.machine, "call", [&body, end = std::make_shared<End>(state)] {
    body();
    end->of->whole = true;
  });
  MutexLock lock(state->mutex);
  while (!state->ended) home->wait(lock, state->over, kNever);
  return state->whole;
}

void Simulation::Run::open(const std::shared_ptr<SimMachine>& home, Session& session,
                           const std::string& name, const Options& options,
                           const std::shared_ptr<MemViewData>& disk) {
  const auto lie = Duration{static_cast<int64_t>(plan_.below(7'200'000)) - 3'600'000};
  session = {};
  session.site = world_.site(
      name,
      [&](SimStore& store) {
        if (bad_network_) store.faults = SimFaults::some();
        store.linger = Duration{static_cast<int64_t>(plan_.below(3) * 20)};
        store.after = [this](const SimRequest& request) {
          if (request.operation == Operation::kDelete) deleted();
        };
      },
      clocks_lie_ ? lie : Duration{0});
  for (const Site& other : live_) {
    if (!options.read_only && other.ok()) did("open beside a live owner");
  }
  live_.push_back(session.site);
  session.since = checker_.sure();
  const bool whole = call(home, session, [&] { world_.open(session.site, options, disk); });
  if (whole && !session.site.ok() && !session.site.status.retryable()) {
    const bool none_yet = options.read_only && session.site.status.code() == Code::kNotFound;
    if (!none_yet) checker_.fail("opening failed: " + session.site.status.to_string());
  }
}

// Whatever was sure before the opening began is there.
void Simulation::Run::check_opening(Session& session) {
  const auto logs = session.site->logs();
  if (!logs.ok()) return;
  std::set<LogId> ids;
  for (const LogInfo& info : *logs) ids.insert(info.id);
  checker_.logs_there(ids, session.since);
  for (const LogInfo& info : *logs) {
    const auto log = session.site->find(info.name);
    if (!log.ok() || log->info().id != info.id) continue;
    check_cursors(*log, session.since);
    check_log(session, *log);
  }
}

void Simulation::Run::writer(const std::shared_ptr<SimMachine>& home, size_t number,
                             uint64_t seed) {
  SimRandom random(seed);
  auto& disk = disks_[number];
  std::shared_ptr<MemViewData> backup;
  Session session;
  for (uint64_t opening = 0; !over(); ++opening) {
    home->sleep(Duration{static_cast<int64_t>(random.below(4'000))});
    // Disks are lost, and set back to an old backup.
    if (random.chance(0.15) && with("rollback")) {
      disk = std::make_shared<MemViewData>();
      did("lose a disk");
    }
    if (random.chance(0.10) && backup != nullptr && with("rollback")) {
      disk = backup->copy();
      did("set a disk back");
    }
    if (random.chance(0.10)) backup = disk->copy();
    const std::string name = "m" + std::to_string(number) + "." + std::to_string(opening);
    open(home, session, name, options_, disk);
    (void)next_op();
    did("open");
    if (!session.site.ok()) {
      bury(session);
      continue;
    }
    bool alive = true;
    if (random.chance(0.5)) alive = call(home, session, [&] { check_opening(session); });
    const uint64_t ops = random.between(1, 60);
    for (uint64_t i = 0; i < ops && alive && !session.fenced && !over(); ++i) {
      SimRandom of_op(random.next());
      if (!next_op()) continue;
      alive = call(home, session, [&] { operate(session, of_op); });
      if (of_op.chance(0.3)) home->sleep(Duration{static_cast<int64_t>(of_op.below(500))});
    }
    if (alive) leave(home, session, random);
    bury(session);
  }
}

void Simulation::Run::leave(const std::shared_ptr<SimMachine>& home, Session& session,
                            SimRandom& random) {
  const auto engine = session.site.engine;
  if (random.chance(0.5)) {
    const auto commits = session.cursors;
    did("close");
    Status status;
    if (!call(home, session, [&] { status = engine->close(); })) return;
    check_callbacks(session, &status);
    if (!status.ok()) return note_error(session, status);
    for (const auto& [id, count] : commits) checker_.flushed(id, count);
  } else if (random.chance(0.7)) {
    did("abandon");
    if (call(home, session, [&] { engine->abandon(); })) check_callbacks(session, nullptr);
  } else {
    did("kill");
    session.site.machine->kill();  // nobody is told anything
  }
}

// Each was told exactly once, and by a close that succeeded: stored.
void Simulation::Run::check_callbacks(const Session& session, const Status* closed) {
  if (!session.callbacks->waiting.empty()) {
    checker_.fail(std::string("a callback never ran, though the root was ") +
                  (closed != nullptr ? "closed" : "abandoned"));
  }
}

void Simulation::Run::bury(Session& session) {
  session.site.store->faults.down = session.site.machine->killed();
  std::erase_if(live_, [&](const Site& site) { return site.machine == session.site.machine; });
  graves_.push_back(std::move(session.site));
}

// --------------------------------------------------------------------------- what programs do

void Simulation::Run::operate(Session& session, SimRandom& random) {
  Engine& engine = *session.site.engine;
  const std::string name(1, static_cast<char>('a' + random.below(3)));
  auto log = engine.log(name);
  if (!log.ok()) return note_error(session, log.status());
  sim_.note("LOG " + session.site.machine->name() + " " + name + " id " +
            std::to_string(log->info().id) + " last " + std::to_string(log->info().lsn_last));
  AppendOptions options;
  if (random.chance(0.3)) options.timeout = Duration{static_cast<int64_t>(random.below(3'000))};
  if (random.chance(0.2)) options.at_limit = AtLimit::kBusy;
  const uint64_t what = random.below(24);
  if (what < 6) return append_many(session, *log, options, random);
  if (what < 8) return append_batch(session, *log, options, random);
  if (what < 10) {
    did("flush");
    const auto commits = session.cursors;
    const auto before = session.callbacks->waiting;
    const Status status = engine.flush(Duration{static_cast<int64_t>(random.below(20'000))});
    if (!status.ok()) return note_error(session, status);
    for (const auto& [text, place] : before) {
      checker_.acknowledged(place.first, place.second, text);
    }
    for (const auto& [id, count] : commits) checker_.flushed(id, count);
    return;
  }
  if (what == 10) return truncate(session, *log, random);
  if (what == 11) return random.chance(0.3) ? drop(session, *log) : void();
  if (what == 12) return check_log(session, *log);
  if (what < 15) return commit(session, *log, random);
  if (what == 15) return retain(session, *log, random);
  if (what == 16 && with("gc")) {
    did("gc");
    return note_error(session, engine.gc(random.chance(0.2)).status());
  }
  if (what == 17) {
    did("why");
    const auto held = engine.why(random.chance(0.5) ? name : "");
    if (held.code() != Code::kNotFound) note_error(session, held.status());
    return;
  }
  append(session, *log, options, random);
}

void Simulation::Run::append(Session& session, Log& log, const AppendOptions& given,
                             SimRandom& random) {
  did("append");
  AppendOptions options = given;
  if (!options.timeout) options.timeout = Duration{60'000};
  const LogId id = log.info().id;
  const std::string text = checker_.new_text(log.name(), random.below(200));
  outcome(session, id, text, log.append(as_bytes(text), options));
}

void Simulation::Run::append_many(Session& session, Log& log, const AppendOptions& options,
                                  SimRandom& random) {
  did("append_async");
  const LogId id = log.info().id;
  const uint64_t count = random.between(1, 40);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string text = checker_.new_text(log.name(), random.below(900));
    session.callbacks->waiting[text] = {id, 0};
    const auto lsn = log.append_async(
        as_bytes(text),
        [this, id, text, callbacks = session.callbacks](Result<Lsn> result) {
          if (callbacks->waiting.erase(text) == 0) checker_.fail("a callback ran twice", id);
          if (result.ok()) {
            Lsn& last = callbacks->last[id];
            if (*result <= last) checker_.fail("callbacks out of order", id, *result);
            last = *result;
          }
          told(id, text, result);
        },
        options);
    if (lsn.ok()) {
      // Unless it was told already.
      const auto waits = session.callbacks->waiting.find(text);
      if (waits != session.callbacks->waiting.end()) waits->second.second = *lsn;
      continue;
    }
    session.callbacks->waiting.erase(text);
    note_error(session, lsn.status());
    if (lsn.code() == Code::kFenced) checker_.fenced(text);
  }
}

void Simulation::Run::append_batch(Session& session, Log& log, const AppendOptions& given,
                                   SimRandom& random) {
  did("append a batch");
  AppendOptions options = given;
  if (!options.timeout) options.timeout = Duration{60'000};
  const LogId id = log.info().id;
  std::vector<std::string> texts;
  std::vector<Bytes> batch;
  for (uint64_t i = random.between(1, 9); i > 0; --i) {
    texts.push_back(checker_.new_text(log.name(), 50));
  }
  for (const std::string& text : texts) batch.push_back(as_bytes(text));
  checker_.batch(texts);
  const auto first = log.append(std::span<const Bytes>(batch), options);
  for (size_t i = 0; i < texts.size(); ++i) {
    outcome(session, id, texts[i], first.ok() ? Result<Lsn>(*first + i) : first);
  }
}

void Simulation::Run::truncate(Session& session, Log& log, SimRandom& random) {
  const LogInfo info = log.info();
  if (info.lsn_durable < info.lsn_first) return;
  did("truncate");
  const Lsn upto = random.between(info.lsn_first, info.lsn_durable);
  checker_.truncating(info.id, upto);
  const Status status = log.truncate(upto);
  note_error(session, status);
  if (status.ok()) checker_.truncated(info.id, upto);
}

void Simulation::Run::drop(Session& session, Log& log) {
  did("drop");
  const LogId id = log.info().id;
  // A log that never had an entry may never have been stored: then its id is given again.
  const bool stored = log.info().lsn_last != 0;
  checker_.dropping(id);
  const Status status = session.site->drop(log.name());
  note_error(session, status);
  if (status.ok() && stored) checker_.dropped(id);
}

void Simulation::Run::retain(Session& session, Log& log, SimRandom& random) {
  // Behind a cursor mostly, so that it is known what may go.
  if (random.chance(0.6) && !make_cursor(session, log, random)) return;
  did("retain");
  const LogId id = log.info().id;
  Retention retention;
  retention.bytes = random.chance(0.5) ? random.below(8'000) : 0;
  retention.age = Duration{static_cast<int64_t>(random.chance(0.5) ? random.below(9'000) : 0)};
  retention.cursors = random.chance(0.3);
  retention.hold_bytes = random.chance(0.3) ? random.below(20'000) : 0;
  checker_.retaining(id, retention);
  note_error(session, log.retain(retention));
}

// One cursor a log.
bool Simulation::Run::make_cursor(Session& session, Log& log, SimRandom&) {
  const LogId id = log.info().id;
  if (session.cursors.contains(id)) return true;
  checker_.commits(id, log.info().lsn_first - 1);  // where it is made, if it is not there
  const auto cursor = log.cursor("c");
  note_error(session, cursor.status());
  if (!cursor.ok()) return false;
  checker_.has_cursor(id);
  session.cursors[id] = 0;
  return true;
}

// Moved anywhere.
void Simulation::Run::commit(Session& session, Log& log, SimRandom& random) {
  did("commit a cursor");
  if (!make_cursor(session, log, random)) return;
  const LogId id = log.info().id;
  auto cursor = log.cursor("c");
  if (!cursor.ok()) return note_error(session, cursor.status());
  const Lsn upto = random.below(log.info().lsn_durable + 1);
  checker_.commits(id, upto);
  const size_t commits = checker_.commits_so_far(id);
  const Status status = cursor->commit(upto);
  note_error(session, status);
  if (status.ok()) session.cursors[id] = commits;
  if (!status.ok() || random.chance(0.5)) return;
  const Status flushed = session.site->flush(Duration{60'000});
  note_error(session, flushed);
  if (flushed.ok()) checker_.flushed(id, commits);
}

// -------------------------------------------------------------------------- what they are told

void Simulation::Run::told(LogId id, const std::string& text, const Result<Lsn>& result) {
  if (result.ok()) checker_.acknowledged(id, *result, text);
  if (result.code() == Code::kFenced) checker_.fenced(text);
}

void Simulation::Run::outcome(Session& session, LogId id, const std::string& text,
                              const Result<Lsn>& result) {
  if (result.ok() && session.fenced) {
    checker_.fail("acknowledged after it was fenced", id, *result);
  }
  told(id, text, result);
  if (result.ok()) {
    Lsn& durable = session.since.durable[id];
    durable = std::max(durable, *result);
  }
  note_error(session, result.status());
}

void Simulation::Run::note_error(Session& session, const Status& status) {
  if (status.ok()) return;
  sim_.note(session.site.machine->name() + " was told " + std::string(code_name(status.code())));
  if (status.code() == Code::kFenced) {
    if (!session.fenced) sim_.count("seen: an owner fenced");
    session.fenced = true;
  }
  const Code unexpected[] = {Code::kInternal, Code::kCorrupt, Code::kRolledBack, Code::kUnsupported,
                             Code::kInvalid};
  if (std::find(std::begin(unexpected), std::end(unexpected), status.code()) !=
      std::end(unexpected)) {
    checker_.fail("unexpected error " + status.to_string());
  }
}

void Simulation::Run::check_log(Session& session, const Log& log) {
  did("read");
  const LogId id = log.info().id;
  Status why;
  const auto entries = try_read(log, &why);
  if (entries) checker_.read_whole(id, *entries, session.since);
  // Objects may be gone under an owner that was taken over, or a follower that sleeps.
  if (!entries && why.message().find("the view does not know") != std::string::npos) {
    checker_.fail("lost from the view: " + why.to_string(), id);
  }
}

void Simulation::Run::check_cursors(const Log& log, const Checker::Sure& since) {
  const Lsn first = log.info().lsn_first;
  const auto cursors = log.cursors();
  const LogInfo info = log.info();
  const auto sure = since.commits.find(info.id);
  if (cursors.empty() && sure != since.commits.end() && sure->second != 0) {
    checker_.fail("a cursor is missing", info.id);
  }
  for (const CursorInfo& cursor : cursors) {
    checker_.cursor_at(info.id, cursor.committed, first, info.lsn_first, since);
  }
}

void Simulation::Run::read_must(const Log& log, const Checker::Sure& since) {
  const LogId id = log.info().id;
  Status why;
  const auto entries = try_read(log, &why);
  if (entries) checker_.read_whole(id, *entries, since);
  if (!entries) checker_.fail("cannot be read: " + why.to_string(), id);
}

// ----------------------------------------------------------------------------------- followers

void Simulation::Run::follower(const std::shared_ptr<SimMachine>& home) {
  Options options = options_;
  options.read_only = true;
  for (uint64_t opening = 0; !over(); ++opening) {
    home->sleep(Duration{2'000});
    Session session;
    open(home, session, "f" + std::to_string(opening), options, std::make_shared<MemViewData>());
    bool alive = session.site.ok();  // else perhaps there is no root yet
    if (alive) alive = call(home, session, [&] { check_opening(session); });
    for (int i = 0; i < 20 && !over() && alive; ++i) {
      alive = call(home, session, [&] { i % 2 == 0 ? follow(session) : follow_whole(session); });
      if (alive) home->sleep(Duration{static_cast<int64_t>(plan_.below(i % 5 == 4 ? 9'000 : 500))});
    }
    if (alive) (void)call(home, session, [&] { (void)session.site->close(); });
    bury(session);
  }
}

void Simulation::Run::follow(Session& session) {
  did("follow");
  auto log = session.site->find("a");
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

// Whoever asks is told what was acknowledged before. (Without a grace, and with clocks that lie
// about how long it was, only what was there at the opening.)
void Simulation::Run::follow_whole(Session& session) {
  did("follow, all of it");
  if (options_.reclaim_grace != Duration{0} && !clocks_lie_) session.since = checker_.sure();
  const std::string name(1, static_cast<char>('a' + sim_.random().below(3)));
  auto log = session.site->find(name);
  if (log.ok()) check_log(session, *log);
}

// ---------------------------------------------------------------------------------- bad things

// Pauses machines, kills them, takes the store away, and lets clocks jump.
void Simulation::Run::chaos(const std::shared_ptr<SimMachine>& home) {
  SimRandom random(plan_.next());
  while (!over()) {
    home->sleep(Duration{static_cast<int64_t>(random.between(50, 3'000))});
    const uint64_t whom = random.next(), what = random.below(10);
    const auto pause =
        Duration{static_cast<int64_t>(random.below(random.chance(0.2) ? 90'000 : 3'000))};
    const auto jump = Duration{static_cast<int64_t>(random.below(100'000)) - 50'000};
    if (live_.empty()) continue;
    const Site victim = live_[whom % live_.size()];
    if (victim.machine->killed()) continue;
    if (what < 4 && with("pauses")) {
      sim_.count("fault: a machine paused");
      victim.machine->pause();
      home->sleep(pause);
      if (!victim.machine->killed()) victim.machine->resume();
    } else if (what < 6 && with("outages")) {
      sim_.count("fault: no network");
      victim.store->faults.down = true;
      home->sleep(pause);
      victim.store->faults.down = false;
    } else if (what < 7 && clocks_lie_) {
      sim_.count("fault: a clock jumped");
      victim.machine->jump(jump);
    } else if (what == 7 && with("kills")) {
      sim_.count("fault: killed in a call");
      victim.machine->kill();
    } else if (what == 8 && with("disks")) {
      sim_.count("fault: a full disk");
      const auto disk = disks_[random.below(disks_.size())];
      disk->set_broken(Status(Code::kNoSpace, "the disk is full"));
      home->sleep(pause);
      disk->set_broken({});
    }
  }
}

// Both kept checkpoints, and the journal behind them, still lead to all that is needed.
void Simulation::Run::deleted() {
  if (const std::string wrong = check_ground(*world_.bucket, checker_); !wrong.empty()) {
    checker_.fail("something needed was deleted: " + wrong);
  }
}

// ------------------------------------------------------------------------------------- the end

bool Simulation::Run::need(const Status& status, const char* what) {
  if (!status.ok()) checker_.fail(std::string("at the end: ") + what + ": " + status.to_string());
  return status.ok();
}

void Simulation::Run::verify(Site& site) {
  need(site->verify([this](const VerifyProgress& progress) {
    if (progress.damage == nullptr) return;
    checker_.fail("damaged: " + progress.damage->object + ": " + progress.damage->what);
  }),
       "verify");
}

void Simulation::Run::read_all(Site& site) {
  const auto logs = site->logs();
  if (!need(logs.status(), "list the logs")) return;
  std::set<LogId> ids;
  for (const LogInfo& info : *logs) ids.insert(info.id);
  checker_.logs_there(ids, checker_.sure());
  for (const LogInfo& info : *logs) {
    const auto log = site->find(info.name);
    if (!need(log.status(), "find a log")) continue;
    read_must(*log, checker_.sure());
    check_cursors(*log, checker_.sure());
  }
}

// All is well again: the last opening reads everything and the checker agrees.
void Simulation::Run::finish() {
  graves_.clear();
  sim_.run_for(Duration{60'000});  // what was late arrives
  deleted();
  Options options;
  options.reclaim_grace = Duration{0};
  Site site = world_.open("the last", options);
  if (!need(site.status, "open")) return;
  read_all(site);
  checker_.at_the_end();
  const auto logs = site->logs();
  for (const LogInfo& info : logs.ok() ? *logs : std::vector<LogInfo>()) {
    auto log = site->log(info.name);
    if (!need(log.status(), "find a log")) return;
    const std::string text = checker_.new_text(info.name, 10);
    const auto lsn = log->append(as_bytes(text));
    if (!need(lsn.status(), "append")) return;
    checker_.acknowledged(info.id, *lsn, text);
  }
  verify(site);
  nothing_left_behind(site);
  need(site->close(), "close");
  Site rebuilt = world_.open("rebuilt", options);
  if (!need(rebuilt.status, "open once more")) return;
  read_all(rebuilt);
  verify(rebuilt);
  need(rebuilt->close(), "close once more");
}

// After a pass whatever is there is needed, but for a few slots of the pass itself.
void Simulation::Run::nothing_left_behind(Site& site) {
  if (!need(site->gc(false).status(), "gc")) return;
  const auto again = site->gc(false);
  if (!need(again.status(), "gc once more")) return;
  if (again->leftovers_deleted != 0) checker_.fail("a pass left leftovers to the next");
  if (again->segments_written != 0) checker_.fail("a pass left segments to the next");
  read_all(site);
  verify(site);
  deleted();
  const auto held = site->why({});
  if (!need(held.status(), "why")) return;
  uint64_t bytes = 0, stored = 0;
  for (const Holding& holding : *held) {
    bytes += holding.bytes;
    const bool goes =
        holding.why == Holding::Why::kCheckpoint || holding.why == Holding::Why::kGrace;
    if (goes && holding.objects >= 12) checker_.fail("a pass left much that nobody needs");
  }
  for (const std::string& key : world_.bucket->keys()) {
    if (key != "root") stored += world_.bucket->get(key)->size();
  }
  // Shares of objects are rounded down.
  if (bytes > stored || bytes + 1'000 < stored) {
    checker_.fail("what the space is used for does not add up: " + std::to_string(bytes) + " of " +
                  std::to_string(stored) + " bytes");
  }
}

Simulation::Simulation(const SimChoice& choice) : run_(std::make_unique<Run>(choice)) {}
Simulation::~Simulation() = default;
void Simulation::run() {
  run_->run();
}
SimWorld& Simulation::world() {
  return run_->world();
}
const Checker& Simulation::checker() const {
  return run_->checker();
}

}  // namespace wp
