#include "engine/view_keeper.h"

#include <algorithm>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/status.h"

namespace wp {
namespace {

// Written when so much gathered, or so long after the first of it.
constexpr uint64_t kSlotsAtOnce = 64;
constexpr std::chrono::seconds kDelay{1};
// After a failure, ever slower.
constexpr std::chrono::seconds kPauseFirst{1}, kPauseMax{60};
constexpr size_t kCheckpointsKept = 2;

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
  while (apply_once()) {
  }
  checkpoint_if_due();
  MutexLock lock(core_.mutex);
  running_ = false;
  idle_.notify_all();
  // What came meanwhile.
  if (core_.ended || stuck_ || !core_.ledger.pending()) return;
  start_at(core_.runtime->now() + kDelay);
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
  while (!core_.ended && (running_ || stuck_ || core_.ledger.pending())) {
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
  MutexLock lock(core_.mutex);
  slots_at_checkpoint_ = core_.ledger.head().slots - std::min(slots, core_.ledger.head().slots);
}

void ViewKeeper::checkpoint_if_due() {
  {
    MutexLock lock(core_.mutex);
    if (core_.writer == nullptr || storing_ || stuck_ || core_.ended) return;
    const uint64_t slots = core_.ledger.head().slots;
    if (slots - slots_at_checkpoint_ < core_.options.checkpoint_slots) return;
    storing_ = true;
  }
  store_checkpoint();
}

// The view stands still: only whoever runs this writes it.
void ViewKeeper::store_checkpoint() {
  auto encoded = encode_checkpoint(*core_.view, core_.options.compression_level);
  auto head = core_.view->head();
  {
    MutexLock lock(core_.mutex);
    // Also after a failure, not again at once.
    slots_at_checkpoint_ = core_.ledger.head().slots;
    if (!encoded || !head || !*head || (*head)->last.slot.epoch == 0) {
      storing_ = false;
      idle_.notify_all();
      return;
    }
  }
  const SlotId last = (*head)->last.slot;
  auto use = std::make_shared<RamUse>(core_.ram, Ram::kUploading, encoded->size());
  core_.store->put_if_absent(checkpoint_key(last.epoch, last.seq),
                             std::make_shared<const ByteVector>(*std::move(encoded)),
                             Cause::kCheckpoint, [this, use](StoreStatus status) {
                               use->release();
                               checkpoint_stored(status);
                             });
}

void ViewKeeper::checkpoint_stored(const StoreStatus& status) {
  if (status.ok()) return remove_old_checkpoints();
  if (status.answer != Answer::kExists && status.answer != Answer::kCancelled) {
    core_.say(Level::kWarning, status.message + " (a checkpoint; the next one is tried in time)");
  }
  checkpoint_ended();
}

void ViewKeeper::remove_old_checkpoints() {
  core_.store->list(std::string(kCheckpointPrefix), "", 0, Cause::kCheckpoint,
                    [this](ListResult listed) {
                      std::vector<std::string> keys;
                      for (const ListedObject& object : listed.objects) {
                        Epoch epoch;
                        Seq seq;
                        if (parse_checkpoint_key(object.key, &epoch, &seq)) {
                          keys.push_back(object.key);
                        }
                      }
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
  idle_.notify_all();
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
