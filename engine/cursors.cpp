#include "engine/cursors.h"

#include <algorithm>

#include "engine/retention.h"
#include "engine/text.h"
#include "engine/writer.h"

namespace wp {
namespace {

constexpr size_t kLogsTold = 1'000;

Status no_cursor(const LogState& log, std::string_view name) {
  return Status(Code::kNotFound, "cursor '" + printable(name) + "' of log " + log.name +
                                     ": there is none of that name; Log::cursor makes one");
}

bool has_row(const LogState& log, std::string_view name) {
  const auto& cursors = log.row.settings.cursors;
  return std::any_of(cursors.begin(), cursors.end(),
                     [&](const CursorRow& row) { return row.name == name; });
}

}  // namespace

Status Cursors::open(const LogStatePtr& log, std::string_view name) {
  MutexLock lock(core_.mutex);
  // Another thread is making it, or dropping it: then it is looked at again.
  for (auto said = log->said.find(name); said != log->said.end() && core_.writer != nullptr;
       said = log->said.find(name)) {
    if (!said->second.dropped && has_row(*log, name)) return {};
    lock.unlock();
    if (Status status = core_.writer->flush({}); !status.ok()) return status;
    lock.lock();
  }
  if (has_row(*log, name)) return {};
  if (core_.writer == nullptr) return no_cursor(*log, name);
  if (rows(*log).size() >= kCursorsMax) {
    return Status(Code::kInvalid, "cursor '" + printable(name) + "' of log " + log->name +
                                      ": the log has " + std::to_string(kCursorsMax) +
                                      " cursors, which is all it can have; drop one");
  }
  Record record{RecordType::kCursor, log->id, std::string(name), log->row.lsn_first - 1, 0};
  record.time_ms = log->row.time_last_ms;
  log->said[record.name] = {record.lsn_first, true, false, 1};
  return store(lock, std::move(record), log);
}

Status Cursors::store(MutexLock& lock, Record record, const LogStatePtr& log) {
  const std::string name = record.name;
  Status status = core_.writer->store(lock, std::move(record), log);
  if (!status.ok()) log->said.erase(name);  // nothing will come of it here
  return status;
}

Status Cursors::commit(const LogStatePtr& log, std::string_view name, Lsn upto) {
  MutexLock lock(core_.mutex);
  if (Status status = core_.writer->refusal(*log); !status.ok()) return status;
  const auto said = log->said.find(name);
  if (said == log->said.end() ? !has_row(*log, name) : said->second.dropped) {
    return no_cursor(*log, name);
  }
  if (upto >= log->row.lsn_next) {
    return Status(Code::kInvalid, "commit cursor '" + printable(name) + "' of log " + log->name +
                                      " at LSN " + std::to_string(upto) +
                                      ": the last durable one is " +
                                      std::to_string(log->row.lsn_next - 1));
  }
  SaidCursor& cursor = said != log->said.end() ? said->second : log->said[std::string(name)];
  cursor.committed = upto;
  cursor.recorded = false;
  Unrecorded& unrecorded = unrecorded_[log->id];
  unrecorded.log = log;
  unrecorded.names.insert(std::string(name));
  if (timer_ == 0) {
    timer_ =
        core_.runtime->call_at(core_.runtime->now() + core_.options.cursor_commit_interval, [this] {
          {
            MutexLock guard(core_.mutex);
            timer_ = 0;
          }
          core_.writer->send_commits();
        });
  }
  return {};
}

Status Cursors::drop(const LogStatePtr& log, std::string_view name) {
  MutexLock lock(core_.mutex);
  const auto said = log->said.find(name);
  if (said == log->said.end() ? !has_row(*log, name) : said->second.dropped) return {};
  if (Status status = core_.writer->refusal(*log); !status.ok()) return status;
  // What was said and is in no fragment yet is not to make it anew.
  if (const auto unrecorded = unrecorded_.find(log->id); unrecorded != unrecorded_.end()) {
    unrecorded->second.names.erase(std::string(name));
  }
  SaidCursor& cursor = log->said[std::string(name)];
  cursor.dropped = cursor.recorded = true;
  ++cursor.in_flight;
  return store(lock, {RecordType::kCursorDrop, log->id, std::string(name), 0, 0}, log);
}

std::vector<std::pair<Record, LogStatePtr>> Cursors::take() {
  std::vector<std::pair<Record, LogStatePtr>> records;
  if (unrecorded_.empty()) return records;
  for (const auto& [id, unrecorded] : unrecorded_) {
    LogState& log = *unrecorded.log;
    if (log.dropping) continue;
    for (const std::string& name : unrecorded.names) {
      const auto said = log.said.find(name);
      if (said == log.said.end()) continue;
      SaidCursor& cursor = said->second;
      Record record{RecordType::kCursor, id, name, cursor.committed, 0};
      record.time_ms = log.row.time_last_ms;
      cursor.recorded = true;
      ++cursor.in_flight;
      records.emplace_back(std::move(record), unrecorded.log);
    }
  }
  forget();
  return records;
}

void Cursors::forget() {
  unrecorded_.clear();
  if (timer_ != 0) core_.runtime->cancel(timer_);
  timer_ = 0;
}

// What the log's row says, and over it what was said since.
std::vector<CursorRow> Cursors::rows(const LogState& log) {
  std::map<std::string, CursorRow> all;
  for (const CursorRow& row : log.row.settings.cursors) all[row.name] = row;
  for (const auto& [name, said] : log.said) {
    if (said.dropped) {
      all.erase(name);
    } else {
      all[name] = {name, said.committed, log.row.time_last_ms};
    }
  }
  std::vector<CursorRow> rows;
  for (auto& [name, row] : all) rows.push_back(std::move(row));
  return rows;
}

CursorInfo Cursors::describe(LogState& log, const LogRow& row, const CursorRow& cursor) {
  CursorInfo info;
  info.name = cursor.name;
  info.committed = std::max(cursor.committed, row.lsn_first - 1);
  info.entries_behind = row.lsn_next - 1 - info.committed;
  if (info.entries_behind == 0) return info;
  const auto runs = core_.runs_from(log, info.committed + 1, 1);
  const Lag lag = lag_of(row, cursor, runs && !runs->empty() ? &runs->front() : nullptr);
  info.bytes_behind = lag.bytes;
  info.age_behind = lag.age;
  info.holds = cursor_holds(row.settings.retention, lag);
  return info;
}

CursorInfo Cursors::info(LogState& log, std::string_view name) {
  for (CursorInfo& info : all(log)) {
    if (info.name == name) return std::move(info);
  }
  CursorInfo gone;
  gone.name = name;
  gone.holds = false;
  return gone;
}

std::vector<CursorLag> Cursors::everywhere() {
  std::map<std::string, LogStatePtr> logs;
  for (LogId after = 0; logs.size() < kLogsTold;) {
    const auto rows = core_.logs_with_settings(after, kLogsTold);
    for (const LogRow& row : rows ? *rows : std::vector<LogRow>()) {
      after = row.id;
      if (row.settings.cursors.empty() || logs.size() >= kLogsTold) continue;
      auto state = core_.find_log(row.name);
      if (state && *state != nullptr) logs[row.name] = *std::move(state);
    }
    if (!rows || rows->size() < kLogsTold) break;
  }
  {
    MutexLock lock(core_.mutex);
    core_.ledger.each_in_ram([&](const LogStatePtr& log) {
      const bool any = !log->row.settings.cursors.empty() || !log->said.empty();
      if (any && !log->dropping && logs.size() < kLogsTold) logs[log->name] = log;
    });
  }
  std::vector<CursorLag> lags;
  for (const auto& [name, log] : logs) {
    for (CursorInfo& cursor : all(*log)) lags.push_back({name, std::move(cursor)});
  }
  return lags;
}

std::vector<CursorInfo> Cursors::all(LogState& log) {
  LogRow row;
  std::vector<CursorRow> cursors;
  {
    MutexLock lock(core_.mutex);
    row = log.row;
    cursors = rows(log);
  }
  std::vector<CursorInfo> infos;
  for (const CursorRow& cursor : cursors) infos.push_back(describe(log, row, cursor));
  return infos;
}

}  // namespace wp
