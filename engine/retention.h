// What a log's retention lets go. It looks at the view only: what is durable, and a little behind.
#ifndef WP_ENGINE_RETENTION_H_
#define WP_ENGINE_RETENTION_H_

#include <string>

#include "engine/view.h"

namespace wp {

// How far behind a cursor is; `next` is the run that holds the first entry that is not done, null:
// there is none. Of that run it is a share, by the number of entries: a run may be as large as a
// segment, and who is one entry behind is not behind by all of it. Its age is that of what is not
// done, from when the cursor was last committed on: who waited for a quiet log is not behind.
struct Lag {
  uint64_t bytes = 0;
  Duration age{0};
};
Lag lag_of(const LogRow& log, const CursorRow& cursor, const RunRow* next);
// Whether a cursor so far behind still holds entries.
bool cursor_holds(const Retention& retention, const Lag& lag);

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
