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
  uint64_t stored_bytes = 0;  // of their objects
  uint64_t logs = 0;          // that exist
  bool operator==(const ViewHead&) const = default;
};

struct LogRow {
  LogId id = 0;
  std::string name;
  Lsn lsn_first = 1;         // the first that is left
  Lsn lsn_next = 1;          // one past the last durable
  uint64_t bytes_begin = 0;  // bytes ever appended before the run that holds lsn_first
  uint64_t bytes_end = 0;    // bytes ever appended
  int64_t time_last_ms = 0;  // append time of the last entry, 0: none yet
  bool operator==(const LogRow&) const = default;
};

// The entries of one log that lie in one slot.
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

// One object of the journal: what reclaiming will weigh.
struct SlotRow {
  Epoch epoch = 0;
  Seq seq = 0;
  uint64_t bytes = 0;    // of the object
  uint64_t entries = 0;  // 0: a fence, or records only
  bool operator==(const SlotRow&) const = default;
};

// Changes from one position to a later one, applied in one transaction, in the order of the
// members.
struct ViewDelta {
  std::vector<LogRow> logs;    // inserted, or replaced by id. A log whose lsn_first grew loses the
                               // runs that lie wholly before it
  std::vector<RunRow> runs;    // inserted; a run wholly before its log's lsn_first may be left out
  std::vector<LogId> dropped;  // gone with all their runs
  std::vector<EpochRow> epochs;  // inserted, or replaced by epoch
  std::vector<SlotRow> slots;    // inserted, or replaced
  ViewHead head;                 // replaces the head
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
  // Slots in order, from (epoch, seq) on, at most `count_max`.
  virtual Result<std::vector<SlotRow>> slots(Epoch epoch, Seq seq, size_t count_max) = 0;

  // Small facts about the store that spare a probe at the next opening. They may be lost at any
  // time, and reset() may lose them. Empty: there is none of this name, or it cannot be read.
  virtual std::string note(std::string_view /*name*/) { return {}; }
  virtual Status set_note(std::string_view /*name*/, std::string_view /*value*/) { return {}; }

  // Writes through to the disk and gives the file back: nothing else may follow.
  virtual Status close() = 0;
  virtual std::string path() const = 0;  // empty: in memory
};
}  // namespace wp

#endif  // WP_ENGINE_VIEW_H_
