// What is done now and then so that a log can live for years: retention, compaction, reclaiming, in
// this order, one at a time. A pass begins when enough was appended since the last one; compaction
// then takes only a share of the time. gc() does all of it at once.
#ifndef WP_ENGINE_MAINTENANCE_H_
#define WP_ENGINE_MAINTENANCE_H_

#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "engine/compaction.h"
#include "engine/core.h"
#include "engine/reclaim.h"

namespace wp {

class Maintenance {
 public:
  explicit Maintenance(EngineCore& core) : core_(core) {}

  void start();
  // From the keeper of the view, with no lock held: the view has news.
  void view_has_news();
  // As Wal::gc().
  Result<GcReport> gc(bool dry_run);
  // The root was abandoned: who waits here goes on.
  void ended();
  void fill(Stats& stats) const;

 private:
  using Then = std::function<void()>;
  void pass();
  void pass_at(TimePoint when) WP_REQUIRES(core_.mutex);
  void pass_over();
  void expire(Then then);
  void compact(bool eager, Then then);
  void next_segment(bool eager, Then then);
  void segment_ended(bool eager, TimePoint begun, const CompactionJob::Outcome& outcome, Then then);
  void reclaim(bool sweep, Then then);

  bool begin_gc();
  Status await(const std::function<void(Then)>& step);
  Status checkpoint_twice();
  Status delete_what_is_ripe(bool sweep);
  bool there_is_more() const;
  Status preview(GcReport* report);
  // Objects that are noted as dead, whenever they may go.
  Result<std::vector<SlotRow>> all_dead();
  Status count_waiting(GcReport* report);
  void note_failure(const Status& status);

  EngineCore& core_;
  bool busy_ WP_GUARDED_BY(core_.mutex) = false;
  CondVar idle_;
  TimerId timer_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t slots_at_pass_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t bytes_at_pass_ WP_GUARDED_BY(core_.mutex) = 0;
  std::deque<std::vector<RunRow>> segments_ WP_GUARDED_BY(core_.mutex);  // still to be written
  uint64_t looked_at_ WP_GUARDED_BY(core_.mutex) = 0;  // objects, by the last plan
  ObjectId plan_from_ WP_GUARDED_BY(core_.mutex);
  bool hurry_ WP_GUARDED_BY(core_.mutex) = false;  // a gc waits for the pass under way
  std::set<ObjectId> unreadable_ WP_GUARDED_BY(core_.mutex);
  std::vector<std::string> abandoned_ WP_GUARDED_BY(core_.mutex);
  GcReport report_ WP_GUARDED_BY(core_.mutex);  // of all that was done
  uint64_t debt_bytes_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t reclaimable_bytes_ WP_GUARDED_BY(core_.mutex) = 0;
  Status failure_ WP_GUARDED_BY(core_.mutex);  // of the step under way
  bool more_ WP_GUARDED_BY(core_.mutex) = false;
};

}  // namespace wp

#endif  // WP_ENGINE_MAINTENANCE_H_
