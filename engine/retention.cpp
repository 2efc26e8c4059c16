#include "engine/retention.h"

#include <algorithm>
#include <optional>

namespace wp {
namespace {

constexpr size_t kPage = 256;

// The first run that holds the LSN; nothing behind the last entry.
Result<std::optional<RunRow>> run_at(View& view, const LogRow& log, Lsn lsn) {
  auto runs = view.runs(log.id, lsn, 1);
  if (!runs) return runs.status();
  return runs->empty() ? std::optional<RunRow>() : runs->front();
}

// Behind all runs that age or bytes let go.
Result<Lsn> passed_by_age_and_bytes(View& view, const LogRow& log) {
  const Retention& retention = log.settings.retention;
  Lsn from = log.lsn_first;
  if (retention.age <= Duration{0} && retention.bytes == 0) return from;
  for (;;) {
    auto runs = view.runs(log.id, from, kPage);
    if (!runs) return runs.status();
    for (const RunRow& run : *runs) {
      const bool old = retention.age > Duration{0} &&
                       run.time_last_ms < log.time_last_ms - retention.age.count();
      const bool beyond =
          retention.bytes != 0 && log.bytes_end - (run.bytes_begin + run.bytes) >= retention.bytes;
      if (!old && !beyond) return from;
      from = run.lsn_first + run.count;
    }
    if (runs->size() < kPage) return from;
  }
}

}  // namespace

Lag lag_of(const LogRow& log, const CursorRow& cursor, const RunRow* next) {
  if (next == nullptr) return {};
  const int64_t since = std::max(cursor.time_ms, next->time_first_ms);
  const Lsn from = cursor.committed + 1;
  const uint64_t done = from > next->lsn_first ? std::min(from - next->lsn_first, next->count) : 0;
  const double share =
      static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(next->count, 1));
  const uint64_t before =
      next->bytes_begin + static_cast<uint64_t>(static_cast<double>(next->bytes) * share);
  return {log.bytes_end - std::min(before, log.bytes_end),
          Duration{std::max<int64_t>(0, log.time_last_ms - since)}};
}

bool cursor_holds(const Retention& retention, const Lag& lag) {
  if (retention.hold_age > Duration{0} && lag.age > retention.hold_age) return false;
  return retention.hold_bytes == 0 || lag.bytes <= retention.hold_bytes;
}

Result<Verdict> judge(View& view, const LogRow& log) {
  Verdict verdict;
  auto passed = passed_by_age_and_bytes(view, log);
  if (!passed) return passed.status();
  verdict.policy_from = *passed;
  Lsn held_from = log.lsn_next;
  for (const CursorRow& cursor : log.settings.cursors) {
    const Lsn from = std::max(cursor.committed + 1, log.lsn_first);
    auto next = run_at(view, log, from);
    if (!next) return next.status();
    if (!cursor_holds(log.settings.retention, lag_of(log, cursor, *next ? &**next : nullptr))) {
      continue;
    }
    if (!verdict.holder.empty() && from >= held_from) continue;
    verdict.holder = cursor.name;
    verdict.holder_from = held_from = from;
  }
  if (log.settings.retention.cursors && !verdict.holder.empty()) {
    verdict.policy_from = std::max(verdict.policy_from, held_from);
  }
  verdict.keep_from =
      std::clamp(std::min(verdict.policy_from, held_from), log.lsn_first, log.lsn_next);
  verdict.bytes_begin = log.bytes_end;
  auto run = run_at(view, log, verdict.keep_from);
  if (!run) return run.status();
  if (*run) verdict.bytes_begin = (*run)->bytes_begin;
  return verdict;
}

}  // namespace wp
