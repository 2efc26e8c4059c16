#include "engine/view_keeper.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "engine/bug.h"
#include "engine/checkpoint.h"
#include "engine/maintenance.h"
#include "engine/status.h"

namespace wp {
namespace {

// Written when so much gathered, or so long after the first of it.
constexpr uint64_t kSlotsAtOnce = 64;
constexpr std::chrono::seconds kDelay{1};
// After a failure, ever slower.
constexpr std::chrono::seconds kPauseFirst{1}, kPauseMax{60};
constexpr size_t kCheckpointsKept = 2;
// So much is let go at once that it is worth a checkpoint, which reclaiming waits for.
constexpr uint64_t kLetGoWorth = 64u << 20;
constexpr size_t kPage = 1000;
constexpr std::chrono::hours kSweepEvery{24};
// So many checkpoints of the time of a grace are known: what is dead waits that much longer at
// most.
constexpr int kKnownInGrace = 8;
constexpr std::string_view kNote = "checkpoints";  // when the last ones were stored

}  // namespace

void ViewKeeper::start() {
  if (running_ || closed_ || core_.ended) return;
  running_ = true;
  core_.runtime->work([this] { run(); });
}

void ViewKeeper::start_at(TimePoint when) {
  if (timer_ != 0) return;
  timer_ = core_.runtime->call_at(when, [this] {
    MutexLock lock(core_.mutex);
    timer_ = 0;
    if (!core_.ended) start();
  });
}

void ViewKeeper::slots_applied() {
  MutexLock lock(core_.mutex);
  if (running_ || core_.ended) return;
  const TimePoint now = core_.runtime->now();
  if (now >= not_before_ && core_.ledger.pending_slots() >= kSlotsAtOnce) return start();
  start_at(std::max(not_before_, now + kDelay));
}

void ViewKeeper::run() {
  for (bool more = true; more;) {  // under load it never ends
    more = apply_once();
    checkpoint_if_due();
    if (core_.maintenance != nullptr && !is_stuck()) core_.maintenance->view_has_news();
  }
  MutexLock lock(core_.mutex);
  running_ = false;
  idle_.notify_all();
  // What came meanwhile.
  if (core_.ended || stuck_) return;
  if (checkpoint_wanted_ && !storing_) return start();
  if (core_.ledger.pending()) start_at(core_.runtime->now() + kDelay);
}

bool ViewKeeper::is_stuck() const {
  MutexLock lock(core_.mutex);
  return stuck_.has_value() && !WP_BUG(32);
}

// True: there is enough left to go on at once.
bool ViewKeeper::apply_once() {
  const ViewDelta* delta;  // only this, one at a time, changes it
  {
    MutexLock lock(core_.mutex);
    if (closed_) return false;
    if (!stuck_) {
      if (!core_.ledger.pending()) return false;
      stuck_ = core_.ledger.take();
    }
    delta = &*stuck_;
  }
  const Status status = core_.view->apply(*delta);
  std::string told;
  {
    MutexLock lock(core_.mutex);
    if (status.ok()) {
      core_.ledger.applied(*delta);
      slots_in_view_ = delta->head.slots;
      idle_.notify_all();
      stuck_.reset();
      error_.clear();
      damaged_ = false;
      pause_ = {};
      not_before_ = {};
      return waited_for_ || core_.ledger.pending_slots() >= kSlotsAtOnce;
    }
    if (error_.empty()) told = status.message();
    error_ = status.to_string();
    damaged_ = status.code() == Code::kCorrupt;
    pause_ = std::clamp<std::chrono::nanoseconds>(pause_ * 2, kPauseFirst, kPauseMax);
    not_before_ = core_.runtime->now() + pause_;
  }
  if (!told.empty()) {
    core_.say(Level::kWarning,
              told + " (the log goes on; the next opening of " + core_.url + " may take longer)");
  }
  return false;
}

Status ViewKeeper::drain(TimePoint deadline) {
  MutexLock lock(core_.mutex);
  waited_for_ = true;
  Status status;
  bool tried = false;
  // What comes while we wait is not waited for.
  const uint64_t slots = core_.ledger.head().slots;
  while (!core_.ended && slots_in_view_ < slots && (running_ || stuck_ || core_.ledger.pending())) {
    if (!running_) {
      if (tried && stuck_) {
        status = Status(Code::kUnavailable, "write the view of " + core_.url + ": " + error_);
        break;
      }
      start();
      tried = true;
    }
    core_.runtime->wait(lock, idle_, deadline);
    if (deadline != kNever && core_.runtime->now() >= deadline) {
      status = Status(Code::kTimeout, "write the view of " + core_.url + ": not done in time");
      break;
    }
  }
  waited_for_ = false;
  return status;
}

std::string ViewKeeper::error() const {
  MutexLock lock(core_.mutex);
  return error_;
}

// ------------------------------------------------------------------------------------ checkpoints

void ViewKeeper::set_slots_since_checkpoint(uint64_t slots) {
  recall();
  MutexLock lock(core_.mutex);
  slots_at_checkpoint_ = core_.ledger.head().slots - std::min(slots, core_.ledger.head().slots);
}

void ViewKeeper::checkpoint_if_due() {
  {
    MutexLock lock(core_.mutex);
    if (core_.writer == nullptr || storing_ || stuck_ || core_.ended) return;
    const uint64_t slots = core_.ledger.head().slots - slots_at_checkpoint_;
    const bool due = checkpoint_wanted_ || slots >= core_.options.checkpoint_slots ||
                     core_.ledger.bytes_let_go() - let_go_at_checkpoint_ >= kLetGoWorth;
    if (!due) return;
    checkpoint_wanted_ = false;
    storing_ = true;
  }
  store_checkpoint();
}

// The view stands still: only whoever runs this writes it.
void ViewKeeper::store_checkpoint() {
  auto head = core_.view->head();
  Status status = head.status();
  if (head && (!*head || (*head)->last.slot.epoch == 0)) {
    status = Status(Code::kNotFound, "there is nothing in the view yet");
  }
  // What the view got wrong would outlive it in a checkpoint, and what it forgot would be deleted.
  if (const std::string damage = core_.view_damage(); status.ok() && !damage.empty()) {
    status = Status(Code::kCorrupt, "store a checkpoint of " + core_.url +
                                        ": the view is damaged; reopen, which builds it anew [" +
                                        damage + "]");
  }
  if (status.ok()) status = note_dead(**head);
  auto encoded = status.ok() ? encode_checkpoint(*core_.view, core_.options.compression_level)
                             : Result<ByteVector>(status);
  {
    MutexLock lock(core_.mutex);
    // Also after a failure, not again at once.
    slots_at_checkpoint_ = core_.ledger.head().slots;
    let_go_at_checkpoint_ = core_.ledger.bytes_let_go();
    checkpoint_status_ = encoded.status();
    if (!encoded) {
      storing_ = false;
      ++checkpoints_ended_;
      idle_.notify_all();
      return;
    }
  }
  const SlotId last = (*head)->last.slot;
  const Checkpoint checkpoint{checkpoint_key(last.epoch, last.seq), (*head)->slots, 0, kNever};
  auto use = std::make_shared<RamUse>(core_.ram, Ram::kUploading, encoded->size());
  core_.store->put_if_absent(checkpoint.key,
                             std::make_shared<const ByteVector>(*std::move(encoded)),
                             Cause::kCheckpoint, [this, use, checkpoint](const StoreStatus& put) {
                               use->release();
                               checkpoint_stored(put, checkpoint);
                             });
}

bool ViewKeeper::may_go(const SlotRow& row) {
  if (row.entries != 0 || is_segment(row.seq)) return true;
  const auto epoch = core_.view->epoch(row.epoch);
  if (!epoch || !*epoch) return false;
  const bool is_fence = (*epoch)->ended && (*epoch)->fence == row.seq;
  return !is_fence || (*epoch)->closed || WP_BUG(3);
}

// What nobody needs as of this checkpoint, and so as of all later ones.
Status ViewKeeper::note_dead(const ViewHead& head) {
  ObjectId at;
  for (;;) {
    auto rows = WP_BUG(15) ? core_.view->slots(at.epoch, at.seq, kPage)
                           : core_.view->unused(at.epoch, at.seq, kPage);
    if (!rows) return core_.of_view(rows.status());
    ViewDelta delta;
    delta.head = head;
    for (SlotRow& row : *rows) {
      at = {row.epoch, row.seq + 1};
      if (!may_go(row)) continue;
      row.dead = head.slots;
      delta.slots.push_back(row);
    }
    if (!delta.slots.empty()) {
      if (Status status = core_.of_view(core_.view->apply(delta)); !status.ok()) return status;
    }
    if (rows->size() < kPage) return {};
  }
}

void ViewKeeper::checkpoint_stored(const StoreStatus& status, Checkpoint checkpoint) {
  if (status.ok() || status.answer == Answer::kExists) {
    core_.runtime->work([this, checkpoint = std::move(checkpoint)] {
      remember(checkpoint);
      remove_old_checkpoints();
    });
    return;
  }
  if (status.answer != Answer::kCancelled) {
    core_.say(Level::kWarning, status.message + " (a checkpoint; the next one is tried in time)");
  }
  {
    MutexLock lock(core_.mutex);
    checkpoint_status_ = to_status(status);
  }
  checkpoint_ended();
}

// Kept in the view's notes as well, for processes that live shorter than the grace.
void ViewKeeper::remember(Checkpoint checkpoint) {
  checkpoint.at = core_.runtime->now();
  checkpoint.wall_ms = core_.runtime->wall_ms();
  std::string note;
  {
    MutexLock lock(core_.mutex);
    if (!stored_.empty() && checkpoint.key == stored_.back().key) return;
    stored_.push_back(std::move(checkpoint));
    // Of those behind the grace the newest is enough, and of those close to each other one.
    const std::chrono::nanoseconds grace = core_.options.reclaim_grace;
    while (stored_.size() > 2 && age_of(stored_[1]) >= grace) stored_.pop_front();
    for (size_t i = 1; i + 2 < stored_.size();) {
      const bool close = age_of(stored_[i - 1]) - age_of(stored_[i + 1]) < grace / kKnownInGrace;
      close ? void(stored_.erase(stored_.begin() + static_cast<ptrdiff_t>(i))) : void(++i);
    }
    for (const Checkpoint& each : stored_) {
      note +=
          each.key + " " + std::to_string(each.slots) + " " + std::to_string(each.wall_ms) + "\n";
    }
  }
  (void)core_.view->set_note(kNote, note);  // lost, the grace begins anew
}

void ViewKeeper::recall() {
  std::istringstream note(core_.view->note(kNote));
  std::deque<Checkpoint> known;
  Checkpoint each;
  Epoch epoch;
  Seq seq;
  while (note >> each.key >> each.slots >> each.wall_ms) {
    if (!parse_checkpoint_key(each.key, &epoch, &seq)) break;
    known.push_back(each);
  }
  MutexLock lock(core_.mutex);
  stored_ = std::move(known);
}

std::chrono::nanoseconds ViewKeeper::age_of(const Checkpoint& checkpoint) const {
  if (checkpoint.at != kNever) return core_.runtime->now() - checkpoint.at;
  return std::chrono::milliseconds{
      std::max<int64_t>(0, core_.runtime->wall_ms() - checkpoint.wall_ms)};
}

ViewKeeper::Kept ViewKeeper::kept() const {
  MutexLock lock(core_.mutex);
  Kept kept;
  if (!stored_.empty()) kept.newest = stored_.back().key;
  if (stored_.size() < 2) return kept;
  const Checkpoint& older = stored_[stored_.size() - 2];
  kept.older = older.key;
  kept.dead_max = older.slots;
  const uint64_t most = WP_BUG(9)    ? core_.ledger.head().slots
                        : WP_BUG(10) ? stored_.back().slots
                                     : older.slots;
  for (const Checkpoint& each : stored_) {
    if (age_of(each) < core_.options.reclaim_grace && !WP_BUG(11)) break;
    kept.ripe_max = WP_BUG(9) ? most : std::min(each.slots, most);
  }
  return kept;
}

std::optional<TimePoint> ViewKeeper::ripe_at() const {
  MutexLock lock(core_.mutex);
  for (size_t i = 0; i + 1 < stored_.size(); ++i) {
    const std::chrono::nanoseconds left = core_.options.reclaim_grace - age_of(stored_[i]);
    if (left > std::chrono::nanoseconds{0}) return core_.runtime->now() + left;
  }
  return std::nullopt;
}

bool ViewKeeper::sweep_is_due() const {
  MutexLock lock(core_.mutex);
  return swept_at_ == kNever || core_.runtime->now() - swept_at_ >= kSweepEvery;
}

void ViewKeeper::swept() {
  MutexLock lock(core_.mutex);
  swept_at_ = core_.runtime->now();
}

Status ViewKeeper::checkpoint_now() {
  if (Status status = drain(kNever); !status.ok()) return status;
  MutexLock lock(core_.mutex);
  while (storing_ && !core_.ended) core_.runtime->wait(lock, idle_, kNever);
  const uint64_t before = checkpoints_ended_;
  checkpoint_wanted_ = true;
  start();
  while (checkpoints_ended_ == before && !core_.ended && !stuck_) {
    core_.runtime->wait(lock, idle_, kNever);
  }
  if (stuck_) return Status(Code::kUnavailable, "write the view of " + core_.url + ": " + error_);
  if (core_.ended) return Status(Code::kClosed, "use " + core_.url + ": it was closed; reopen");
  return checkpoint_status_;
}

void ViewKeeper::remove_old_checkpoints() {
  core_.store->list(std::string(kCheckpointPrefix), "", 0, Cause::kCheckpoint,
                    [this](ListResult listed) {
                      auto keys = checkpoints_among(listed.objects);
                      if (!listed.status.ok() || listed.more || keys.size() <= kCheckpointsKept) {
                        return checkpoint_ended();
                      }
                      keys.resize(keys.size() - kCheckpointsKept);  // the names sort by position
                      core_.store->remove(std::move(keys), Cause::kCheckpoint,
                                          [this](const StoreStatus&) { checkpoint_ended(); });
                    });
}

void ViewKeeper::checkpoint_ended() {
  MutexLock lock(core_.mutex);
  storing_ = false;
  ++checkpoints_ended_;
  idle_.notify_all();
  if (checkpoint_wanted_) start();
}

void ViewKeeper::ended() {
  MutexLock lock(core_.mutex);
  idle_.notify_all();
}

void ViewKeeper::close(bool checkpoint, TimePoint deadline) {
  const bool drained = core_.writer != nullptr && drain(deadline).ok();
  bool store = false, damaged = false;
  {
    MutexLock lock(core_.mutex);
    store = drained && checkpoint && !storing_ && core_.view_damage_.empty() &&
            core_.ledger.head().slots > slots_at_checkpoint_;
    storing_ = storing_ || store;
  }
  if (store) store_checkpoint();
  {
    MutexLock lock(core_.mutex);
    while (storing_ && !core_.ended) {
      core_.runtime->wait(lock, idle_, deadline);
      if (deadline != kNever && core_.runtime->now() >= deadline) break;
    }
    damaged = damaged_ || !core_.view_damage_.empty();
    closed_ = true;
    while (running_ && !core_.ended) core_.runtime->wait(lock, idle_, kNever);
  }
  if (damaged) (void)core_.view->reset();  // the next opening builds it anew
  if (Status status = core_.view->close(); !status.ok()) {
    core_.say(Level::kWarning, status.message() + " (the next opening may take longer)");
  }
}

}  // namespace wp
