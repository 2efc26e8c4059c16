#include "engine/follower.h"

#include <algorithm>

#include "engine/bug.h"
#include "engine/checkpoint.h"
#include "engine/status.h"

namespace wp {
namespace {

// What was not looked at for half the grace may have been reclaimed. Without a grace nobody was
// expected to follow; this is then as good as anything.
constexpr std::chrono::minutes kGroundHolds{30};
std::chrono::nanoseconds ground_holds(const Options& options) {
  return options.reclaim_grace > Duration{0} ? options.reclaim_grace / 2 : Duration{kGroundHolds};
}
// How long a store that does not answer is waited for.
constexpr Duration kPatience{5'000};
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

Status Follower::look(bool check_ground) {
  {
    MutexLock lock(core_.mutex);
    while (looking_) core_.runtime->wait(lock, looked_, kNever);
    looking_ = true;
  }
  const Turn turn(*this);
  bool news = false;
  const Status status = walk(check_ground, &news);
  MutexLock lock(core_.mutex);
  const TimePoint now = core_.runtime->now();
  pause_ =
      news ? core_.options.follow_pause_min
           : std::clamp(pause_ * 2, core_.options.follow_pause_min, core_.options.follow_pause_max);
  next_look_ = now + pause_;
  return status;
}

Result<std::vector<Holding>> Follower::with_view_settled(
    const std::function<Result<std::vector<Holding>>()>& call) {
  {
    MutexLock lock(core_.mutex);
    while (looking_) core_.runtime->wait(lock, looked_, kNever);
    looking_ = true;
  }
  const Turn turn(*this);
  Walker walker(core_, Cause::kProbe, kPatience, true);
  if (Status status = walker.apply_to_view(); !status.ok()) return status;
  return call();
}

Status Follower::look_if_due(TimePoint* next) {
  {
    MutexLock lock(core_.mutex);
    *next = next_look_;
    // While another looks, its news wake whoever waits.
    const TimePoint now = core_.runtime->now();
    if (looking_) *next = now + core_.options.follow_pause_min;
    if (looking_ || now < next_look_) return {};
  }
  Status status = look();
  MutexLock lock(core_.mutex);
  *next = next_look_;
  return status;
}

// What is absent is the tail only if the ground was not reclaimed under the walk: that is known of
// the time since it last stood at the tail, as long as that is within the grace, and looked up
// otherwise. Behind a fence it is looked up in any case: a leftover one leads astray.
Status Follower::walk(bool check_ground, bool* news) {
  Walker walker(core_, Cause::kProbe, kPatience, true);
  Position before;
  TimePoint stood_at;
  {
    MutexLock lock(core_.mutex);
    before = core_.ledger.head().last;
    stood_at = looked_at_;
  }
  for (;;) {
    const TimePoint asked_at = core_.runtime->now();
    auto step = walker.to_tail();
    if (!step) return step.status();
    if (WP_BUG(12) && *step == Walker::Step::kFence) continue;
    const bool at_tail = *step == Walker::Step::kAbsent;
    const bool stale = !WP_BUG(30) && core_.runtime->now() - stood_at > ground_holds(core_.options);
    if (at_tail && !stale && !check_ground) {
      stood_at = asked_at;
      break;
    }
    check_ground = false;
    stood_at = core_.runtime->now();
    const Status misfit = walker.misfit();
    const Status moved = go_on_if_behind(walker);
    if (moved.code() == Code::kNotFound) {
      if (*step == Walker::Step::kMisfit) return misfit;
      if (at_tail) break;
    } else if (!moved.ok()) {
      return moved;
    }
  }
  bool apply;
  {
    MutexLock lock(core_.mutex);
    looked_at_ = stood_at;
    *news = !(core_.ledger.head().last == before);
    // Runs in RAM hide where the view knows that they lie now.
    apply = core_.ledger.pending_slots() >= kSlotsInRam || core_.ledger.pending_published();
  }
  return apply ? walker.apply_to_view() : Status();
}

// kNotFound: the ground is what it was.
Status Follower::go_on_if_behind(Walker& walker) {
  const Status same(Code::kNotFound, "no checkpoint is ahead");
  for (std::string gone;;) {
    auto keys = walker.checkpoints();
    if (!keys) return keys.status();
    if (keys->empty()) return same;
    auto is_behind = behind(walker, keys->front());
    if (is_behind && !*is_behind) return same;
    const Status moved = is_behind ? go_on_from_checkpoint(walker, *keys) : is_behind.status();
    // One that was deleted since it was listed: then there are newer ones.
    const bool not_there = moved.code() == Code::kCorrupt || moved.code() == Code::kNotFound;
    if (!not_there || gone == keys->front()) return moved;
    gone = keys->front();
  }
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
  const GetResult got = walker.ask().get_whole(
      newest, {}, [](Bytes bytes) { return decode_checkpoint_head(bytes).ok(); });
  if (!got.status.ok()) return to_status(got.status);
  const auto head = decode_checkpoint_head(got.bytes);
  return head.ok() && !(head->head.last.digest == last.digest);
}

Status Follower::go_on_from_checkpoint(Walker& walker, const std::vector<std::string>& keys) {
  struct Reload {  // also where a wait is left by an exception
    explicit Reload(EngineCore& core_given) : core(core_given) { core.reload_begin(); }
    ~Reload() { core.reload_end(); }
    EngineCore& core;
  };
  const Reload reload(core_);
  // Not an older one: what is known already is not to be forgotten.
  const Status status = walker.load_checkpoint({keys.front()});
  if (status.code() != Code::kNotFound) return status;
  return Status(Code::kCorrupt, "follow " + core_.url + ": " + keys.front() +
                                    " is ahead, but cannot be read; see docs/OPERATIONS.md");
}

}  // namespace wp
