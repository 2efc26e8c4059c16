#include "tests/sim_store.h"

#include <algorithm>
#include <utility>

#include "engine/format.h"

namespace wp {

SimFaults SimFaults::some() {
  SimFaults faults;
  faults.lost_request = 0.04;
  faults.lost_answer = 0.04;
  faults.late = 0.03;
  faults.throttled = 0.03;
  faults.conflict = 0.02;
  faults.flipped = 0.01;
  return faults;
}

struct SimStore::Shared {
  bool closed = false;
  uint64_t id_next = 1;
  std::map<uint64_t, Finish> under_way;

  void finish(uint64_t id, Outcome outcome) {
    const auto it = under_way.find(id);
    if (it == under_way.end()) return;
    const Finish finish = std::move(it->second);
    under_way.erase(it);
    finish(std::move(outcome));
  }
};

namespace {

void count_what(SimRuntime& sim, const SimRequest& request) {
  if (request.put(kSegmentPrefix)) sim.count("seen: a segment stored");
  if (request.put(kCheckpointPrefix)) sim.count("seen: a checkpoint stored");
  if (request.put(kJournalPrefix)) {
    sim.count(request.cause == Cause::kOpen ? "seen: a fence stored" : "seen: a fragment stored");
  }
  if (request.operation == Operation::kDelete && request.cause == Cause::kReclaim) {
    sim.count("seen: a deletion");
  }
}

}  // namespace

SimStore::SimStore(std::shared_ptr<SimMachine> machine, std::shared_ptr<MemoryBucket> bucket)
    : machine_(std::move(machine)),
      bucket_(std::move(bucket)),
      shared_(std::make_shared<Shared>()) {}

SimStore::~SimStore() {
  shutdown();
}

void SimStore::shutdown() {
  if (shared_->closed) return;
  shared_->closed = true;
  machine_->sim().note(machine_->name() + " store shut down");
  while (!shared_->under_way.empty()) {
    Outcome outcome;
    outcome.status = {Answer::kCancelled, "the simulated store was shut down", {}};
    shared_->finish(shared_->under_way.begin()->first, std::move(outcome));
  }
}

uint64_t SimStore::count(Operation operation) const {
  uint64_t sum = 0;
  for (size_t cause = 0; cause < kCauses; ++cause) {
    sum += meter().count(operation, static_cast<Cause>(cause)).requests;
  }
  return sum;
}

SimFate SimStore::fate_of(const SimRequest& request) {
  if (script) {
    if (auto fate = script(request)) return *fate;
  }
  if (faults.down) return fate_lost_request();
  SimRuntime& sim = machine_->sim();
  SimRandom& random = sim.random();
  const auto happens = [&](double probability, std::string_view what) {
    if (!random.chance(probability)) return false;
    sim.count(what);
    return true;
  };
  if (happens(faults.lost_request, "fault: a request lost")) return fate_lost_request();
  if (happens(faults.throttled, "fault: throttled")) return fate_lost_request(Answer::kThrottled);
  const bool put = request.operation == Operation::kPut;
  if (!put && request.operation != Operation::kDelete) return {};
  if (happens(faults.lost_answer, "fault: an answer lost")) return fate_lost_answer();
  if (put && happens(faults.conflict, "fault: a conflict")) {
    return fate_lost_request(Answer::kConflict);
  }
  if (happens(faults.late, "fault: applied late")) {
    const auto max = static_cast<uint64_t>(faults.late_max.count());
    return fate_late(Duration{static_cast<int64_t>(random.below(max))});
  }
  return {};
}

// On the wire or on the way to it: whoever reads again sees what is stored.
void SimStore::flip_a_bit(const std::string& key, std::vector<std::byte>& bytes) {
  SimRandom& random = machine_->sim().random();
  if (faults.flipped == 0 || bytes.empty()) return;
  if (right_[key]-- > 0 || !random.chance(faults.flipped)) return;
  right_[key] = 3;
  machine_->sim().count("fault: a bit flipped");
  bytes[random.below(bytes.size())] ^= std::byte{1} << random.below(8);
}

void SimStore::submit(Operation operation, std::string key, Cause cause, uint64_t put_bytes,
                      Apply apply, Finish finish) {
  if (machine_->killed()) return;
  if (shared_->closed) {
    Outcome outcome;
    outcome.status = {Answer::kCancelled, "the simulated store was shut down", {}};
    return finish(std::move(outcome));
  }
  SimRequest request{operation, std::move(key), cause, number_++, 0};
  request.attempt = attempts_[{operation, request.key}]++;
  const SimFate fate = fate_of(request);
  const uint64_t id = shared_->id_next++;
  shared_->under_way.emplace(id, std::move(finish));

  SimRuntime& sim = machine_->sim();
  const auto latency = [&] {
    using std::chrono::nanoseconds;
    return nanoseconds{static_cast<int64_t>(
        sim.random().between(static_cast<uint64_t>(nanoseconds{faults.latency_min}.count()),
                             static_cast<uint64_t>(nanoseconds{faults.latency_max}.count())))};
  };
  // On the wire it belongs to no machine: it arrives although its sender sleeps or is gone.
  const auto back = latency();
  sim.call_after(
      latency(),
      [hold = shared_, before = before, after = after, apply, fate, request, put_bytes, id, back,
       machine = machine_, this] {
        if (before) before(request);
        Outcome outcome;
        if (fate.applied && !fate.applied_after) outcome = apply();
        if (fate.applied && fate.applied_after) {
          machine->sim().call_after(*fate.applied_after, [apply, request, machine] {
            machine->sim().note("late " + request.key);
            apply();
          });
        }
        if (fate.answer) {
          outcome = {};
          outcome.status = {*fate.answer, "simulated fault", {}};
          if (*fate.answer == Answer::kThrottled) outcome.status.retry_after = Duration{50};
        }
        const bool closed = hold->closed;  // then `this` may be gone
        if (!closed) flip_a_bit(request.key, outcome.got.bytes);
        const uint64_t bytes =
            request.operation == Operation::kPut ? put_bytes : outcome.got.bytes.size();
        if (!closed) {
          meter().add(request.operation, request.cause, outcome.status.answer, bytes);
        }
        machine->sim().note(machine->name() + ' ' + std::string(operation_name(request.operation)) +
                            ' ' + request.key + ' ' +
                            std::string(answer_name(outcome.status.answer)) +
                            (fate.applied ? "" : " not applied"));
        if (fate.applied && outcome.status.ok()) count_what(machine->sim(), request);
        if (after) after(request);
        if (!fate.answered) return;
        machine->sim().call_after(
            back,
            [hold, id, outcome = std::move(outcome)]() mutable {
              hold->finish(id, std::move(outcome));
            },
            machine.get());
      },
      nullptr);
}

void SimStore::put_if_absent(std::string key, Body body, Cause cause, PutDone done) {
  const uint64_t bytes = body->size();
  submit(
      Operation::kPut, key, cause, bytes,
      [bucket = bucket_, key, body = std::move(body)] {
        Outcome outcome;
        if (!bucket->put_if_absent(key, body)) {
          outcome.status = {Answer::kExists, "put " + key + ": taken", {}};
        }
        return outcome;
      },
      [done = std::move(done)](Outcome outcome) { done(std::move(outcome.status)); });
}

void SimStore::get(std::string key, ByteRange range, Cause cause, GetDone done) {
  submit(
      Operation::kGet, key, cause, 0,
      [bucket = bucket_, key, range] {
        Outcome outcome;
        const Body body = bucket->get(key);
        if (body == nullptr) {
          outcome.status = {Answer::kNotFound, "get " + key + ": no such object", {}};
          return outcome;
        }
        const uint64_t offset = std::min<uint64_t>(range.offset, body->size());
        const uint64_t length = std::min<uint64_t>(range.length, body->size() - offset);
        const auto begin = body->begin() + static_cast<ptrdiff_t>(offset);
        outcome.got.bytes.assign(begin, begin + static_cast<ptrdiff_t>(length));
        outcome.got.object_bytes = body->size();
        return outcome;
      },
      [done = std::move(done)](Outcome outcome) {
        outcome.got.status = std::move(outcome.status);
        done(std::move(outcome.got));
      });
}

void SimStore::list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                    ListDone done) {
  submit(
      Operation::kList, prefix, cause, 0,
      [bucket = bucket_, prefix, after, count_max] {
        Outcome outcome;
        outcome.listed = bucket->list(prefix, after, count_max);
        return outcome;
      },
      [done = std::move(done)](Outcome outcome) {
        outcome.listed.status = std::move(outcome.status);
        done(std::move(outcome.listed));
      });
}

