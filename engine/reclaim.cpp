#include "engine/reclaim.h"

#include <algorithm>

#include "engine/bug.h"
#include "engine/checkpoint.h"
#include "engine/status.h"
#include "engine/writer.h"

namespace wp {
namespace {

constexpr size_t kRowsAtOnce = 10'000;
constexpr size_t kKeysAtOnce = 1'000;  // that S3 deletes with one request
constexpr int kTriesMax = 8;
constexpr std::chrono::milliseconds kRetryFirst{50};

std::vector<ObjectRange> ranges_of(const std::vector<SlotRow>& rows) {
  std::vector<ObjectRange> ranges;
  for (const SlotRow& row : rows) {
    if (!ranges.empty() && ranges.back().epoch == row.epoch &&
        ranges.back().seq_first + ranges.back().count == row.seq) {
      ++ranges.back().count;
    } else {
      ranges.push_back({row.epoch, row.seq, 1});
    }
  }
  return ranges;
}

}  // namespace

void ReclaimJob::start() {
  kept_ = core_.keeper->kept();
  // Nothing is deleted by who is no owner any more, or on the word of a view that is not what it
  // should be.
  if (!core_.writer->failure().ok()) return end({});
  if (!core_.keeper->error().empty() || !core_.view_damage().empty()) return end({});
  if (kept_.newest.empty()) return end({});
  list(std::string(kCheckpointPrefix), "",
       [self = shared_from_this()](const ListResult& listed) { self->checkpoints_listed(listed); });
}

// Both are there, and no newer one of another opener.
void ReclaimJob::checkpoints_listed(const ListResult& listed) {
  const auto keys = checkpoints_among(listed.objects);
  if (listed.more || keys.empty() || keys.back() != kept_.newest) return end({});
  const bool both = keys.size() >= 2 && keys[keys.size() - 2] == kept_.older;
  if (!both || kept_.ripe_max == 0) return sweep();
  core_.runtime->work([self = shared_from_this()] { self->remove_dead(); });
}

void ReclaimJob::remove_dead() {
  auto rows = core_.view->dead(kept_.ripe_max, kRowsAtOnce);
  if (!rows) return end(core_.of_view(rows.status()));
  if (rows->empty()) return sweep();
  rows_ = *std::move(rows);
  outcome_.more = rows_.size() == kRowsAtOnce;
  std::vector<std::string> keys;
  for (const SlotRow& row : rows_) {
    const auto owner = core_.owner_of(row.epoch);
    if (!owner) return end(owner.status());
    if (*owner == 0) return end({});  // the view lacks what it should have
    keys.push_back(slot_key({row.epoch, *owner, row.seq}));
  }
  remove(std::move(keys), [self = shared_from_this()] { self->forget(); });
}

void ReclaimJob::forget() {
  Record record;
  record.type = RecordType::kForget;
  record.objects = ranges_of(rows_);
  if (WP_BUG(17)) ++record.objects.back().count;
  for (const SlotRow& row : rows_) record.segment.bytes += row.bytes;
  outcome_.objects += rows_.size();
  outcome_.bytes += record.segment.bytes;
  core_.writer->submit({{std::move(record), nullptr}},
                       [self = shared_from_this()](const Result<Lsn>& result) {
                         if (!result.ok()) return self->end(result.status());
                         self->sweep();
                       });
}

// ----------------------------------------------------------------------------------------
// leftovers

void ReclaimJob::sweep() {
  remove(std::exchange(leftovers_, {}), [self = shared_from_this()] {
    Epoch epoch = 0;
    Seq seq = 0;
    Epoch mine;
    {
      MutexLock lock(self->core_.mutex);
      mine = self->core_.ledger.head().next.epoch;
    }
    const bool ground_is_ours =
        parse_checkpoint_key(self->kept_.newest, &epoch, &seq) && epoch == mine;
    if (!self->sweep_ || !ground_is_ours) return self->end({});
    self->sweep_from(std::string(kJournalPrefix), "");
  });
}

void ReclaimJob::sweep_from(const std::string& prefix, const std::string& after) {
  list(prefix, after, [self = shared_from_this(), prefix](const ListResult& listed) {
    self->core_.runtime->work([self, prefix, listed] {
      self->weigh(listed, [self, prefix, more = listed.more && !listed.objects.empty(),
                           last = listed.objects.empty() ? "" : listed.objects.back().key] {
        if (more) return self->sweep_from(prefix, last);
        if (prefix == kJournalPrefix) return self->sweep_from(std::string(kSegmentPrefix), "");
        self->core_.keeper->swept();
        self->end({});
      });
    });
  });
}

void ReclaimJob::weigh(const ListResult& listed, Then then) {
  Epoch mine = 0;
  SlotId checkpoint;
  if (!parse_checkpoint_key(kept_.newest, &mine, &checkpoint.seq)) return end({});
  std::vector<std::string> keys;
  uint64_t bytes = 0;
  for (const ListedObject& object : listed.objects) {
    auto leftover = is_leftover(object.key, mine, checkpoint);
    if (!leftover) return end(leftover.status());
    if (!*leftover) continue;
    keys.push_back(object.key);
    bytes += object.bytes;
  }
  const size_t count = keys.size();
  remove(std::move(keys), [self = shared_from_this(), count, bytes, then = std::move(then)] {
    self->outcome_.objects += count;
    self->outcome_.leftovers += count;
    self->outcome_.bytes += bytes;
    then();
  });
}

// Strangers are left alone, and so is whatever a later opener may stand on.
Result<bool> ReclaimJob::is_leftover(const std::string& key, Epoch mine, const SlotId& checkpoint) {
  SlotId slot;
  const bool segment = parse_segment_key(key, &slot);
  if (!segment && !parse_slot_key(key, &slot)) return false;
  if (slot.epoch == 0 || slot.owner == 0 || slot.epoch > mine) return false;
  const auto owner = core_.owner_of(slot.epoch);
  if (!owner) return owner.status();
  if (*owner == 0) return false;  // an epoch that the view does not know
  if (*owner != slot.owner) return true;
  // Of our own what is new is under way, or will be.
  const bool new_slot = !segment && slot.seq >= checkpoint.seq;
  if (slot.epoch == mine && (new_slot || (segment && !WP_BUG(16)))) return false;
  auto rows = core_.view->slots(slot.epoch, slot.seq, 1);
  if (!rows) return core_.of_view(rows.status());
  return rows->empty() || rows->front().epoch != slot.epoch || rows->front().seq != slot.seq;
}

// ----------------------------------------------------------------------------------- the store

void ReclaimJob::list(const std::string& prefix, const std::string& after,
                      std::function<void(ListResult)> then) {
  core_.store->list(
      prefix, after, 0, Cause::kReclaim,
      [self = shared_from_this(), prefix, after, then = std::move(then)](ListResult listed) {
        if (listed.status.passing() && self->tries_ < kTriesMax) {
          return self->retry([self, prefix, after, then] { self->list(prefix, after, then); },
                             listed.status);
        }
        if (!listed.status.ok()) return self->end(to_status(listed.status));
        self->tries_ = 0;
        then(std::move(listed));
      });
}

void ReclaimJob::remove(std::vector<std::string> keys, Then then) {
  if (keys.empty()) return then();
  if (core_.ended) return end(core_.usable());
  if (Status status = core_.writer->failure(); !status.ok()) return end(std::move(status));
  if (!core_.view_damage().empty()) return end({});
  std::vector<std::string> now = keys;
  now.resize(std::min(now.size(), kKeysAtOnce));
  core_.store->remove(
      now, Cause::kReclaim,
      [self = shared_from_this(), keys = std::move(keys),
       then = std::move(then)](const StoreStatus& status) mutable {
        if (status.passing() && self->tries_ < kTriesMax) {
          return self->retry(
              [self, keys = std::move(keys), then = std::move(then)] { self->remove(keys, then); },
              status);
        }
        if (!status.ok()) return self->end(to_status(status));
        self->tries_ = 0;
        const auto done = static_cast<ptrdiff_t>(std::min(keys.size(), kKeysAtOnce));
        keys.erase(keys.begin(), keys.begin() + done);
        self->remove(std::move(keys), std::move(then));
      });
}

void ReclaimJob::retry(Then again, const StoreStatus& status) {
  if (core_.ended) return end(core_.usable());
  const auto pause =
      std::max<std::chrono::nanoseconds>(kRetryFirst * (1 << tries_++), status.retry_after);
  core_.runtime->call_at(core_.runtime->now() + pause, std::move(again));
}

void ReclaimJob::end(Status status) {
  outcome_.status = std::move(status);
  if (ended_) std::exchange(ended_, nullptr)(std::move(outcome_));
}

}  // namespace wp
