// Reclaiming: objects that nobody needs any more are deleted.
//
// What it rests on:
//  - An object is dead when no run lies in it: its entries were truncated, dropped, or stand in a
//    segment. Each of these is said by a slot that is acknowledged, and never comes undone; so an
//    owner that was fenced meanwhile deletes nothing wrongly.
//  - Death is noted when a checkpoint is made (ViewKeeper), and counts once that checkpoint is the
//    older of the two that are kept: so whichever of them an opening starts from, all that it says
//    is needed is there.
//  - The grace counts from when that older checkpoint was stored. Whoever follows from elsewhere
//    looks for newer checkpoints twice as often.
//  - A fence stays for ever, unless the owner before it said that nothing of it is under way.
//  - Leftovers are what no acknowledged slot speaks of: slots past a fence, epochs that never were,
//    segments that were not published. They are swept only where their epoch is ours or earlier,
//    and only after a checkpoint of our own epoch is stored: whoever walks on such ground then
//    notices.
#ifndef WP_ENGINE_RECLAIM_H_
#define WP_ENGINE_RECLAIM_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/core.h"
#include "engine/view_keeper.h"

namespace wp {

class ReclaimJob : public std::enable_shared_from_this<ReclaimJob> {
 public:
  struct Outcome {
    Status status;
    uint64_t objects = 0, bytes = 0;  // deleted
    uint64_t leftovers = 0;           // of those
    bool more = false;                // there is more to be deleted at once
  };
  using Ended = std::function<void(Outcome)>;

  // `sweep`: leftovers too. `abandoned`: segments of our own that will never be published.
  ReclaimJob(EngineCore& core, bool sweep, std::vector<std::string> abandoned, Ended ended)
      : core_(core), sweep_(sweep), leftovers_(std::move(abandoned)), ended_(std::move(ended)) {}
  // `ended` runs once, on any thread with no lock held, unless the root is abandoned first.
  void start();

 private:
  using Then = std::function<void()>;
  void list(const std::string& prefix, const std::string& after,
            std::function<void(ListResult)> then);
  void remove(std::vector<std::string> keys, Then then);
  void retry(Then again, const StoreStatus& status);
  void checkpoints_listed(const ListResult& listed);
  void remove_dead();
  void forget();
  void sweep();
  void sweep_from(const std::string& prefix, const std::string& after);
  void weigh(const ListResult& listed, Then then);
  Result<bool> is_leftover(const std::string& key, Epoch mine, const SlotId& checkpoint);
  void end(Status status);

  EngineCore& core_;
  bool sweep_;
  std::vector<std::string> leftovers_;
  Ended ended_;
  ViewKeeper::Kept kept_;
  std::vector<SlotRow> rows_;
  Outcome outcome_;
  int tries_ = 0;
};

}  // namespace wp

#endif  // WP_ENGINE_RECLAIM_H_
