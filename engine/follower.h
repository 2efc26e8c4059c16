// A read-only root: follows the journal as an opener walks it, and never writes. It looks for news
// only when somebody asks: at every call that says what is durable now, and ever slower while a
// subscriber waits.
#ifndef WP_ENGINE_FOLLOWER_H_
#define WP_ENGINE_FOLLOWER_H_

#include <functional>
#include <vector>

#include "engine/core.h"
#include "engine/opening.h"

namespace wp {

class Follower {
 public:
  explicit Follower(EngineCore& core) : core_(core), looked_at_(core.runtime->now()) {}

  // Looks for news now, all there are. Any thread; one looks, the others wait for it.
  // With `check_ground` also whether what it stands on was reclaimed.
  Status look(bool check_ground = false);
  // Calls it while the view has all that is known, and stays as it is.
  Result<std::vector<Holding>> with_view_settled(
      const std::function<Result<std::vector<Holding>>()>& call);
  // The same for a subscriber that waits: looks when it is time to, and says when that is next.
  Status look_if_due(TimePoint* next);

 private:
  class Turn;
  Status walk(bool check_ground, bool* news);
  Status go_on_if_behind(Walker& walker);
  Result<bool> behind(Walker& walker, const std::string& newest);
  Status go_on_from_checkpoint(Walker& walker, const std::vector<std::string>& keys);

  EngineCore& core_;
  bool looking_ WP_GUARDED_BY(core_.mutex) = false;
  TimePoint looked_at_ WP_GUARDED_BY(core_.mutex);
  TimePoint next_look_ WP_GUARDED_BY(core_.mutex){};
  Duration pause_ WP_GUARDED_BY(core_.mutex){0};
  CondVar looked_;
};

}  // namespace wp

#endif  // WP_ENGINE_FOLLOWER_H_
