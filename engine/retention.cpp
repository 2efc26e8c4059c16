#include "engine/retention.h"

#include <algorithm>
#include <optional>

#include "engine/bug.h"

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

bool cursor_holds(const LogRow& log, const CursorRow& cursor, uint64_t bytes_behind) {
  if (cursor.committed + 1 >= log.lsn_next) return true;
  const Retention& retention = log.settings.retention;
  if (retention.hold_age > Duration{0} &&
      log.time_last_ms - cursor.time_ms > retention.hold_age.count()) {
    return false;
  }
  return retention.hold_bytes == 0 || bytes_behind <= retention.hold_bytes;
}

Result<Verdict> judge(View& view, const LogRow& log) {
  Verdict verdict;
  auto passed = passed_by_age_and_bytes(view, log);
  if (!passed) return passed.status();
  verdict.policy_from = *passed;
  Lsn held_from = log.lsn_next;
  for (const CursorRow& cursor : log.settings.cursors) {
    const Lsn from = std::max(cursor.committed + 1, log.lsn_first);
    uint64_t bytes_behind = 0;
    if (log.settings.retention.hold_bytes != 0) {
      auto run = run_at(view, log, from);
      if (!run) return run.status();
      if (*run) bytes_behind = log.bytes_end - (*run)->bytes_begin;
    }
    if (!cursor_holds(log, cursor, bytes_behind) || WP_BUG(21)) continue;
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
