#include "engine/core.h"

#include <algorithm>
#include <map>

#include "engine/cursors.h"
#include "engine/follower.h"
#include "engine/maintenance.h"
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

void EngineCore::reload_begin() {
  MutexLock guard(mutex);
  while (reloading_) runtime->wait(guard, reloaded_, kNever);
  reloading_ = true;
}

void EngineCore::reload_end() {
  MutexLock guard(mutex);
  reloading_ = false;
  ++reloads_;
  reloaded_.notify_all();
}

uint64_t EngineCore::reloads_settled() {
  MutexLock guard(mutex);
  while (reloading_) runtime->wait(guard, reloaded_, kNever);
  return reloads_;
}

template <class T, class Read>
Result<T> EngineCore::read_view(Read read) {
  for (;;) {
    const uint64_t before = reloads_settled();
    Result<T> result = read(*view);
    if (reloads_settled() != before) continue;
    if (!result) return of_view(result.status());
    return result;
  }
}

// The view is read with no lock held; what it said counts only if nothing went from RAM to the view
// meanwhile.
Result<LogStatePtr> EngineCore::find_log(std::string_view name, bool* created) {
  for (;;) {
    uint64_t generation;
    {
      MutexLock guard(mutex);
      if (LogStatePtr state = ledger.in_ram(name)) return state;
      generation = ledger.generation();
    }
    auto row = read_view<std::optional<LogRow>>([&](View& v) { return v.log_by_name(name); });
    if (!row) return row.status();
    MutexLock guard(mutex);
    if (LogStatePtr state = ledger.in_ram(name)) return state;
    if (ledger.generation() != generation) continue;
    if (*row && !ledger.forgotten((*row)->id)) return ledger.load(**row);
    if (created == nullptr) return LogStatePtr();
    *created = true;
    return ledger.create(name);
  }
}

Result<Nonce> EngineCore::owner_of(Epoch epoch) {
  {
    MutexLock guard(mutex);
    if (const Nonce owner = ledger.owner_of(epoch)) return owner;
  }
  auto row = read_view<std::optional<EpochRow>>([&](View& v) { return v.epoch(epoch); });
  if (!row) return row.status();
  if (!*row) return Nonce{0};
  MutexLock guard(mutex);
  ledger.set_owner(epoch, (*row)->owner);
  return (*row)->owner;
}

// What changes while the view is read stays in RAM, which has the last word.
Result<std::vector<LogStatePtr>> EngineCore::all_logs() {
  constexpr size_t kPage = 1000;
  {
    MutexLock guard(mutex);
    ledger.keep_in_ram(true);
  }
  auto rows = read_view<std::vector<LogRow>>([&](View& v) -> Result<std::vector<LogRow>> {
    std::vector<LogRow> all;
    for (std::string after;;) {
      auto page = v.logs(after, kPage);
      if (!page) return page;
      if (!page->empty()) after = page->back().name;
      const bool last = page->size() < kPage;
      std::move(page->begin(), page->end(), std::back_inserter(all));
      if (last) return all;
    }
  });
  MutexLock guard(mutex);
  std::map<std::string, LogStatePtr> found;
  for (const LogRow& row : rows ? *rows : std::vector<LogRow>()) {
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
  ledger.keep_in_ram(false);
  if (!rows) return rows.status();
  std::vector<LogStatePtr> logs;
  for (auto& [name, state] : found) logs.push_back(std::move(state));
  return logs;
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
  return read_view<std::vector<RunRow>>([&](View& v) { return v.runs(log.id, lsn, count_max); });
}

Result<std::optional<RunRow>> EngineCore::run_at_time(LogState& log, int64_t time_ms) {
  std::optional<RunRow> in_ram;
  {
    MutexLock guard(mutex);
    const auto it = std::find_if(log.recent.begin(), log.recent.end(),
                                 [&](const RunRow& run) { return run.time_last_ms >= time_ms; });
    if (it != log.recent.end()) in_ram = *it;
    if (in_ram && it != log.recent.begin()) return in_ram;
  }
  // The first of those in RAM fits, or none does: perhaps an earlier one does.
  auto run =
      read_view<std::optional<RunRow>>([&](View& v) { return v.run_at_time(log.id, time_ms); });
  if (!run) return run.status();
  return *run ? run : in_ram;
}

Result<std::vector<LogRow>> EngineCore::logs_with_settings(LogId after, size_t count_max) {
  return read_view<std::vector<LogRow>>(
      [&](View& v) { return v.logs_with_settings(after, count_max); });
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
    info.retention = log.row.settings.retention;
    info.bytes = log.row.bytes_end - log.row.bytes_begin;
    if (info.entries() != 0) info.time_last_ms = log.row.time_last_ms;
  }
  if (info.entries() != 0) {
    const auto runs = runs_from(log, info.lsn_first, 1);
    if (runs && !runs->empty()) info.time_first_ms = runs->front().time_first_ms;
  }
  return info;
}

Status EngineCore::of_view(Status status) {
  if (status.code() != Code::kCorrupt) return status;
  bool first;
  {
    MutexLock guard(mutex);
    first = view_damage_.empty();
    if (first) view_damage_ = status.to_string();
  }
  if (first) {
    // For whoever opens next, also where this process is killed. Without the note, as where nothing
    // can be written, they find it out anew.
    (void)view->set_note(kDamageNote, status.message());
    say(Level::kWarning, status.message() + " (the next opening of " + url + " builds it anew)");
  }
  return status;
}

std::string EngineCore::view_damage() const {
  MutexLock guard(mutex);
  return view_damage_;
}

void EngineCore::wake_readers() {
  ledger.each_in_ram([](const LogStatePtr& state) { state->news.notify_all(); });
}

}  // namespace wp
