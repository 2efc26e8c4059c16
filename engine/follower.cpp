#include "engine/follower.h"

#include <algorithm>

#include "engine/checkpoint.h"
#include "engine/status.h"

namespace wp {
namespace {

// What was not looked at for so long may have been reclaimed: half of the shortest grace.
constexpr std::chrono::minutes kGroundHolds{30};
// So much may be in RAM before it goes to the view.
constexpr uint64_t kSlotsInRam = 64;

}  // namespace

// One looks at a time. Its end wakes the others, also where a wait is left by an exception.
class Follower::Turn {
 public:
  explicit Turn(Follower& follower) : follower_(follower) {}
  ~Turn() {
    MutexLock lock(follower_.core_.mutex);
    follower_.looking_ = false;
    follower_.looked_.notify_all();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Follower& follower_;
};

Status Follower::look(TimePoint deadline) {
  {
    MutexLock lock(core_.mutex);
    while (looking_) {
      core_.runtime->wait(lock, looked_, deadline);
      if (looking_ && deadline != kNever && core_.runtime->now() >= deadline) {
        return Status(Code::kTimeout,
                      "follow " + core_.url + ": the store does not answer in time");
      }
    }
    looking_ = true;
  }
  const Turn turn(*this);
  bool news = false;
  const Status status = walk(deadline, &news);
  MutexLock lock(core_.mutex);
  const TimePoint now = core_.runtime->now();
  looked_at_ = now;
  pause_ =
      news ? core_.options.follow_pause_min
           : std::clamp(pause_ * 2, core_.options.follow_pause_min, core_.options.follow_pause_max);
  next_look_ = now + pause_;
  return status;
}

Status Follower::look_if_due(TimePoint deadline, TimePoint* next) {
  {
    MutexLock lock(core_.mutex);
    *next = next_look_;
    // While another looks, its news wake whoever waits.
    if (looking_ || core_.runtime->now() < next_look_) return {};
  }
  Status status = look(deadline);
  MutexLock lock(core_.mutex);
  *next = next_look_;
  return status;
}

Status Follower::walk(TimePoint deadline, bool* news) {
  Walker walker(core_, Cause::kProbe, deadline);
  Position before;
  bool slept;
  {
    MutexLock lock(core_.mutex);
    before = core_.ledger.head().last;
    slept = core_.runtime->now() - looked_at_ > kGroundHolds && looked_at_ != TimePoint{};
  }
  auto step = walker.to_tail();
  if (!step) return step.status();
  SlotId last;
  {
    MutexLock lock(core_.mutex);
    last = core_.ledger.head().last.slot;
    *news = !(core_.ledger.head().last == before);
  }
  if (*step == Walker::Step::kMisfit) {
    const Status misfit = walker.misfit();
    const Status moved = check_ground(walker);
    return moved.code() == Code::kNotFound ? misfit : moved;
  }
  if (slept || last.epoch != before.slot.epoch) {
    const Status moved = check_ground(walker);
    if (!moved.ok() && moved.code() != Code::kNotFound) return moved;
  }
  uint64_t pending;
  {
    MutexLock lock(core_.mutex);
    pending = core_.ledger.pending_slots();
  }
  return pending >= kSlotsInRam ? walker.apply_to_view() : Status();
}

// kNotFound: the ground is what it was.
Status Follower::check_ground(Walker& walker) {
  auto keys = walker.checkpoints();
  if (!keys) return keys.status();
  const Status same(Code::kNotFound, "no checkpoint is ahead");
  if (keys->empty()) return same;
  auto is_behind = behind(walker, keys->front());
  if (!is_behind) return is_behind.status();
  return *is_behind ? go_on_from_checkpoint(walker, *keys) : same;
}

// Whether the newest checkpoint is past where the ledger stands, or there with another digest.
Result<bool> Follower::behind(Walker& walker, const std::string& newest) {
  Position last;
  {
    MutexLock lock(core_.mutex);
    last = core_.ledger.head().last;
  }
  const std::string mine = checkpoint_key(last.slot.epoch, last.slot.seq);
  if (newest != mine) return newest > mine;
  const GetResult got = walker.ask().get(newest);
  if (!got.status.ok()) return to_status(got.status);
  const auto head = decode_checkpoint_head(got.bytes);
  return head.ok() && !(head->head.last.digest == last.digest);
}

Status Follower::go_on_from_checkpoint(Walker& walker, const std::vector<std::string>& keys) {
  std::vector<LogStatePtr> held;
  {
    MutexLock lock(core_.mutex);
    held = core_.ledger.held();
  }
  if (Status status = walker.load_checkpoint(keys); !status.ok()) return status;
  {
    MutexLock lock(core_.mutex);
    if (Status status = core_.ledger.adopt(held); !status.ok()) return status;
  }
  auto step = walker.to_tail();
  if (!step) return step.status();
  return *step == Walker::Step::kMisfit ? walker.misfit() : Status();
}

}  // namespace wp
