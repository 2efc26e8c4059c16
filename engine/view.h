// The view: what replaying the journal up to one position gives. The engine keeps it in a database
// behind this interface (meta_sqlite/), because it may be far larger than RAM: a million logs,
// years of fragments. It is a cache of the bucket: whatever happens to it, the bucket makes a new
// one.
//
// Promises of an implementation: apply() is atomic, also in a crash; what a crash takes away is a
// suffix of the applied deltas. Rows are guarded against silent damage (kCorrupt). Every method may
// be called from any thread; one at a time runs.
#ifndef WP_ENGINE_VIEW_H_
#define WP_ENGINE_VIEW_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ids.h"
#include "wp.h"

namespace wp {

// Where the view stands, and totals that would be slow to count.
struct ViewHead {
  RootId root_id{};
  Position last;  // the last slot applied; epoch 0: none yet, and digest is the root object's
  SlotId next;    // the slot that follows it: next of the epoch, or 0 of the next one after a fence
  LogId log_id_next = 1;
  uint64_t slots = 0;         // applied so far, fences included
  uint64_t stored_bytes = 0;  // of their objects and of segments, less what was forgotten
  uint64_t logs = 0;          // that exist
  bool operator==(const ViewHead&) const = default;
};

// Where a named consumer of a log is.
struct CursorRow {
  std::string name;
  Lsn committed = 0;    // everything up to it is done; 0: nothing
  int64_t time_ms = 0;  // the log's newest time when that was said
  bool operator==(const CursorRow&) const = default;
};

// What was said about a log as a whole. Most logs have nothing of it.
struct LogSettings {
  Retention retention;
  std::vector<CursorRow> cursors;  // by name
  bool empty() const { return retention == Retention{} && cursors.empty(); }
  bool operator==(const LogSettings&) const = default;
};

struct LogRow {
  LogId id = 0;
  std::string name;
  Lsn lsn_first = 1;         // the first that is left
  Lsn lsn_next = 1;          // one past the last durable
  uint64_t bytes_begin = 0;  // bytes ever appended before the run that holds lsn_first
  uint64_t bytes_end = 0;    // bytes ever appended
  int64_t time_last_ms = 0;  // append time of the last entry, 0: none yet
  LogSettings settings{};
  bool operator==(const LogRow&) const = default;
};

// The entries of one log that lie in one object: a fragment or a segment.
struct RunRow {
  LogId log = 0;
  Lsn lsn_first = 0;
  uint64_t count = 0;  // at least 1
  Epoch epoch = 0;
  Seq seq = 0;
  uint64_t bytes_begin = 0;  // bytes of the log ever appended before this run
  uint64_t bytes = 0;        // payload and properties in it
  int64_t time_first_ms = 0, time_last_ms = 0;
  bool operator==(const RunRow&) const = default;
};

// An epoch, who owned it and how it ended. The newest one has not ended.
struct EpochRow {
  Epoch epoch = 0;
  Nonce owner = 0;
  bool ended = false;
  bool closed = false;  // the owner's last slot says that it closed cleanly
  Seq fence = 0;        // ended: the slot of the fence
  bool operator==(const EpochRow&) const = default;
};

// One object of the journal, or a segment: what reclaiming weighs.
struct SlotRow {
  Epoch epoch = 0;
  Seq seq = 0;
  uint64_t bytes = 0;    // of the object
  uint64_t entries = 0;  // as stored; 0: a fence, or records only
  uint64_t dead = 0;     // ViewHead::slots when no run was found to lie in it; 0: some did
  bool operator==(const SlotRow&) const = default;
};
struct ObjectId {
  Epoch epoch = 0;
  Seq seq = 0;
  auto operator<=>(const ObjectId&) const = default;
};

// An object and what of it is in use.
struct ObjectUse {
  SlotRow row;
  uint64_t runs = 0;                // that lie in it
  uint64_t entries = 0, bytes = 0;  // of those runs
};

// Changes from one position to a later one, applied in one transaction, in the order of the
// members.
struct ViewDelta {
  std::vector<LogRow> logs;    // inserted, or replaced by id. A log whose lsn_first grew loses the
                               // runs that lie wholly before it
  std::vector<RunRow> runs;    // inserted; a run wholly before its log's lsn_first may be left out
  std::vector<LogId> dropped;  // gone with all their runs
  // Runs in segments, in the order of publishing: each takes the place of all runs of its log that
  // lie within its LSNs. One of a log that is not there, or wholly before its lsn_first, is left
  // out. (Those of `runs`, and what lsn_first and `dropped` above say, come first.)
  std::vector<RunRow> published;
  std::vector<EpochRow> epochs;     // inserted, or replaced by epoch
  std::vector<SlotRow> slots;       // inserted, or replaced
  std::vector<ObjectId> forgotten;  // slots and segments whose rows go
  ViewHead head;                    // replaces the head
};

class View {
 public:
  virtual ~View() = default;

