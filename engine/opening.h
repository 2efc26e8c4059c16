// Finding the end of the journal, and taking it over. An opening for write ends with a fence: the
// object that takes the next slot of the newest epoch, so that its old owner never can, and gives
// the next epoch to this opening. What must hold, step by step, stands at the top of opening.cpp.
#ifndef WP_ENGINE_OPENING_H_
#define WP_ENGINE_OPENING_H_

#include <deque>
#include <string>
#include <vector>

#include "engine/ask.h"
#include "engine/core.h"

namespace wp {

// Reads slots and applies them to the ledger, one behind the other. Its ledger belongs to it alone
// while a call runs.
class Walker {
 public:
  // A follower's view may be written as the walk goes: it is looked at after each, and built anew
  // where it was led astray.
  Walker(EngineCore& core, Cause cause, std::optional<Duration> patience, bool follows)
      : core_(core), ask_(*core.store, *core.runtime, cause, patience), follows_(follows) {}

  enum class Step : uint8_t {
    kApplied,
    kFence,   // a fence was applied
    kAbsent,  // the slot is not there
    kMisfit,  // it does not fit what is known: the ground was reclaimed, or it is damaged
  };
  // The next slot. After kMisfit, misfit() says what was wrong with which object.
  Result<Step> step();
  // All slots up to the first that is absent: kAbsent or kMisfit. A follower's walk also ends
  // behind each fence: kFence.
  Result<Step> to_tail();
  const Status& misfit() const { return misfit_; }

  // Names of checkpoints, the newest first; the walk begins on the ground that they stand for.
  Result<std::vector<std::string>> checkpoints();
  // Whether there is one that the last checkpoints() did not give.
  Result<bool> new_checkpoint();
  // Where the walk has ended, is that the end? Slots far behind it say that one is gone; so does a
  // checkpoint past it.
  Status check_tail();
  // Goes on from the newest of them that is whole, whatever the view was. kNotFound: none is.
  // Logs that somebody holds are as the checkpoint has them, or dropped.
  Status load_checkpoint(const std::vector<std::string>& keys);
  // Writes what was applied to the view. Only on ground that is known to be real: see opening.cpp.
  Status apply_to_view();
  // The last failure was the view's own.
  bool view_failed() const { return view_failed_; }
  void forget_view_failure() { view_failed_ = false; }
  Ask& ask() { return ask_; }

 private:
  Result<std::vector<std::string>> list_checkpoints();
  Result<Step> take(const std::string& key, GetResult head);
  Result<Step> walk_listed();
  Result<SlotIndex> read_index(const std::string& key, const SlotHeader& header,
                               const GetResult& head);
  Status load(const std::string& key);
  Status of_view(Status status);

  EngineCore& core_;
  Ask ask_;
  const bool follows_;
  Status misfit_;
  std::vector<std::string> known_;
  bool view_failed_ = false;
};

class Opening {
 public:
  explicit Opening(EngineCore& core);
  // The ledger is at the tail. For write also: the epoch after it is ours, see owner().
  Status run();
  const SlotId& first_slot() const { return first_slot_; }  // of what is ours

 private:
  enum class Outcome : uint8_t { kDone, kWalkOn, kStartAgain };
  Status find_root(bool* created);
  Result<bool> create_root();
  Result<std::optional<ViewHead>> view_head();
  Status attempt();
  Result<Outcome> check_view(const ViewHead& head, const std::vector<std::string>& checkpoints);
  Result<bool> agrees(const std::string& key, const ViewHead& head);
  Result<Outcome> start(const std::vector<std::string>& checkpoints);
  Status begin_at_root();
  Result<Outcome> finish_at_tail();
  Result<Outcome> put_fence();
  Status view_is_lost(const Status& why);
  void count_slots_since(const std::vector<std::string>& checkpoints);

  EngineCore& core_;
  Walker walker_;
  RootObject root_;
  Digest root_digest_{};
  SlotId first_slot_;
  bool from_checkpoint_ = false;  // the view, whatever it says, is not to be trusted any more
};

}  // namespace wp

#endif  // WP_ENGINE_OPENING_H_
