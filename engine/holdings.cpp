#include "engine/holdings.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "engine/ask.h"
#include "engine/retention.h"
#include "engine/status.h"
#include "engine/text.h"
#include "engine/view_keeper.h"

namespace wp {
namespace {

constexpr size_t kPage = 1000;

std::string span_of(Duration duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  if (seconds >= 2 * 86'400) return std::to_string(seconds / 86'400) + " days";
  if (seconds >= 2 * 3'600) return std::to_string(seconds / 3'600) + " hours";
  if (seconds >= 120) return std::to_string(seconds / 60) + " minutes";
  return std::to_string(seconds) + " seconds";
}

class Accounting {
 public:
  Accounting(EngineCore& core, LogId only) : core_(core), only_(only) {}

  Status run() {
    if (core_.writer != nullptr) {
      kept_ = core_.keeper->kept();
      if (Status status = core_.keeper->drain(kNever); !status.ok()) return status;
    }
    for (ObjectId at;;) {
      auto page = core_.view->objects(at.epoch, at.seq, kPage);
      if (!page) return core_.of_view(page.status());
      for (const ObjectUse& object : *page) {
        at = {object.row.epoch, object.row.seq + 1};
        Status status = object.runs != 0 ? see_used(object) : see_unused(object.row);
        if (!status.ok()) return core_.of_view(status);
      }
      if (page->size() < kPage) break;
    }
    return only_ == 0 ? see_checkpoints() : Status();
  }

  std::vector<Holding> result() {
    std::vector<Holding> all;
    for (auto& [key, holding] : held_) {
      if (holding.bytes == 0 && holding.objects == 0) continue;
      holding.text = text_of(holding);
      all.push_back(std::move(holding));
    }
    std::sort(all.begin(), all.end(),
              [](const Holding& a, const Holding& b) { return a.bytes > b.bytes; });
    return all;
  }

 private:
  using Why = Holding::Why;
  // Then it is known that a checkpoint said what nobody needs; when, only the writer knows.
  bool read_only() const { return core_.writer == nullptr; }

  struct OfLog {
    LogRow row;
    Verdict verdict;
  };

  Holding& held(Why why, const std::string& log = {}, const std::string& cursor = {}) {
    Holding& holding = held_[{why, log, cursor}];
    holding.why = why;
    holding.log = log;
    holding.cursor = cursor;
    return holding;
  }

  Result<const OfLog*> log_of(LogId id) {
    const auto known = logs_.find(id);
    if (known != logs_.end()) return &known->second;
    OfLog log;
    auto row = core_.view->log_by_id(id);
    if (!row) return row.status();
    if (*row) log.row = **row;
    if (!log.row.settings.empty()) {
      auto verdict = judge(*core_.view, log.row);
      if (!verdict) return verdict.status();
      log.verdict = *verdict;
    }
    return &logs_.emplace(id, std::move(log)).first->second;
  }

  // An object's bytes are shared out by the number of entries.
  Status see_used(const ObjectUse& object) {
    const double per_entry =
        static_cast<double>(object.row.bytes) /
        static_cast<double>(std::max(object.row.entries, std::max<uint64_t>(object.entries, 1)));
    const auto share = [&](uint64_t entries) {
      return static_cast<uint64_t>(per_entry * static_cast<double>(entries));
    };
    bool of_interest = only_ == 0;
    Status failed;
    Status status =
        each_run_in(*core_.view, {object.row.epoch, object.row.seq}, only_, [&](const RunRow& run) {
          if (only_ != 0 && run.log != only_) return false;  // they come in order
          of_interest = true;
          auto of = log_of(run.log);
          failed = of.status();
          if (!of) return false;
          Holding& holding = holder_of(**of, run);
          ++holding.objects;
          holding.bytes += share(run.count);
          return true;
        });
    if (status.ok()) status = failed;
    if (!status.ok()) return status;
    if (of_interest && object.row.entries > object.entries) {
      Holding& mixed = held(Why::kMixed);
      ++mixed.objects;
      mixed.bytes += share(object.row.entries - object.entries);
    }
    return {};
  }

