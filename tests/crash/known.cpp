#include "tests/crash/known.h"

#include <algorithm>
#include <sstream>

namespace wp::crash {
namespace {

std::string text(uint64_t number) {
  return std::to_string(number);
}

}  // namespace

// Hardly to be compressed, so that a fragment has many sectors; now and then one of many pages.
std::string payload(const std::string& log, uint64_t generation, Lsn lsn) {
  const uint64_t mixed = lsn * 2654435761u + generation;
  const size_t size = mixed % 17 == 0 ? 9000 : mixed % 797;
  std::string out = log + "/" + text(generation) + "/" + text(lsn) + "/" + text(size) + ":";
  uint64_t state = mixed * 2 + log.size();
  for (size_t i = 0; i < size; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    out += static_cast<char>(state >> 56);
  }
  return out;
}

uint64_t Known::generation(const std::string& log) const {
  const auto found = logs_.find(log);
  return found == logs_.end() ? 1 : found->second.generation;
}

Lsn Known::last(const std::string& log) const {
  const auto found = logs_.find(log);
  return found == logs_.end() ? 0 : found->second.sure;
}

void Known::told(const std::string& line) {
  std::istringstream words(line);
  std::string what, name;
  Lsn first = 0, last = 0;
  words >> what >> name >> first >> last;
  if (what == "opening" || name.empty()) return;
  LogKnown& log = logs_[name];
  if (what == "appending") {
    log.possible = last;
    log.ends.insert(last);
    appends_.push_back({name, log.generation, first, last});
  } else if (what == "appended") {
    appended(name, first);
  } else if (what == "found") {
    found(name, first);
  } else if (what == "truncating") {
    log.truncating = first;
  } else if (what == "truncated") {
    log.truncated = first;
  } else if (what == "making") {
    log.makes_cursor = true;
  } else if (what == "made") {
    log.has_cursor = true;
  } else if (what == "committing") {
    log.committing = first;
  } else if (what == "committed") {
    log.committed = first;
  } else if (what == "retaining") {
    log.retaining = true;
  } else if (what == "retained") {
    log.retained = true;
  } else if (what == "dropping") {
    log.dropping = true;
  } else if (what == "dropped") {
    forget(name);
  }
}

void Known::appended(const std::string& log, Lsn last) {
  const uint64_t generation = logs_[log].generation;
  const auto found = std::find_if(appends_.begin(), appends_.end(), [&](const Append& append) {
    return append.log == log && append.generation == generation && append.last == last;
  });
  if (found == appends_.end()) return;
  for (auto each = appends_.begin(); each <= found; ++each) {
    LogKnown& known = logs_[each->log];
    if (known.generation == each->generation) known.sure = std::max(known.sure, each->last);
  }
}

void Known::found(const std::string& log, Lsn last) {
  LogKnown& known = logs_[log];
  known.sure = known.possible = last;
  known.ends.erase(known.ends.upper_bound(last), known.ends.end());
  std::erase_if(appends_, [&](const Append& each) { return each.log == log && each.last > last; });
}

void Known::forget(const std::string& log) {
  LogKnown next;
  next.generation = logs_[log].generation + 1;
  logs_[log] = next;
  std::erase_if(appends_, [&](const Append& append) { return append.log == log; });
}

std::string Known::check(Wal& wal) {
  Found there;
  for (auto& [name, known] : logs_) {
    auto log = wal.find(name);
    if (log.code() == Code::kNotFound) {
      const bool may_be_gone = known.sure == 0 && !known.has_cursor && !known.retained;
      if (!known.dropping && !may_be_gone) return name + " is not there";
      continue;
    }
    if (!log) return log.status().to_string();
    if (std::string wrong = check_log(known, *log); !wrong.empty()) return name + ": " + wrong;
    there[name] = log->info().lsn_durable;
  }
  if (std::string wrong = check_order(there); !wrong.empty()) return wrong;
  for (auto& [name, known] : logs_) {
    if (there.contains(name)) {
      found(name, there[name]);
    } else if (known.dropping) {
      forget(name);
    } else {
      found(name, 0);
    }
  }
  return "";
}

std::string Known::check_log(LogKnown& known, const Log& log) const {
  const LogInfo info = log.info();
  const Lsn last = info.lsn_durable;
  if (last < known.sure) return "ends at " + text(last) + ", acknowledged was " + text(known.sure);
  if (last > known.possible) return "ends at " + text(last) + ", appended was less";
  if (last != 0 && !known.ends.contains(last)) return "a batch is torn at " + text(last);
  Lsn goes = std::max(known.truncated, known.truncating);
  if (known.retaining) goes = std::max({goes, known.committed, known.committing});
  if (info.lsn_first <= known.truncated || info.lsn_first > goes + 1) {
    return "begins at " + text(info.lsn_first) + ", truncated at " + text(known.truncated) +
           " and perhaps at " + text(goes);
  }
  auto reader = log.read();
  if (!reader) return reader.status().to_string();
  for (Lsn lsn = info.lsn_first; lsn <= last; ++lsn) {
    const auto entry = reader->next();
    if (!entry) return entry.status().to_string();
    if (!entry->has_value()) return "reading ends before " + text(lsn);
    if ((*entry)->lsn != lsn || (*entry)->text() != payload(log.name(), known.generation, lsn)) {
      return "entry " + text(lsn) + " is another: " + text((*entry)->lsn) + " " +
             std::string((*entry)->text().substr(0, 40));
    }
  }
  const auto end = reader->next();
  if (!end) return end.status().to_string();
  if (end->has_value()) return "there is an entry behind the last";
  if (std::string wrong = check_cursor(known, log); !wrong.empty()) return wrong;
  if (known.retained && info.retention != kRetention) return "its retention is lost";
  if (!known.retaining && info.retention != Retention{}) return "it has a retention";
  known.retained = known.retaining = info.retention == kRetention;
  known.truncated = known.truncating = info.lsn_first - 1;
  known.dropping = false;
  return "";
}

std::string Known::check_cursor(LogKnown& known, const Log& log) const {
  const std::vector<CursorInfo> cursors = log.cursors();
  if (cursors.empty()) {
    if (known.has_cursor) return "its cursor is lost";
    known.makes_cursor = false;
    return "";
  }
  const Lsn at = cursors.front().committed;
  if (cursors.size() != 1 || !known.makes_cursor) return "it has a cursor that nobody made";
  if (at < known.committed || at > std::max(known.committed, known.committing)) {
    return "its cursor is at " + text(at) + ", committed at " + text(known.committed) +
           " and perhaps at " + text(known.committing);
  }
  known.has_cursor = known.makes_cursor = true;
  known.committed = known.committing = at;
  return "";
}

// A prefix of all that was appended, whatever the log.
std::string Known::check_order(const Found& there) const {
  const Append* missing = nullptr;
  for (const Append& each : appends_) {
    const auto log = there.find(each.log);
    if (log == there.end() && logs_.at(each.log).dropping) continue;
    if (log == there.end() || log->second < each.last) {
      if (missing == nullptr) missing = &each;
    } else if (missing != nullptr) {
      return each.log + " has " + text(each.last) + ", and " + missing->log + " lacks " +
             text(missing->last) + ", which was appended before";
    }
  }
  return "";
}

}  // namespace wp::crash