  // Nothing: the view is new and empty.
  virtual Result<std::optional<ViewHead>> head() = 0;
  virtual Status apply(const ViewDelta& delta) = 0;
  // Empties it, whatever state it was in, also a file that is no database.
  virtual Status reset() = 0;

  virtual Result<std::optional<LogRow>> log_by_name(std::string_view name) = 0;
  virtual Result<std::optional<LogRow>> log_by_id(LogId id) = 0;
  // Logs by name, behind `after` (empty: from the first), at most `count_max`.
  virtual Result<std::vector<LogRow>> logs(std::string_view after, size_t count_max) = 0;
  // Runs of a log in order, from the one that holds `lsn` (or the first behind it), at most
  // `count_max`.
  virtual Result<std::vector<RunRow>> runs(LogId log, Lsn lsn, size_t count_max) = 0;
  // The first run of the log with time_last_ms >= time_ms.
  virtual Result<std::optional<RunRow>> run_at_time(LogId log, int64_t time_ms) = 0;
  virtual Result<std::optional<EpochRow>> epoch(Epoch epoch) = 0;
  virtual Result<std::vector<EpochRow>> epochs() = 0;
  // Slots and segments in order, from (epoch, seq) on, at most `count_max`. Within an epoch its
  // segments come last.
  virtual Result<std::vector<SlotRow>> slots(Epoch epoch, Seq seq, size_t count_max) = 0;
  // The same, with what is in use of each.
  virtual Result<std::vector<ObjectUse>> objects(Epoch epoch, Seq seq, size_t count_max) = 0;
  // Those of them in which no run lies and whose `dead` is 0.
  virtual Result<std::vector<SlotRow>> unused(Epoch epoch, Seq seq, size_t count_max) = 0;
  // Those of them whose `dead` is from 1 to `dead_max`, the first `count_max`.
  virtual Result<std::vector<SlotRow>> dead(uint64_t dead_max, size_t count_max) = 0;
  // The runs that lie in an object, by log and LSN; from (log, lsn) on, at most `count_max`.
  virtual Result<std::vector<RunRow>> runs_in(const ObjectId& object, LogId log, Lsn lsn,
                                              size_t count_max) = 0;
  // Logs with settings by id, behind `after`, at most `count_max`.
  virtual Result<std::vector<LogRow>> logs_with_settings(LogId after, size_t count_max) = 0;

  // Small facts about the store that spare a probe at the next opening. They may be lost at any
  // time, and reset() may lose them. Empty: there is none of this name, or it cannot be read.
  virtual std::string note(std::string_view /*name*/) { return {}; }
  virtual Status set_note(std::string_view /*name*/, std::string_view /*value*/) { return {}; }

  // Writes through to the disk and gives the file back: nothing else may follow.
  virtual Status close() = 0;
  virtual std::string path() const = 0;  // empty: in memory
};

// Calls `see` with each run that lies in an object, from that log on, until it gives false.
template <class See>
Status each_run_in(View& view, const ObjectId& object, LogId log, See see) {
  constexpr size_t kPage = 1000;
  for (Lsn lsn = 0;;) {
    const auto runs = view.runs_in(object, log, lsn, kPage);
    if (!runs) return runs.status();
    for (const RunRow& run : *runs) {
      if (!see(run)) return {};
    }
    if (runs->size() < kPage) return {};
    log = runs->back().log;
    lsn = runs->back().lsn_first + 1;
  }
}

}  // namespace wp

#endif  // WP_ENGINE_VIEW_H_