  Holding& holder_of(const OfLog& log, const RunRow& run) {
    const Verdict& verdict = log.verdict;
    const Retention& retention = log.row.settings.retention;
    const Lsn end = run.lsn_first + run.count;
    // Age or bytes would let it go, or whatever every cursor has passed goes.
    const bool would_go = end <= verdict.policy_from || retention.cursors;
    if (would_go && !verdict.holder.empty() && end > verdict.holder_from) {
      Holding& holding = held(Why::kCursor, log.row.name, verdict.holder);
      holding.entries_behind = log.row.lsn_next - verdict.holder_from;
      return holding;
    }
    return held(retention == Retention{} ? Why::kEntries : Why::kRetention, log.row.name);
  }

  Status see_unused(const SlotRow& row) {
    if (only_ != 0) return {};
    Why why = Why::kCheckpoint;
    if (!core_.keeper->may_go(row)) {
      why = Why::kFence;
    } else if (row.dead != 0 && (read_only() || row.dead <= kept_.dead_max)) {
      why = Why::kGrace;
    }
    Holding& holding = held(why);
    ++holding.objects;
    holding.bytes += row.bytes;
    if (why == Why::kGrace && !read_only()) {
      const auto ripe = core_.keeper->ripe_at();
      holding.goes_in = std::chrono::duration_cast<Duration>(ripe ? *ripe - core_.runtime->now()
                                                                  : std::chrono::nanoseconds{0});
    }
    return {};
  }

  Status see_checkpoints() {
    Ask ask(*core_.store, *core_.runtime, Cause::kReclaim, core_.options.open_timeout);
    const ListResult listed = ask.list(std::string(kCheckpointPrefix), "");
    if (!listed.status.ok()) return to_status(listed.status);
    for (const ListedObject& object : listed.objects) {
      Holding& holding = held(Why::kCheckpoints);
      ++holding.objects;
      holding.bytes += object.bytes;
    }
    return {};
  }

  std::string text_of(const Holding& holding) const {
    const std::string log = "log " + holding.log;
    switch (holding.why) {
      case Why::kEntries:
        return log + ": entries that nothing lets go; truncate it, or give it a retention";
      case Why::kRetention:
        return log + ": entries that its retention keeps";
      case Why::kCursor:
        return log + ": cursor '" + printable(holding.cursor) + "' holds them, " +
               std::to_string(holding.entries_behind) +
               " entries behind; commit it, drop it, or limit how long cursors hold (hold_bytes, "
               "hold_age)";
      case Why::kMixed:
        return "entries that are gone, in objects of which others are still needed; compaction "
               "frees them where that pays";
      case Why::kCheckpoint:
        return "needed by nobody; goes once two checkpoints say so (they come with what is "
               "appended; wp gc makes them now)";
      case Why::kGrace:
        if (read_only()) {
          return "needed by nobody; goes once two checkpoints say so (wp gc makes them now) and "
                 "the writer's reclaim_grace, for readers elsewhere, has passed";
        }
        return "needed by nobody; kept for readers elsewhere" +
               (holding.goes_in && *holding.goes_in > Duration{0}
                    ? " for another " + span_of(*holding.goes_in)
                    : std::string(", and goes with the next pass or wp gc"));
      case Why::kFence:
        return "fences behind owners that did not close; they stay, or such an owner could go on "
               "writing";
      case Why::kCheckpoints:
        return "checkpoints, what an opening without a view starts from; two are kept";
    }
    return {};
  }

  EngineCore& core_;
  const LogId only_;
  ViewKeeper::Kept kept_;
  std::map<LogId, OfLog> logs_;
  std::map<std::tuple<Why, std::string, std::string>, Holding> held_;
};

}  // namespace

Result<std::vector<Holding>> holdings(EngineCore& core, const LogStatePtr& of_log) {
  LogId only = 0;
  if (of_log != nullptr) {
    MutexLock lock(core.mutex);
    only = of_log->id;
  }
  Accounting accounting(core, only);
  if (Status status = accounting.run(); !status.ok()) return status;
  return accounting.result();
}

}  // namespace wp
