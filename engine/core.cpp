#include "engine/core.h"

#include <algorithm>
#include <map>

#include "engine/follower.h"
#include "engine/view_keeper.h"
#include "engine/writer.h"

namespace wp {
namespace {

// What it keeps is little of the budget's share that is for passing needs (engine/ram.h).
std::shared_ptr<BlockPool> make_block_pool(const Options& options) {
  const uint64_t usual = std::min<uint64_t>(options.block_bytes, options.fragment_bytes_max);
  const uint64_t spare = std::min(options.fragment_bytes_max, options.ram_bytes_max / 32);
  return std::make_shared<BlockPool>(usual, spare / usual);
}

}  // namespace

EngineCore::EngineCore(EngineParts parts, const Options& options_given)
    : options(options_given),
      store(std::move(parts.store)),
      runtime(std::move(parts.runtime)),
      url(store->description()),
      ram(options_given.ram_bytes_max),
      blocks(make_block_pool(options_given)),
      cache(ram),
      view(std::move(parts.view)),
      spare_view(std::move(parts.spare_view)),
      lock(std::move(parts.lock)),
      ledger(view.get(), ram) {
  if (options.linger < Duration{0}) options.linger = store->linger_default();
}

EngineCore::~EngineCore() = default;

Status EngineCore::usable() const {
  if (runtime->forked()) {
    return Status(Code::kForked, "use " + url +
                                     ": it was opened before fork(), by the parent; open it anew "
                                     "in this process");
  }
  if (ended.load(std::memory_order_acquire)) {
    return Status(Code::kClosed, "use " + url + ": it was closed; open it again");
  }
  return {};
}

Status EngineCore::may_wait(std::string_view tried) const {
  if (Status status = usable(); !status.ok()) return status;
  if (runtime->on_event_thread()) {
    return Status(Code::kInvalid, std::string(tried) +
                                      ": a callback may not wait, it would wait for itself; "
                                      "append_async, or do it on another thread");
  }
  return {};
}

// --------------------------------------------------------------------------------------- look-ups

// The view is read with no lock held; what it said counts only if nothing went from RAM to the view
// meanwhile.
Result<LogStatePtr> EngineCore::find_log(std::string_view name) {
  for (;;) {
    uint64_t generation;
    {
      MutexLock guard(mutex);
      if (LogStatePtr state = ledger.in_ram(name)) return state;
      generation = ledger.generation();
    }
    auto row = view->log_by_name(name);
    if (!row) return row.status();
    MutexLock guard(mutex);
    if (LogStatePtr state = ledger.in_ram(name)) return state;
    if (ledger.generation() != generation) continue;
    if (!*row || ledger.forgotten((*row)->id)) return LogStatePtr();
    return ledger.load(**row);
  }
}

Result<std::vector<LogStatePtr>> EngineCore::all_logs() {
  constexpr size_t kPage = 1000;
  for (;;) {
    uint64_t generation;
    {
      MutexLock guard(mutex);
      generation = ledger.generation();
    }
    std::vector<LogRow> rows;
    for (std::string after;;) {
      auto page = view->logs(after, kPage);
      if (!page) return page.status();
      if (page->empty()) break;
      after = page->back().name;
      std::move(page->begin(), page->end(), std::back_inserter(rows));
      if (page->size() < kPage) break;
    }
    MutexLock guard(mutex);
    if (ledger.generation() != generation) continue;
    std::map<std::string, LogStatePtr> found;
    for (const LogRow& row : rows) {
      if (ledger.in_ram(row.id) || ledger.forgotten(row.id)) continue;
      // Not taken into RAM for good: a root may have a million logs.
      auto state = std::make_shared<LogState>(row.id, row.name);
      state->row = row;
      state->lsn_given = row.lsn_next - 1;
      found[row.name] = std::move(state);
    }
    ledger.each_in_ram([&](const LogStatePtr& state) {
      if (!state->dropping) found[state->name] = state;
    });
    std::vector<LogStatePtr> logs;
    for (auto& [name, state] : found) logs.push_back(std::move(state));
    return logs;
  }
}

Result<std::vector<RunRow>> EngineCore::runs_from(LogState& log, Lsn lsn, size_t count_max) {
  {
    MutexLock guard(mutex);
    if (!log.recent.empty() && lsn >= log.recent.front().lsn_first) {
      auto it =
          std::upper_bound(log.recent.begin(), log.recent.end(), lsn,
                           [](Lsn wanted, const RunRow& run) { return wanted < run.lsn_first; });
      --it;
      if (it->lsn_first + it->count <= lsn) ++it;
      const auto count = std::min<size_t>(count_max, static_cast<size_t>(log.recent.end() - it));
      return std::vector<RunRow>(it, it + static_cast<ptrdiff_t>(count));
    }
  }
  return view->runs(log.id, lsn, count_max);
}

Result<std::optional<RunRow>> EngineCore::run_at_time(LogState& log, int64_t time_ms) {
  std::optional<RunRow> in_ram;
  {
    MutexLock guard(mutex);
    for (const RunRow& run : log.recent) {
      if (run.time_last_ms < time_ms) continue;
      in_ram = run;
      break;
    }
    if (in_ram && &log.recent.front() != nullptr &&
        in_ram->lsn_first != log.recent.front().lsn_first)
      return in_ram;
  }
  // The first of those in RAM fits: perhaps an earlier one does too.
  auto run = view->run_at_time(log.id, time_ms);
  if (!run) return run.status();
  if (*run && (!in_ram || (*run)->lsn_first < in_ram->lsn_first)) return run;
  return in_ram;
}

LogInfo EngineCore::info_of(LogState& log) {
  LogInfo info;
  {
    MutexLock guard(mutex);
    info.name = log.name;
    info.id = log.id;
    info.lsn_first = log.row.lsn_first;
    info.lsn_durable = log.row.lsn_next - 1;
    info.lsn_last = log.lsn_given;
    info.bytes = log.row.bytes_end - log.row.bytes_begin;
    if (info.entries() != 0) info.time_last_ms = log.row.time_last_ms;
  }
  if (info.entries() != 0) {
    const auto runs = runs_from(log, info.lsn_first, 1);
    if (runs && !runs->empty()) info.time_first_ms = runs->front().time_first_ms;
  }
  return info;
}

void EngineCore::wake_readers() {
  ledger.each_in_ram([](const LogStatePtr& state) { state->news.notify_all(); });
}

}  // namespace wp
