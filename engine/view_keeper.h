// Keeps the view behind the ledger: writes it in the background, one change after the other, and
// stores a checkpoint of it now and then. With each it notes which objects are dead by then. A view
// that cannot be written costs nothing but the time of the next opening: the log goes on, and says
// so.
#ifndef WP_ENGINE_VIEW_KEEPER_H_
#define WP_ENGINE_VIEW_KEEPER_H_

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core.h"

namespace wp {

class ViewKeeper {
 public:
  explicit ViewKeeper(EngineCore& core) : core_(core) {}

  // The ledger has more than the view. Any thread, no lock held.
  void slots_applied();
  // Waits until the view has all that the ledger has now.
  Status drain(TimePoint deadline);
  // Stores a checkpoint if the view has news since the last, and gives the view back. What fails
  // here costs only time at the next opening, and is told by message.
  void close(bool checkpoint, TimePoint deadline);
  // Stores a checkpoint of all that the ledger has now.
  Status checkpoint_now();

  // The two newest checkpoints, as far as they are known, and what they and earlier ones tell.
  struct Kept {
    std::string older, newest;  // their names; empty: none that is known
    uint64_t dead_max = 0;      // both know what was dead by then (SlotRow::dead),
    uint64_t ripe_max = 0;      // and the grace has passed of what was dead by then
  };
  Kept kept() const;
  // When more of what both know will be ripe; nothing: all of it is.
  std::optional<TimePoint> ripe_at() const;
  // Whether an object in which no run lies may go at all: fences mostly stay.
  bool may_go(const SlotRow& row);
  // Leftovers are swept once after an opening, and then once a day.
  bool sweep_is_due() const;
  void swept();

  // From the opening: how many slots lie behind the newest checkpoint.
  void set_slots_since_checkpoint(uint64_t slots);

  // The root was abandoned: who waits here goes on.
  void ended();

  std::string error() const;  // why the view is not being written; empty: it is

 private:
  void start() WP_REQUIRES(core_.mutex);
  void start_at(TimePoint when) WP_REQUIRES(core_.mutex);
  void run();
  bool is_stuck() const;
  bool apply_once();
  void checkpoint_if_due();
  void store_checkpoint();
  Status note_dead(const ViewHead& head);
  struct Checkpoint {
    std::string key;
    uint64_t slots = 0;     // ViewHead::slots there
    int64_t wall_ms = 0;    // when it was stored, by the clock on the wall
    TimePoint at = kNever;  // the same by ours; kNever: by an earlier process
  };
  void checkpoint_stored(const StoreStatus& status, Checkpoint checkpoint);
  void remember(Checkpoint checkpoint);
  void recall();
  std::chrono::nanoseconds age_of(const Checkpoint& checkpoint) const;
  void remove_old_checkpoints();
  void checkpoint_ended();

  EngineCore& core_;
  bool closed_ WP_GUARDED_BY(core_.mutex) = false;  // nothing is applied any more
  bool running_ WP_GUARDED_BY(core_.mutex) = false;
  bool storing_ WP_GUARDED_BY(core_.mutex) = false;  // a checkpoint is on its way
  bool waited_for_ WP_GUARDED_BY(core_.mutex) = false;
  std::optional<ViewDelta> stuck_ WP_GUARDED_BY(core_.mutex);  // taken, but not yet applied
  std::string error_ WP_GUARDED_BY(core_.mutex);
  bool damaged_ WP_GUARDED_BY(core_.mutex) = false;  // says the last update that failed
  TimePoint not_before_ WP_GUARDED_BY(core_.mutex){};
  std::chrono::nanoseconds pause_ WP_GUARDED_BY(core_.mutex){};
  TimerId timer_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t slots_at_checkpoint_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t let_go_at_checkpoint_ WP_GUARDED_BY(core_.mutex) = 0;
  bool checkpoint_wanted_ WP_GUARDED_BY(core_.mutex) = false;
  uint64_t checkpoints_ended_ WP_GUARDED_BY(core_.mutex) = 0;  // stored, or failed
  uint64_t slots_in_view_ WP_GUARDED_BY(core_.mutex) = 0;      // as far as we wrote them
  Status checkpoint_status_ WP_GUARDED_BY(core_.mutex);        // of the last one
  // The two newest, and before them some that were stored within the grace.
  std::deque<Checkpoint> stored_ WP_GUARDED_BY(core_.mutex);
  TimePoint swept_at_ WP_GUARDED_BY(core_.mutex) = kNever;
  CondVar idle_;
};

}  // namespace wp

#endif  // WP_ENGINE_VIEW_KEEPER_H_
