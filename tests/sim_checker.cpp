#include "tests/sim_checker.h"

#include <algorithm>

namespace wp {

std::string Checker::new_text(const std::string& log, size_t padding) {
  std::string text = log + "#" + std::to_string(++text_next_) + " ";
  // Neither repeats nor compresses.
  for (SimRandom random(text_next_); padding >= 8; padding -= 8) {
    const uint64_t word = random.next();
    text.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  texts_.emplace(text, Text{log, Told::kNothing});
  return text;
}

void Checker::fail(const std::string& what, LogId id, Lsn lsn) {
  std::string line = what;
  if (id != 0) line += ", log " + std::to_string(id);
  if (lsn != 0) line += ", LSN " + std::to_string(lsn);
  sim_.note("CHECKER: " + line);
  failures_.push_back(std::move(line));
}

// ---------------------------------------------------------------------------------- callers

void Checker::acknowledged(LogId id, Lsn lsn, const std::string& text) {
  Text& known = texts_.at(text);
  if (known.told == Told::kFenced) fail("acknowledged after kFenced", id, lsn);
  if (known.told != Told::kAcknowledged) ++acknowledged_count_;
  known.told = Told::kAcknowledged;
  see(id, lsn, text);
}

void Checker::truncating(LogId id, Lsn upto) {
  Lsn& most = truncated_most_[id];
  most = std::max(most, upto);
}

void Checker::truncated(LogId id, Lsn upto) {
  Lsn& sure = sure_.truncated[id];
  sure = std::max(sure, upto);
}

void Checker::retaining(LogId id, const Retention& retention) {
  const bool holds = retention.hold_bytes == 0 && retention.hold_age == Duration{0};
  (cursors_.contains(id) && holds ? retention_held_ : retention_free_).insert(id);
}

void Checker::commits(LogId id, Lsn upto) {
  sim_.note("cursor of log " + std::to_string(id) + " told " + std::to_string(upto));
  committed_[id].push_back(upto);
}

void Checker::flushed(LogId id, size_t commits_before) {
  size_t& sure = sure_.commits[id];
  sim_.note("cursor of log " + std::to_string(id) + " sure " + std::to_string(commits_before));
  sure = std::max(sure, commits_before);
}

Lsn Checker::may_be_truncated(LogId id) const {
  if (retention_free_.contains(id)) return UINT64_MAX - 1;
  const auto asked = truncated_most_.find(id);
  Lsn most = asked == truncated_most_.end() ? 0 : asked->second;
  const auto told = committed_.find(id);
  if (retention_held_.contains(id) && told != committed_.end()) {
    for (const Lsn upto : told->second) most = std::max(most, upto);
  }
  return most;
}

// ---------------------------------------------------------------------------------- readers

void Checker::see(LogId id, Lsn lsn, const std::string& text) {
  const auto known = texts_.find(text);
  if (known == texts_.end()) return fail("an entry that nobody appended", id, lsn);
  if (known->second.told == Told::kFenced) fail("an entry of a fenced writer", id, lsn);
  if (lsn == 0) fail("LSN 0", id, lsn);
  const auto [at, is_new] = history_[id].emplace(lsn, text);
  if (!is_new && at->second != text) fail("two entries of one LSN", id, lsn);
  const auto [place, first] = places_.emplace(text, std::pair{id, lsn});
  if (!first && place->second != std::pair{id, lsn}) fail("an entry twice", id, lsn);
  Lsn& last = sure_.durable[id];
  last = std::max(last, lsn);
}

void Checker::read_whole(LogId id, const std::vector<Entry>& entries, const Sure& since) {
  const Lsn most = may_be_truncated(id);
  Lsn expected = entries.empty() ? 0 : entries.front().lsn;
  if (!entries.empty() && expected > most + 1) {
    fail("entries are missing at the beginning", id, expected);
  }
  for (const Entry& entry : entries) {
    if (entry.lsn != expected++) fail("a gap", id, entry.lsn);
    see(id, entry.lsn, std::string(entry.text()));
  }
  const auto last = since.durable.find(id);
  if (last != since.durable.end() && last->second > most &&
      (entries.empty() || entries.back().lsn < last->second)) {
    fail("an acknowledged entry is missing at the end", id, last->second);
  }
  const auto truncated = since.truncated.find(id);
  if (truncated != since.truncated.end() && !entries.empty() &&
      entries.front().lsn <= truncated->second) {
    fail("a truncated entry is back", id, entries.front().lsn);
  }
}

void Checker::logs_there(const std::set<LogId>& ids, const Sure& since) {
  for (const auto& [id, last] : since.durable) {
    if (!dropped_maybe_.contains(id) && !ids.contains(id)) fail("a log is missing", id, last);
  }
  for (const LogId id : since.dropped) {
    if (ids.contains(id)) fail("a dropped log is back", id);
  }
}

// One of those that were told since the last that is sure; or at the beginning of what is left,
// which was between these two.
void Checker::cursor_at(LogId id, Lsn committed, Lsn first_min, Lsn first_max, const Sure& since) {
  const auto& told = committed_[id];
  const auto known = since.commits.find(id);
  const size_t sure = known == since.commits.end() ? 0 : known->second;
  for (size_t i = sure == 0 ? 0 : sure - 1; i < told.size(); ++i) {
    if (committed == told[i]) return;
    if (committed > told[i] && committed + 1 >= first_min && committed + 1 <= first_max) return;
  }
  fail("a cursor is where nobody put it", id, committed);
}

void Checker::at_the_end() {
  for (const auto& texts : batches_) {
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto seen = places_.find(texts[i]);
      if (seen == places_.end()) continue;
      const auto [id, lsn] = seen->second;
      if (dropped_maybe_.contains(id)) break;
      for (size_t j = 0; j < texts.size(); ++j) {
        const auto& history = history_[id];
        const auto there = history.find(lsn + j - i);
        if (there != history.end() && there->second == texts[j]) continue;
        if (lsn + j - i > may_be_truncated(id)) fail("half of a batch", id, lsn + j - i);
      }
      break;
    }
  }
}

}  // namespace wp
