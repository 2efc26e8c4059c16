#include "engine/cursors.h"

#include <algorithm>

#include "engine/retention.h"
#include "engine/text.h"
#include "engine/writer.h"

namespace wp {
namespace {

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
  if (has_row(*log, name)) return {};
  if (core_.writer == nullptr) return no_cursor(*log, name);
  if (log->said.contains(name)) {  // another thread is making it
    lock.unlock();
    return core_.writer->flush({});
  }
  if (rows(*log).size() >= kCursorsMax) {
    return Status(Code::kInvalid, "cursor '" + printable(name) + "' of log " + log->name +
                                      ": the log has " + std::to_string(kCursorsMax) +
                                      " cursors, which is all it can have; drop one");
  }
  Record record{RecordType::kCursor, log->id, std::string(name), log->row.lsn_first - 1, 0};
  record.time_ms = log->row.time_last_ms;
  log->said[record.name] = {record.lsn_first, true, 1};
  lock.unlock();
  const std::string key = record.name;
  Status status = core_.writer->store(std::move(record), log);
  if (!status.ok()) {
    lock.lock();
    log->said.erase(key);
  }
  return status;
}

Status Cursors::commit(const LogStatePtr& log, std::string_view name, Lsn upto) {
  if (Status status = core_.writer->failure(); !status.ok()) return status;
  MutexLock lock(core_.mutex);
  if (log->dropping) {
    return Status(Code::kDropped,
                  "commit cursor '" + printable(name) + "': log " + log->name + " was dropped");
  }
  const auto said = log->said.find(name);
  if (said == log->said.end() && !has_row(*log, name)) return no_cursor(*log, name);
  if (upto >= log->row.lsn_next) {
    return Status(Code::kInvalid, "commit cursor '" + printable(name) + "' of log " + log->name +
                                      " at LSN " + std::to_string(upto) +
                                      ": the last durable one is " +
                                      std::to_string(log->row.lsn_next - 1));
  }
  SaidCursor& cursor = said != log->said.end() ? said->second : log->said[std::string(name)];
  cursor.committed = upto;
  cursor.recorded = false;
  auto& names = unrecorded_[log];
  if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
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
  {
    MutexLock lock(core_.mutex);
    const auto said = log->said.find(name);
    if (said == log->said.end() && !has_row(*log, name)) return {};
    // What was said and is in no fragment yet is not to make it anew.
    if (const auto names = unrecorded_.find(log); names != unrecorded_.end()) {
      std::erase(names->second, name);
    }
    if (said != log->said.end()) log->said.erase(said);
  }
  return core_.writer->store({RecordType::kCursorDrop, log->id, std::string(name), 0, 0}, log);
}

std::vector<std::pair<Record, LogStatePtr>> Cursors::take() {
  std::vector<std::pair<Record, LogStatePtr>> records;
  if (unrecorded_.empty()) return records;
  for (const auto& [log, names] : unrecorded_) {
    if (log->dropping) continue;
    for (const std::string& name : names) {
      const auto said = log->said.find(name);
      if (said == log->said.end()) continue;
      SaidCursor& cursor = said->second;
      Record record{RecordType::kCursor, log->id, name, cursor.committed, 0};
      record.time_ms = log->row.time_last_ms;
      cursor.recorded = true;
      ++cursor.in_flight;
      records.emplace_back(std::move(record), log);
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
    all[name] = {name, said.committed, log.row.time_last_ms};
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
  if (info.entries_behind != 0) {
    const auto runs = core_.runs_from(log, info.committed + 1, 1);
    if (runs && !runs->empty())
      info.bytes_behind = bytes_from(row, runs->front(), info.committed + 1);
    info.age_behind = Duration{row.time_last_ms - cursor.time_ms};
  }
  info.holds = cursor_holds(row, cursor, info.bytes_behind);
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
