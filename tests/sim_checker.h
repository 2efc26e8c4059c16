// What callers were told and what readers saw, for all machines of a simulation together, and what
// must hold of it. It knows nothing of slots, epochs or fences: those are the ground's
// (sim_ground.h). It promises to find: an acknowledged or seen entry that is missing, changed,
// twice or out of order; an LSN or a log's id given twice; an entry of a writer that was told
// kFenced; a truncated entry that is back, and one that is gone though nobody let it go; half of a
// batch; a reader that is behind what it was promised; a cursor that is where nobody put it.
#ifndef WP_TESTS_SIM_CHECKER_H_
#define WP_TESTS_SIM_CHECKER_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/ids.h"
#include "tests/sim_runtime.h"
#include "wp.h"

namespace wp {

class Checker {
 public:
  explicit Checker(SimRuntime& sim) : sim_(sim) {}

  enum class Told : uint8_t { kNothing, kAcknowledged, kFenced };

  // What was sure at some moment: whoever opens, or looks, after it must see it.
  struct Sure {
    std::map<LogId, Lsn> durable;    // the last one acknowledged or seen
    std::map<LogId, Lsn> truncated;  // up to here
    std::map<LogId, size_t> commits;
    std::set<LogId> dropped;
  };
  const Sure& sure() const { return sure_; }

  // ---- what callers do and are told

  // Before an append: this text, unlike any other, may appear in logs of that name.
  std::string new_text(const std::string& log, size_t padding);
  // All or none of them, next to each other.
  void batch(const std::vector<std::string>& texts) { batches_.push_back(texts); }
  void acknowledged(LogId id, Lsn lsn, const std::string& text);
  void fenced(const std::string& text) { texts_.at(text).told = Told::kFenced; }

  // A truncation was asked for; later it may have been confirmed.
  void truncating(LogId id, Lsn upto);
  void truncated(LogId id, Lsn upto);
  // A retention was asked for: what may go now is up to the cursor where that holds, else anything.
  void retaining(LogId id, const Retention& retention);
  void has_cursor(LogId id) { cursors_.insert(id); }
  // The cursor was told to be there. Of what one opening told, the last before a flush of its own
  // that succeeded is durable: then so many had been told, by all.
  void commits(LogId id, Lsn upto);
  size_t commits_so_far(LogId id) { return committed_[id].size(); }
  void flushed(LogId id, size_t commits_before);

  void dropping(LogId id) { dropped_maybe_.insert(id); }
  void dropped(LogId id) { sure_.dropped.insert(id); }

  // ---- what readers see

  // Some reader, anywhere, saw this entry.
  void see(LogId id, Lsn lsn, const std::string& text);
  // A read from the first entry on to the end, by one who must see what is in `since`.
  void read_whole(LogId id, const std::vector<Entry>& entries, const Sure& since);
  // The logs that there are, for one who must see what is in `since`.
  void logs_there(const std::set<LogId>& ids, const Sure& since);
  void cursor_at(LogId id, Lsn committed, Lsn first_min, Lsn first_max, const Sure& since);
  // At the end, when everything that is left was read.
  void at_the_end();

  bool may_be_dropped(LogId id) const { return dropped_maybe_.contains(id); }
  // Up to here entries may be gone.
  Lsn may_be_truncated(LogId id) const;

  // ---- failures

  void fail(const std::string& what, LogId id = 0, Lsn lsn = 0);
  const std::vector<std::string>& failures() const { return failures_; }
  uint64_t acknowledged_count() const { return acknowledged_count_; }

 private:
  struct Text {
    std::string log;
    Told told;
  };
  SimRuntime& sim_;
  uint64_t text_next_ = 0;
  uint64_t acknowledged_count_ = 0;
  std::vector<std::string> failures_;
  std::map<std::string, Text> texts_;
  std::vector<std::vector<std::string>> batches_;
  std::map<LogId, std::map<Lsn, std::string>> history_;
  std::map<std::string, std::pair<LogId, Lsn>> places_;
  Sure sure_;
  std::map<LogId, Lsn> truncated_most_;
  std::set<LogId> retention_free_, retention_held_;  // as retaining() says
  std::set<LogId> dropped_maybe_, cursors_;
  std::map<LogId, std::vector<Lsn>> committed_;
};

}  // namespace wp

#endif  // WP_TESTS_SIM_CHECKER_H_