void SimStore::remove(std::vector<std::string> keys, Cause cause, RemoveDone done) {
  const std::string first = keys.empty() ? "" : keys.front();
  submit(
      Operation::kDelete, first, cause, 0,
      [bucket = bucket_, keys = std::move(keys)] {
        for (const std::string& key : keys) bucket->erase(key);
        return Outcome{};
      },
      [done = std::move(done)](Outcome outcome) { done(std::move(outcome.status)); });
}

// ------------------------------------------------------------------------------------------ view

std::shared_ptr<MemViewData> MemViewData::copy() {
  auto other = std::make_shared<MemViewData>();
  MutexLock lock(mutex);
  MutexLock other_lock(other->mutex);
  other->head = head;
  other->logs = logs;
  other->names = names;
  other->runs = runs;
  other->epochs = epochs;
  other->slots = slots;
  return other;
}

void MemViewData::set_broken(Status status) {
  MutexLock lock(mutex);
  broken = std::move(status);
}

void MemViewData::set_unreadable(Status status) {
  MutexLock lock(mutex);
  unreadable = std::move(status);
}

uint64_t MemViewData::times_applied() {
  MutexLock lock(mutex);
  return applied;
}

void MemViewData::trim(const LogRow& log) {
  auto it = runs.lower_bound({log.id, 0});
  while (it != runs.end() && it->first.first == log.id &&
         it->second.lsn_first + it->second.count <= log.lsn_first) {
    it = runs.erase(it);
  }
}

