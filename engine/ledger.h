// The durable state of a root: the view, and in RAM what the view does not have yet. A slot of the
// journal is applied to it the same way by its owner, an opener and a follower.
//
// It takes no lock: its owner does. It reads the view only for logs that are not in RAM, which
// those of an owner's own slots always are; so acknowledging never waits for the view.
#ifndef WP_ENGINE_LEDGER_H_
#define WP_ENGINE_LEDGER_H_

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/bug.h"
#include "engine/format.h"
#include "engine/ram.h"
#include "engine/sync.h"
#include "engine/view.h"

namespace wp {

class Subscription;

// Where a cursor is, or will be, once what was said is durable.
struct SaidCursor {
  Lsn committed = 0;
  bool recorded = false;   // in a batch
  uint32_t in_flight = 0;  // batches that have some of it
};

// One log as far as this process has to do with it. What is not atomic is guarded by the engine's
// lock.
class LogState {
 public:
  LogState(LogId id_given, std::string name_given) : id(id_given), name(std::move(name_given)) {
    row.id = id;
    row.name = name;
  }
  const LogId id;
  const std::string name;

  // For readers, who take no lock for an entry.
  std::atomic<Lsn> lsn_first{1}, lsn_durable{0};
  std::atomic<bool> dropped{false};

  LogRow row;                 // what is durable
  std::deque<RunRow> recent;  // durable runs that the view may not have yet, in order
  bool durable = false;       // its creation is
  uint32_t unapplied = 0;     // changes on their way to the view that hold it

  // Of the writer.
  Lsn lsn_given = 0;
  int64_t time_given_ms = 0;
  bool recorded = false;                                // its creation is in a batch, or durable
  bool dropping = false;                                // nothing can be appended any more
  uint64_t batch = 0;                                   // the batch that it was last appended to,
  uint32_t batch_run = 0;                               // and its run there
  std::map<std::string, SaidCursor, std::less<>> said;  // what the row does not have yet
  uint32_t readers_waiting = 0;
  CondVar news;  // more is durable, or nothing will ever be

  // Who gets what is published. The number is for whoever holds no lock.
  std::vector<Subscription*> subscriptions;
  std::atomic<size_t> subscribers{0};
};
using LogStatePtr = std::shared_ptr<LogState>;

class Ledger {
 public:
  Ledger(View* view, RamBudget& ram) : view_(view), ram_(ram) {}
  ~Ledger() { ram_.sub(Ram::kIndex, pending_bytes_); }

  // Forgets everything and goes on from there.
  void begin(const ViewHead& head, View* view);
  void begin_new(const RootObject& root, const Digest& root_digest, View* view);
  const ViewHead& head() const { return head_; }

  // ---- logs

  LogStatePtr in_ram(std::string_view name) const;
  LogStatePtr in_ram(LogId id) const;
  // Calls `see` with every log in RAM, in no order.
  template <class See>
  void each_in_ram(See see) const {
    for (const auto& [id, state] : by_id_) see(state);
  }
  // Dropped, or about to be, while the view may still have it.
  bool forgotten(LogId id) const { return forgotten_.contains(id); }
  // Counts how often something left RAM for the view. What was read from the view while it did not
  // change, of logs that are not in RAM, is right.
  uint64_t generation() const { return generation_; }
  // Takes a row of the view into RAM.
  LogStatePtr load(const LogRow& row);
  // While this is on, nothing leaves RAM for the view: what changes meanwhile is in RAM.
  void keep_in_ram(bool on);
  LogStatePtr create(std::string_view name);
  // The name is free again; with `undo` the log never was.
  void unname(const LogStatePtr& state, bool undo);
  // Lets go of logs that nobody holds and the view has.
  void trim();
  // Logs that somebody holds, and taking them over after begin(): they are as the view has them,
  // or dropped.
  std::vector<LogStatePtr> held() const;
  Status adopt(const std::vector<LogStatePtr>& held);
  // Who owned an epoch, as far as it was met; 0: the view may know.
  Nonce owner_of(Epoch epoch) const;
  void set_owner(Epoch epoch, Nonce owner) { owners_[epoch] = owner; }

  // ---- the journal

  bool fits(const SlotHeader& header) const {
    return header.root == head_.root_id && header.slot == head_.next &&
           (header.prev == head_.last || WP_BUG(5));
  }
  // A slot that fits. On an error nothing has changed; kCorrupt: it contradicts what is known.
  Status apply(const SlotHeader& header, const Digest& digest, const SlotIndex& index);
  // Why the view could not be read, if that is what the last apply() failed of.
  const Status& view_status() const { return view_status_; }

  // ---- the view

  uint64_t pending_slots() const { return slots_.size(); }
  // Entries moved into segments, and the view does not know.
  bool pending_published() const { return !published_.empty(); }
  // Bytes of entries that were applied so far.
  uint64_t bytes_added() const { return bytes_added_; }
  // Bytes of entries that truncations and drops let go so far.
  uint64_t bytes_let_go() const { return bytes_let_go_; }
  // Slots that the view may not have yet, those included that are on their way to it.
  std::vector<SlotRow> slots_behind() const;
  bool pending() const { return pending_; }
  ViewDelta take();
  // What take() gave is in the view.
  void applied(const ViewDelta& delta);

 private:
  // The states of the runs' logs, and of all that must stay in RAM until the slot is applied.
  struct Resolved {
    std::vector<LogStatePtr> runs, held;
  };
  Status check(const SlotHeader& header, const SlotIndex& index, Resolved* resolved);
  Result<LogStatePtr> resolve(LogId id);
  Result<bool> has_durable(LogId id);
  void apply_create(const Record& record);
  void apply_run(const SlotHeader& header, const Run& run, LogState& state);
  void apply_truncate(const Record& record);
  void apply_drop(const Record& record);
  void apply_settings(const Record& record);
  void apply_publish(const SlotId& slot, const Record& record);
  void apply_forget(const Record& record);
  void touch(LogState& state);
  void let_go(LogId id);
  void count_pending();

  View* view_;
  RamBudget& ram_;
  Status view_status_;
  ViewHead head_;
  std::unordered_map<LogId, LogStatePtr> by_id_;
  std::map<std::string, LogState*, std::less<>> by_name_;
  std::set<LogId> forgotten_;
  std::map<Epoch, Nonce> owners_;  // that were met; the view may not have them yet
  LogId log_id_given_ = 0;
  uint64_t generation_ = 0;
  uint32_t kept_in_ram_ = 0;
  std::vector<LogId> forget_later_;
  size_t trim_at_ = 1024;

  // Changes since take().
  bool pending_ = false;
  std::set<LogId> changed_;
  std::vector<RunRow> runs_;
  std::vector<LogId> dropped_;
  std::map<Epoch, EpochRow> epochs_;
  std::vector<SlotRow> slots_;
  std::vector<RunRow> published_;
  std::vector<ObjectId> forgotten_objects_;
  uint64_t bytes_added_ = 0, bytes_let_go_ = 0;
  std::vector<SlotRow> taken_slots_;  // on their way to the view
  uint64_t taken_bytes_ = 0;
  uint64_t pending_bytes_ = 0;  // of both, as counted
};

}  // namespace wp

#endif  // WP_ENGINE_LEDGER_H_
