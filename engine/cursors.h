// Cursors of logs: what was said about them, and what of it is durable. A commit rides along with
// the next fragment; where none comes, a fragment of its own carries all that were said meanwhile.
#ifndef WP_ENGINE_CURSORS_H_
#define WP_ENGINE_CURSORS_H_

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core.h"

namespace wp {

class Cursors {
 public:
  explicit Cursors(EngineCore& core) : core_(core) {}

  // As in wp.h: of Log::cursor and of Cursor. Only commit() may be called on the event thread.
  Status open(const LogStatePtr& log, std::string_view name);
  Status commit(const LogStatePtr& log, std::string_view name, Lsn upto);
  Status drop(const LogStatePtr& log, std::string_view name);
  CursorInfo info(LogState& log, std::string_view name);
  std::vector<CursorInfo> all(LogState& log);
  // Of all logs that have any, by name; of a thousand, where there are more.
  std::vector<CursorLag> everywhere();

  // For the writer, which holds the engine's lock (the analysis does not see that it is the same).
  // As it closes a fragment: what is in none yet.
  std::vector<std::pair<Record, LogStatePtr>> take() WP_TSA(no_thread_safety_analysis);
  // Nothing will be written any more.
  void forget() WP_TSA(no_thread_safety_analysis);

 private:
  Status store(MutexLock& lock, Record record, const LogStatePtr& log)
      WP_TSA(no_thread_safety_analysis);
  std::vector<CursorRow> rows(const LogState& log) WP_REQUIRES(core_.mutex);
  CursorInfo describe(LogState& log, const LogRow& row, const CursorRow& cursor);

  EngineCore& core_;
  struct Unrecorded {
    LogStatePtr log;
    std::set<std::string> names;  // that were said since
  };
  std::map<LogId, Unrecorded> unrecorded_ WP_GUARDED_BY(core_.mutex);
  TimerId timer_ WP_GUARDED_BY(core_.mutex) = 0;
};

}  // namespace wp

#endif  // WP_ENGINE_CURSORS_H_