void MemViewData::publish(const RunRow& run) {
  const auto log = logs.find(run.log);
  const Lsn end = run.lsn_first + run.count;
  if (log == logs.end() || end <= log->second.lsn_first) return;
  for (auto it = runs.lower_bound({run.log, run.lsn_first});
       it != runs.end() && it->first.first == run.log && it->first.second < end;) {
    it = it->second.lsn_first + it->second.count <= end ? runs.erase(it) : std::next(it);
  }
  runs[{run.log, run.lsn_first}] = run;
}

std::map<ObjectId, ObjectUse> MemViewData::uses() {
  std::map<ObjectId, ObjectUse> uses;
  for (const auto& [key, run] : runs) {
    ObjectUse& use = uses[{run.epoch, run.seq}];
    ++use.runs;
    use.entries += run.count;
    use.bytes += run.bytes;
  }
  return uses;
}

Result<std::optional<ViewHead>> MemView::head() {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  return data_->head;
}

Status MemView::apply(const ViewDelta& delta) {
  MemViewData& data = *data_;
  MutexLock lock(data.mutex);
  if (!data.unreadable.ok()) return data.unreadable;
  if (!data.broken.ok()) return data.broken;
  ++data.applied;
  for (const LogRow& row : delta.logs) {
    data.logs[row.id] = row;
    data.names[row.name] = row.id;
  }
  for (const RunRow& row : delta.runs) data.runs[{row.log, row.lsn_first}] = row;
  // Behind the new runs: those that may be left out are, so that no object is held by them.
  for (const LogRow& row : delta.logs) data.trim(row);
  for (const LogId id : delta.dropped) {
    const auto it = data.logs.find(id);
    if (it == data.logs.end()) continue;
    const auto name = data.names.find(it->second.name);
    if (name != data.names.end() && name->second == id) data.names.erase(name);
    data.logs.erase(it);
    data.runs.erase(data.runs.lower_bound({id, 0}), data.runs.lower_bound({id + 1, 0}));
  }
  for (const RunRow& row : delta.published) data.publish(row);
  for (const EpochRow& row : delta.epochs) data.epochs[row.epoch] = row;
  for (const SlotRow& row : delta.slots) data.slots[{row.epoch, row.seq}] = row;
  for (const ObjectId& id : delta.forgotten) data.slots.erase({id.epoch, id.seq});
  data.head = delta.head;
  return {};
}

Status MemView::reset() {
  MutexLock lock(data_->mutex);
  if (!data_->broken.ok()) return data_->broken;
  data_->unreadable = {};
  data_->head.reset();
  data_->logs.clear();
  data_->names.clear();
  data_->runs.clear();
  data_->epochs.clear();
  data_->slots.clear();
  return {};
}

Result<std::optional<LogRow>> MemView::log_by_name(std::string_view name) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  const auto it = data_->names.find(name);
  if (it == data_->names.end()) return std::optional<LogRow>{};
  return std::optional<LogRow>{data_->logs.at(it->second)};
}

Result<std::optional<LogRow>> MemView::log_by_id(LogId id) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  const auto it = data_->logs.find(id);
  if (it == data_->logs.end()) return std::optional<LogRow>{};
  return std::optional<LogRow>{it->second};
}

Result<std::vector<LogRow>> MemView::logs(std::string_view after, size_t count_max) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  std::vector<LogRow> rows;
  for (auto it = data_->names.upper_bound(after); it != data_->names.end(); ++it) {
    if (rows.size() == count_max) break;
    rows.push_back(data_->logs.at(it->second));
  }
  return rows;
}

Result<std::vector<RunRow>> MemView::runs(LogId log, Lsn lsn, size_t count_max) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  std::vector<RunRow> rows;
  auto it = data_->runs.upper_bound({log, lsn});
  if (it != data_->runs.begin()) {
    const auto before = std::prev(it);
    if (before->first.first == log && before->second.lsn_first + before->second.count > lsn) {
      it = before;
    }
  }
  for (; it != data_->runs.end() && it->first.first == log && rows.size() < count_max; ++it) {
    rows.push_back(it->second);
  }
  return rows;
}

