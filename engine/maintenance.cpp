#include "engine/maintenance.h"

#include <algorithm>

#include "engine/bug.h"
#include "engine/retention.h"
#include "engine/view_keeper.h"
#include "engine/writer.h"

namespace wp {
namespace {

// A pass looks at all objects, so it is worth something only after so much.
constexpr uint64_t kBytesBetween = 64u << 20;
constexpr uint64_t kSlotsBetweenMin = 16;
constexpr uint64_t kLooksPerSlot = 8;
constexpr size_t kExpiredAtOnce = 1'000;  // logs
constexpr size_t kPage = 1000;
constexpr size_t kRowsCounted = 100'000;
// Each round of a gc makes the root smaller, so this is never reached.
constexpr int kRoundsMax = 1'000;

GcReport less(const GcReport& now, const GcReport& before) {
  GcReport report = now;
  report.entries_expired -= before.entries_expired;
  report.objects_compacted -= before.objects_compacted;
  report.bytes_compacted -= before.bytes_compacted;
  report.segments_written -= before.segments_written;
  report.segment_bytes_written -= before.segment_bytes_written;
  report.objects_deleted -= before.objects_deleted;
  report.bytes_deleted -= before.bytes_deleted;
  report.leftovers_deleted -= before.leftovers_deleted;
  return report;
}

// Calls `see` with each log whose retention lets something go, until it says that it is enough.
template <class See>
Status each_expired(View& view, See see) {
  for (LogId after = 0;;) {
    auto logs = view.logs_with_settings(after, kPage);
    if (!logs) return logs.status();
    for (const LogRow& log : *logs) {
      after = log.id;
      if (log.settings.retention == Retention{}) continue;
      auto verdict = judge(view, log);
      if (!verdict) return verdict.status();
      if (verdict->keep_from > log.lsn_first && !see(log, *verdict)) return {};
    }
    if (logs->size() < kPage) return {};
  }
}

}  // namespace

// ----------------------------------------------------------------------------------------- passes

// What an opening finds is no news.
void Maintenance::start() {
  MutexLock lock(core_.mutex);
  slots_at_pass_ = core_.ledger.head().slots;
  bytes_at_pass_ = core_.ledger.bytes_added();
}

void Maintenance::view_has_news() {
  {
    MutexLock lock(core_.mutex);
    if (busy_ || core_.ended) return;
    // What is planned on a view that lacks a segment would be published over it, and where it ends
    // earlier, what the segment holds behind that would be nowhere. Only a pass publishes.
    if (core_.ledger.pending_published() && !WP_BUG(32)) return;
    if (!core_.view_damage_.empty()) return;  // nothing is planned on that
    // The more a pass looks at, the rarer it is.
    const uint64_t slots = std::max<uint64_t>(
        {core_.options.checkpoint_slots / 4, kSlotsBetweenMin, looked_at_ / kLooksPerSlot});
    const bool due = core_.ledger.head().slots - slots_at_pass_ >= slots ||
                     core_.ledger.bytes_added() - bytes_at_pass_ >= kBytesBetween;
    if (!due) return;
    busy_ = true;
  }
  pass();
}

void Maintenance::pass() {
  {
    MutexLock lock(core_.mutex);
    slots_at_pass_ = core_.ledger.head().slots;
    bytes_at_pass_ = core_.ledger.bytes_added();
    failure_ = {};
  }
  const bool sweep = core_.keeper->sweep_is_due();
  const Then after = [this, sweep] { reclaim(sweep, [this] { pass_over(); }); };
  expire([this, after] { core_.options.compact_share > 0 ? compact(false, after) : after(); });
}

void Maintenance::pass_over() {
  const auto ripe = core_.keeper->ripe_at();
  MutexLock lock(core_.mutex);
  busy_ = false;
  idle_.notify_all();
  if (ripe && !core_.ended) pass_at(*ripe);
}

// What waits for nothing but the grace goes when that is over, also where nothing is appended.
void Maintenance::pass_at(TimePoint when) {
  if (timer_ != 0 || reclaimable_bytes_ == 0) return;
  timer_ = core_.runtime->call_at(when, [this] {
    {
      MutexLock lock(core_.mutex);
      timer_ = 0;
      if (busy_ || core_.ended) return;
      busy_ = true;
    }
    reclaim(false, [this] { pass_over(); });
  });
}

void Maintenance::note_failure(const Status& status) {
  if (status.ok() || status.code() == Code::kClosed) return;
  bool first;
  {
    MutexLock lock(core_.mutex);
    first = failure_.ok();
    if (first) failure_ = status;
  }
  if (first && status.code() != Code::kFenced) core_.say(Level::kWarning, status.message());
}

void Maintenance::expire(Then then) {
  core_.runtime->work([this, then = std::move(then)] {
    std::vector<Writer::Expiry> expiries;
    const Status status = each_expired(*core_.view, [&](const LogRow& log, const Verdict& verdict) {
      auto state = core_.find_log(log.name);
      if (state && *state != nullptr && (*state)->id == log.id) {
        expiries.push_back({*std::move(state), log, verdict.keep_from, verdict.bytes_begin});
      }
      return expiries.size() < kExpiredAtOnce;
    });
    note_failure(core_.of_view(status));
    {
      MutexLock lock(core_.mutex);
      more_ = expiries.size() == kExpiredAtOnce;
    }
    if (expiries.empty()) return then();
    core_.writer->expire(std::move(expiries), [this, then](const Result<Lsn>& entries) {
      note_failure(entries.status());
      if (entries.ok()) {
        MutexLock lock(core_.mutex);
        report_.entries_expired += *entries;
      }
      then();
    });
  });
}

// -------------------------------------------------------------------------------------- compaction

void Maintenance::compact(bool eager, Then then) {
  core_.runtime->work([this, eager, then = std::move(then)] {
    std::set<ObjectId> avoid;
    ObjectId from;
    {
      MutexLock lock(core_.mutex);
      avoid = unreadable_;
      from = plan_from_;
    }
    auto plan = plan_compaction(*core_.view, core_.options, eager, avoid, from);
    if (!plan) {
      note_failure(core_.of_view(plan.status()));
      return then();
    }
    {
      MutexLock lock(core_.mutex);
      debt_bytes_ = plan->debt_bytes;
      looked_at_ = plan->looked_at;
      // What was passed over is looked at once more, from the beginning.
      more_ = !plan->segments.empty() || from != ObjectId{};
      plan_from_ = plan->from;
      report_.bytes_compacted += plan->bytes;
      report_.objects_compacted += plan->objects;
      for (auto& runs : plan->segments) segments_.push_back(std::move(runs));
    }
    next_segment(eager, then);
  });
}

void Maintenance::next_segment(bool eager, Then then) {
  std::vector<RunRow> runs;
  {
    MutexLock lock(core_.mutex);
    if (core_.ended || (hurry_ && !eager)) segments_.clear();
    if (!segments_.empty()) {
      runs = std::move(segments_.front());
      segments_.pop_front();
    }
  }
  if (runs.empty()) return then();
  // Not here: this may be the event thread.
  core_.runtime->work([this, eager, runs = std::move(runs), then = std::move(then)] {
    const TimePoint begun = core_.runtime->now();
    auto job = std::make_shared<CompactionJob>(
        core_, runs, [this, eager, begun, then](const CompactionJob::Outcome& outcome) {
          segment_ended(eager, begun, outcome, then);
        });
    job->start();
  });
}

// Rests between two segments, so that it takes no more than its share of the time.
void Maintenance::segment_ended(bool eager, TimePoint begun, const CompactionJob::Outcome& outcome,
                                Then then) {
  note_failure(outcome.status);
  const TimePoint now = core_.runtime->now();
  const double share = core_.options.compact_share;
  bool rests = !eager;
  {
    MutexLock lock(core_.mutex);
    unreadable_.insert(outcome.unreadable.begin(), outcome.unreadable.end());
    if (!outcome.leftover.empty()) abandoned_.push_back(outcome.leftover);
    if (outcome.status.ok()) {
      ++report_.segments_written;
      report_.segment_bytes_written += outcome.segment_bytes;
    } else {
      segments_.clear();  // the next pass plans anew
      more_ = false;
    }
    if (segments_.empty() || hurry_) rests = false;
  }
  const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(
      (now - begun) * std::min(1 / std::max(share, 0.001) - 1, 1000.0));
  if (!rests || rest <= std::chrono::nanoseconds{0}) return next_segment(eager, std::move(then));
  core_.runtime->call_at(now + rest,
                         [this, eager, then = std::move(then)] { next_segment(eager, then); });
}

// -------------------------------------------------------------------------------------- reclaiming

void Maintenance::reclaim(bool sweep, Then then) {
  std::vector<std::string> abandoned;
  {
    MutexLock lock(core_.mutex);
    abandoned = std::exchange(abandoned_, {});
  }
  auto job = std::make_shared<ReclaimJob>(
      core_, sweep, std::move(abandoned),
      [this, then = std::move(then)](const ReclaimJob::Outcome& outcome) {
        note_failure(outcome.status);
        {
          MutexLock lock(core_.mutex);
          report_.objects_deleted += outcome.objects;
          report_.bytes_deleted += outcome.bytes;
          report_.leftovers_deleted += outcome.leftovers;
          more_ = outcome.more;
        }
        core_.runtime->work([this, then] {
          GcReport waiting;
          if (count_waiting(&waiting).ok()) {
            MutexLock lock(core_.mutex);
            reclaimable_bytes_ = waiting.bytes_waiting;
          }
          then();
        });
      });
  job->start();
}

Status Maintenance::count_waiting(GcReport* report) {
  auto dead = all_dead();
  if (!dead) return dead.status();
  for (const SlotRow& row : *dead) {
    ++report->objects_waiting;
    report->bytes_waiting += row.bytes;
  }
  return {};
}

Result<std::vector<SlotRow>> Maintenance::all_dead() {
  auto rows = core_.view->dead(kNumberEnd - 1, kRowsCounted);
  if (!rows) return core_.of_view(rows.status());
  return rows;
}

// ---------------------------------------------------------------------------------------------- gc

bool Maintenance::begin_gc() {
  MutexLock lock(core_.mutex);
  hurry_ = busy_;
  while (busy_ && !core_.ended) core_.runtime->wait(lock, idle_, kNever);
  hurry_ = false;
  if (core_.ended) return false;
  failure_ = {};
  plan_from_ = {};
  return busy_ = true;
}

Status Maintenance::await(const std::function<void(Then)>& step) {
  auto done = std::make_shared<bool>(false);
  step([this, done] {
    MutexLock lock(core_.mutex);
    *done = true;
    idle_.notify_all();
  });
  MutexLock lock(core_.mutex);
  while (!*done && !core_.ended) core_.runtime->wait(lock, idle_, kNever);
  if (!*done) {
    lock.unlock();
    return core_.usable();
  }
  return failure_;
}

// What is dead counts when two checkpoints say so, and two of one slot there cannot be.
Status Maintenance::checkpoint_twice() {
  if (Status status = core_.keeper->checkpoint_now(); !status.ok()) return status;
  const ViewKeeper::Kept kept = core_.keeper->kept();
  auto dead = all_dead();
  if (!dead) return dead.status();
  const bool fresh = std::any_of(dead->begin(), dead->end(),
                                 [&](const SlotRow& row) { return row.dead > kept.dead_max; });
  if (!fresh) return {};
  const Status stored = await([this](Then then) {
    core_.writer->submit({}, [this, then = std::move(then)](const Result<Lsn>& result) {
      note_failure(result.status());
      then();
    });
  });
  return stored.ok() ? core_.keeper->checkpoint_now() : stored;
}

Status Maintenance::delete_what_is_ripe(bool sweep) {
  Status status;
  for (int round = 0; status.ok() && round < kRoundsMax; ++round) {
    status = await([&](Then then) { reclaim(sweep, std::move(then)); });
    if (status.ok()) status = core_.keeper->drain(kNever);
    if (!there_is_more()) break;
  }
  return status;
}

bool Maintenance::there_is_more() const {
  MutexLock lock(core_.mutex);
  return more_;
}

Status Maintenance::preview(GcReport* report) {
  Status status = each_expired(*core_.view, [&](const LogRow& log, const Verdict& verdict) {
    report->entries_expired += verdict.keep_from - log.lsn_first;
    return true;
  });
  if (!status.ok()) return core_.of_view(status);
  auto plan = plan_compaction(*core_.view, core_.options, true, {}, {});
  if (!plan) return core_.of_view(plan.status());
  report->objects_compacted = plan->objects;
  report->bytes_compacted = plan->bytes;
  report->segments_written = plan->segments.size();
  const ViewKeeper::Kept kept = core_.keeper->kept();
  auto dead = all_dead();
  if (!dead) return dead.status();
  for (const SlotRow& row : *dead) {
    const bool now = row.dead <= kept.ripe_max;
    ++(now ? report->objects_deleted : report->objects_waiting);
    (now ? report->bytes_deleted : report->bytes_waiting) += row.bytes;
  }
  auto unused = core_.view->unused(0, 0, kRowsCounted);
  if (!unused) return core_.of_view(unused.status());
  for (const SlotRow& row : *unused) {
    if (!core_.keeper->may_go(row)) continue;
    ++report->objects_waiting;
    report->bytes_waiting += row.bytes;
  }
  return {};
}

Result<GcReport> Maintenance::gc(bool dry_run) {
  if (Status status = core_.writer->failure(); !status.ok()) return status;
  if (!begin_gc()) return core_.usable();
  struct End {  // also where a wait is left by an exception
    explicit End(Maintenance& of) : maintenance(of) {}
    ~End() { maintenance.pass_over(); }
    Maintenance& maintenance;
  } const end(*this);
  Status status = dry_run ? Status() : core_.writer->flush({});  // what cursors were told, too
  if (status.ok()) status = core_.keeper->drain(kNever);
  if (!status.ok()) return status;
  if (const std::string damage = core_.view_damage(); !damage.empty()) {
    return Status(
        Code::kCorrupt,
        "gc " + core_.url + ": the view is damaged; reopen, which builds it anew [" + damage + "]");
  }
  if (dry_run) {
    GcReport report;
    if (status = preview(&report); !status.ok()) return status;
    return report;
  }
  GcReport before;
  {
    MutexLock lock(core_.mutex);
    before = report_;
  }
  status = delete_what_is_ripe(false);
  for (int round = 0; status.ok() && round < kRoundsMax; ++round) {
    status = core_.keeper->drain(kNever);
    if (status.ok()) status = await([this](Then then) { expire(std::move(then)); });
    if (!there_is_more()) break;
  }
  for (int round = 0; status.ok() && round < kRoundsMax; ++round) {
    status = core_.keeper->drain(kNever);
    if (status.ok()) status = await([this](Then then) { compact(true, std::move(then)); });
    if (!there_is_more()) break;
  }
  if (status.ok()) status = core_.keeper->drain(kNever);
  if (status.ok()) status = checkpoint_twice();
  if (status.ok()) status = delete_what_is_ripe(true);
  if (!status.ok()) return status;
  GcReport report;
  {
    MutexLock lock(core_.mutex);
    report = less(report_, before);
  }
  if (status = count_waiting(&report); !status.ok()) return status;
  return report;
}

void Maintenance::ended() {
  MutexLock lock(core_.mutex);
  idle_.notify_all();
}

void Maintenance::fill(Stats& stats) const {
  MutexLock lock(core_.mutex);
  stats.compaction_debt_bytes = debt_bytes_;
  stats.reclaimable_bytes = reclaimable_bytes_;
  stats.reclaimed_bytes = report_.bytes_deleted;
  stats.segments_written = report_.segments_written;
  stats.segment_bytes_written = report_.segment_bytes_written;
}

}  // namespace wp
