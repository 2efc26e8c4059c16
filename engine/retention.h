// What a log's retention lets go. It looks at the view only: what is durable, and a little behind.
#ifndef WP_ENGINE_RETENTION_H_
#define WP_ENGINE_RETENTION_H_

#include <string>

#include "engine/view.h"

namespace wp {

// Whether a cursor that is so far behind still holds entries.
bool cursor_holds(const LogRow& log, const CursorRow& cursor, uint64_t bytes_behind);

struct Verdict {
  Lsn keep_from = 1;         // everything before it may go
  uint64_t bytes_begin = 0;  // bytes of the log before the run that holds it
  Lsn policy_from = 1;       // what it would be if no cursor held anything
  std::string holder;        // the slowest cursor that holds something; empty: none does
  Lsn holder_from = 0;       // the first entry that it holds
};
Result<Verdict> judge(View& view, const LogRow& log);

}  // namespace wp

#endif  // WP_ENGINE_RETENTION_H_