Result<std::optional<RunRow>> MemView::run_at_time(LogId log, int64_t time_ms) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  for (auto it = data_->runs.lower_bound({log, 0});
       it != data_->runs.end() && it->first.first == log; ++it) {
    if (it->second.time_last_ms >= time_ms) return std::optional<RunRow>{it->second};
  }
  return std::optional<RunRow>{};
}

Result<std::optional<EpochRow>> MemView::epoch(Epoch epoch) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  const auto it = data_->epochs.find(epoch);
  if (it == data_->epochs.end()) return std::optional<EpochRow>{};
  return std::optional<EpochRow>{it->second};
}

Result<std::vector<EpochRow>> MemView::epochs() {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  std::vector<EpochRow> rows;
  for (const auto& [epoch, row] : data_->epochs) rows.push_back(row);
  return rows;
}

Result<std::vector<SlotRow>> MemView::slots(Epoch epoch, Seq seq, size_t count_max) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  std::vector<SlotRow> rows;
  for (auto it = data_->slots.lower_bound({epoch, seq});
       it != data_->slots.end() && rows.size() < count_max; ++it) {
    rows.push_back(it->second);
  }
  return rows;
}

Result<std::vector<ObjectUse>> MemView::objects(Epoch epoch, Seq seq, size_t count_max) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  const auto uses = data_->uses();
  std::vector<ObjectUse> rows;
  for (auto it = data_->slots.lower_bound({epoch, seq});
       it != data_->slots.end() && rows.size() < count_max; ++it) {
    const SlotRow& row = it->second;
    const auto use = uses.find({row.epoch, row.seq});
    rows.push_back(use == uses.end() ? ObjectUse{} : use->second);
    rows.back().row = row;
  }
  return rows;
}

Result<std::vector<SlotRow>> MemView::unused(Epoch epoch, Seq seq, size_t count_max) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  const auto uses = data_->uses();
  std::vector<SlotRow> rows;
  for (auto it = data_->slots.lower_bound({epoch, seq});
       it != data_->slots.end() && rows.size() < count_max; ++it) {
    const SlotRow& row = it->second;
    if (row.dead == 0 && !uses.contains({row.epoch, row.seq})) rows.push_back(row);
  }
  return rows;
}

Result<std::vector<SlotRow>> MemView::dead(uint64_t dead_max, size_t count_max) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  std::vector<SlotRow> rows;
  for (const auto& [key, row] : data_->slots) {
    if (rows.size() == count_max) break;
    if (row.dead != 0 && row.dead <= dead_max) rows.push_back(row);
  }
  return rows;
}

Result<std::vector<RunRow>> MemView::runs_in(const ObjectId& object, LogId log, Lsn lsn,
                                             size_t count_max) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  std::vector<RunRow> rows;
  for (auto it = data_->runs.lower_bound({log, lsn});
       it != data_->runs.end() && rows.size() < count_max; ++it) {
    const RunRow& run = it->second;
    if (run.epoch == object.epoch && run.seq == object.seq) rows.push_back(run);
  }
  return rows;
}

Result<std::vector<LogRow>> MemView::logs_with_settings(LogId after, size_t count_max) {
  MutexLock lock(data_->mutex);
  if (!data_->unreadable.ok()) return data_->unreadable;
  std::vector<LogRow> rows;
  for (auto it = data_->logs.upper_bound(after); it != data_->logs.end() && rows.size() < count_max;
       ++it) {
    if (!it->second.settings.empty()) rows.push_back(it->second);
  }
  return rows;
}

// ------------------------------------------------------------------------------------------ site

Site SimWorld::site(const std::string& name, const Prepare& prepare, Duration wall_offset) {
  Site site;
  site.machine = sim.machine(name, wall_offset);
  site.store = std::make_shared<SimStore>(site.machine, bucket);
  if (prepare) prepare(*site.store);
  return site;
}

void SimWorld::open(Site& site, const Options& options, std::shared_ptr<MemViewData> view) {
  EngineParts parts;
  parts.store = site.store;
  parts.runtime = site.machine;
  if (view == nullptr) view = std::make_shared<MemViewData>();
  parts.view = std::make_unique<MemView>(std::move(view));
  auto opened = Engine::open(std::move(parts), options);
  site.status = opened.status();
  if (opened.ok()) site.engine = std::move(opened).value();
}

Site SimWorld::open(const std::string& name, const Options& options,
                    std::shared_ptr<MemViewData> view, const Prepare& prepare) {
  Site opened = site(name, prepare);
  open(opened, options, std::move(view));
  return opened;
}

}  // namespace wp
