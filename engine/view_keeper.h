// Keeps the view behind the ledger: writes it in the background, one change after the other, and
// stores a checkpoint of it now and then. A view that cannot be written costs nothing but the time
// of the next opening: the log goes on, and says so.
#ifndef WP_ENGINE_VIEW_KEEPER_H_
#define WP_ENGINE_VIEW_KEEPER_H_

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
  // Waits until the view has all that the ledger had.
  Status drain(TimePoint deadline);
  // Stores a checkpoint if the view has news since the last, and gives the view back. What fails
  // here costs only time at the next opening, and is told by message.
  void close(bool checkpoint, TimePoint deadline);
  // From the opening: how many slots lie behind the newest checkpoint.
  void set_slots_since_checkpoint(uint64_t slots);

  // The root was abandoned: who waits here goes on.
  void ended();

  std::string error() const;  // why the view is not being written; empty: it is

 private:
  void start() WP_REQUIRES(core_.mutex);
  void start_at(TimePoint when) WP_REQUIRES(core_.mutex);
  void run();
  bool apply_once();
  void checkpoint_if_due();
  void store_checkpoint();
  void checkpoint_stored(const StoreStatus& status);
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
  CondVar idle_;
};

}  // namespace wp

#endif  // WP_ENGINE_VIEW_KEEPER_H_
