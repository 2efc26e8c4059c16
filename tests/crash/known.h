// What must be in a root and what may be, as told by whoever wrote to it: what it is about to do is
// said before, what was acknowledged after. A line each:
//
//   appending LOG FIRST LAST    together: all of it or nothing
//   appended LOG LAST           acknowledged, as all that was appended before it to any log
//   found LOG LAST              by an opening: what else was appended before is not there
//   truncating LOG LSN          truncated LOG LSN
//   making LOG                  made LOG: its cursor
//   committing LOG LSN          committed LOG LSN (and flushed: the cursor is durable)
//   retaining LOG               retained LOG: what the cursor has passed may go
//   dropping LOG                dropped LOG
#ifndef WP_TESTS_CRASH_KNOWN_H_
#define WP_TESTS_CRASH_KNOWN_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "wp.h"

namespace wp::crash {

inline constexpr char kCursorName[] = "reader";
inline constexpr Retention kRetention{.cursors = true};

// What the entry of that LSN holds in every run. A log that was dropped and made anew is of the
// next generation.
std::string payload(const std::string& log, uint64_t generation, Lsn lsn);

class Known {
 public:
  void told(const std::string& line);
  uint64_t generation(const std::string& log) const;
  Lsn last(const std::string& log) const;  // that is certain
  // What is wrong with what is there; empty: nothing. What is there is certain from then on.
  std::string check(Wal& wal);

 private:
  struct LogKnown {
    uint64_t generation = 1;
    Lsn sure = 0, possible = 0;  // the last one
    std::set<Lsn> ends;          // of what was appended together
    Lsn truncated = 0, truncating = 0;
    bool has_cursor = false, makes_cursor = false;
    Lsn committed = 0, committing = 0;
    bool retained = false, retaining = false;
    bool dropping = false;
  };
  struct Append {
    std::string log;
    uint64_t generation;
    Lsn first, last;
  };
  using Found = std::map<std::string, Lsn>;  // the last entry of each log

  void appended(const std::string& log, Lsn last);
  void found(const std::string& log, Lsn last);
  void forget(const std::string& log);
  std::string check_log(LogKnown& known, const Log& log) const;
  std::string check_cursor(LogKnown& known, const Log& log) const;
  std::string check_order(const Found& there) const;

  std::map<std::string, LogKnown> logs_;
  std::vector<Append> appends_;  // in order, of all logs
};

}  // namespace wp::crash

#endif  // WP_TESTS_CRASH_KNOWN_H_
