// The protocol of opening. What it rests on:
//
//  - Create-if-absent is the only commit, so a slot once stored is never another.
//  - Nothing is deleted before a checkpoint at or past it is stored. So as long as no checkpoint
//    appears that was not there when a walk began, nothing under the walk was deleted: every fence
//    that it met was real, and so is the one that it puts at the end.
//  - Otherwise the walk may have gone over ground that was reclaimed, and a leftover fence may have
//    led it into an epoch that never was. So nothing of a walk is written to the view before that
//    was ruled out, and with a new checkpoint the walk begins again from that, whatever the view
//    says.
#include "engine/opening.h"

#include <algorithm>

#include "engine/bug.h"
#include "engine/checkpoint.h"
#include "engine/status.h"
#include "engine/view_keeper.h"

namespace wp {
namespace {

constexpr size_t kGetsAtOnce = 16;
constexpr size_t kPage = 1000;
// So many slots are applied to the view at once while walking a long journal.
constexpr uint64_t kSlotsInRamMax = 2'000;
// Each round needs a checkpoint or a fence of somebody else's.
constexpr int kRoundsMax = 1'000;

Status misfit_of(const std::string& url, const std::string& key, const Status& why) {
  return Status(why.code(), "read " + key + " of " + url + ": " + why.message() +
                                "; run wp verify, and see docs/OPERATIONS.md");
}

}  // namespace

// ---------------------------------------------------------------------------------------- walking

Status Walker::of_view(Status status) {
  if (!status.ok()) view_failed_ = true;
  return status;
}

Result<std::vector<std::string>> Walker::checkpoints() {
  auto keys = list_checkpoints();
  if (keys) known_ = *keys;
  return keys;
}

Result<std::vector<std::string>> Walker::list_checkpoints() {
  std::vector<std::string> keys;
  for (std::string after;;) {
    ListResult listed = ask_.list(std::string(kCheckpointPrefix), after);
    if (!listed.status.ok()) return to_status(listed.status);
    const auto page = checkpoints_among(listed.objects);
    keys.insert(keys.end(), page.begin(), page.end());
    if (!listed.more || listed.objects.empty()) break;
    after = listed.objects.back().key;
  }
  std::reverse(keys.begin(), keys.end());  // the names sort by position
  return keys;
}

Result<bool> Walker::new_checkpoint() {
  auto now = list_checkpoints();
  if (!now) return now.status();
  for (const std::string& key : *now) {
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) return true;
  }
  return false;
}

// An owner puts a slot only while the one so far before it is acknowledged, and so was stored.
// (Fewer slots behind an absent one are what a crash leaves.) And checkpoints are only of slots
// that were acknowledged.
Status Walker::check_tail() {
  SlotId next;
  std::string mine;
  {
    MutexLock lock(core_.mutex);
    next = core_.ledger.head().next;
    const SlotId& last = core_.ledger.head().last.slot;
    mine = checkpoint_key(last.epoch, last.seq);
  }
  const auto gone = [&](const std::string& sign) {
    return Status(Code::kCorrupt, "open " + core_.url + ": " + slot_key(next) + " is gone, but " +
                                      sign + " is there; put it back, see docs/OPERATIONS.md");
  };
  if (!known_.empty() && known_.front() > mine) return gone(known_.front());
  const std::string prefix = epoch_prefix(next);
  const ListResult listed =
      ask_.list(prefix, prefix + hex_number(next.seq + kPutsInFlightMax - 1, 12), 1);
  if (!listed.status.ok()) return to_status(listed.status);
  SlotId far;
  if (listed.objects.empty() || !parse_slot_key(listed.objects.front().key, &far)) return {};
  return gone(listed.objects.front().key);
}

Result<SlotIndex> Walker::read_index(const std::string& key, const SlotHeader& header,
                                     const GetResult& head) {
  const uint64_t begin = header.header_bytes, bytes = header.index_bytes;
  if (begin + bytes <= head.bytes.size()) {
    return decode_index(header, Bytes(head.bytes).subspan(begin, bytes));
  }
  const RamUse use(core_.ram, Ram::kReading, bytes);
  const GetResult rest = ask_.get(key, {begin, bytes});
  if (!rest.status.ok()) return to_status(rest.status);
  return decode_index(header, rest.bytes);
}

Result<Walker::Step> Walker::take(const std::string& key, GetResult head) {
  if (head.status.answer == Answer::kNotFound) return Step::kAbsent;
  if (!head.status.ok()) return to_status(head.status);
  misfit_ = {};
  auto header = decode_header(head.bytes);
  if (!header) {
    misfit_ = misfit_of(core_.url, key, header.status());
    return Step::kMisfit;
  }
  if (slot_key(header->slot) != key || header->object_bytes() != head.object_bytes) {
    misfit_ = misfit_of(core_.url, key,
                        Status(Code::kCorrupt, "it is not the object that belongs there, or cut"));
    return Step::kMisfit;
  }
  auto index = read_index(key, *header, head);
  if (!index) {
    const Code code = index.code();
    if (code != Code::kCorrupt && code != Code::kUnsupported && code != Code::kNotFound) {
      return index.status();
    }
    misfit_ = misfit_of(core_.url, key, index.status());
    return Step::kMisfit;
  }
  MutexLock lock(core_.mutex);
  const Status applied = core_.ledger.apply(*header, header_digest(*header, head.bytes), *index);
  if (applied.ok()) return header->kind == SlotKind::kFence ? Step::kFence : Step::kApplied;
  if (!core_.ledger.view_status().ok()) return of_view(core_.ledger.view_status());
  misfit_ = misfit_of(core_.url, key, applied);
  return Step::kMisfit;
}

Result<Walker::Step> Walker::step() {
  std::string key;
  {
    MutexLock lock(core_.mutex);
    key = slot_key(core_.ledger.head().next);
  }
  const RamUse use(core_.ram, Ram::kReading, kHeadBytes);
  auto step = take(key, ask_.get(key, {0, kHeadBytes}));
  // Perhaps it was the way here that damaged it.
  if (step && *step == Step::kMisfit) step = take(key, ask_.get(key, {0, kHeadBytes}));
  return step;
}

// The slots behind the next one that a list of the epoch shows, so that they are read in parallel.
// What is absent only a read decides.
Result<Walker::Step> Walker::walk_listed() {
  SlotId next;
  {
    MutexLock lock(core_.mutex);
    next = core_.ledger.head().next;
  }
  const std::string prefix = epoch_prefix(next);
  ListResult listed =
      ask_.list(prefix, next.seq == 0 ? prefix : prefix + hex_number(next.seq - 1, 12));
  if (!listed.status.ok()) return to_status(listed.status);
  std::deque<std::pair<std::string, Answering<GetResult>>> under_way;
  const RamUse use(core_.ram, Ram::kReading, kGetsAtOnce * kHeadBytes);
  size_t at = 0;
  for (Seq expected = next.seq;; ++expected) {
    while (at < listed.objects.size() && under_way.size() < kGetsAtOnce) {
      const std::string& key = listed.objects[at++].key;
      under_way.emplace_back(key, ask_.start_get(key, {0, kHeadBytes}));
    }
    SlotId slot = next;
    slot.seq = expected;
    // Behind a gap, and strangers among the names: the next step decides.
    while (!under_way.empty() && under_way.front().first != slot_key(slot)) under_way.pop_front();
    if (under_way.empty()) return Step::kApplied;
    auto [key, answer] = std::move(under_way.front());
    under_way.pop_front();
    auto step = take(key, ask_.finish_get(key, {0, kHeadBytes}, std::move(answer)));
    if (!step || *step != Step::kApplied) return step;
  }
}

Result<Walker::Step> Walker::to_tail() {
  for (bool look_ahead = false;;) {
    auto step = look_ahead ? walk_listed() : this->step();
    if (!step) return step;
    if (look_ahead && (*step == Step::kMisfit || *step == Step::kAbsent)) {
      step = this->step();  // the last word
      if (!step) return step;
    }
    if (*step == Step::kAbsent || *step == Step::kMisfit) return step;
    if (*step == Step::kFence && follows_) return step;
    // One read that finds something is worth a list.
    look_ahead = *step == Step::kApplied && !look_ahead;

    bool many;
    {
      MutexLock lock(core_.mutex);
      many = core_.ledger.pending_slots() >= kSlotsInRamMax;
    }
    if (!many) continue;
    if (!follows_) {
      auto moved = new_checkpoint();
      if (!moved) return moved.status();
      if (*moved) {
        misfit_ = Status(Code::kUnavailable,
                         "walk the journal of " + core_.url + ": it is being reclaimed; try again");
        return Step::kMisfit;
      }
    }
    if (Status status = apply_to_view(); !status.ok()) return status;
  }
}

Status Walker::apply_to_view() {
  ViewDelta delta;
  {
    MutexLock lock(core_.mutex);
    if (!core_.ledger.pending()) return {};
    delta = core_.ledger.take();
  }
  if (Status status = of_view(core_.view->apply(delta)); !status.ok()) return status;
  MutexLock lock(core_.mutex);
  core_.ledger.applied(delta);
  return {};
}

Status Walker::load(const std::string& key) {
  const GetResult got = ask_.get(key);
  if (!got.status.ok()) return to_status(got.status);
  const RamUse use(core_.ram, Ram::kReading, got.bytes.size());
  auto head = decode_checkpoint_head(got.bytes);
  if (!head) return head.status();
  const SlotId& last = head->head.last.slot;
  if (head->head.root_id != core_.root.id) {
    return Status(Code::kCorrupt, "it is another root's: either it, or the root object, was moved");
  }
  if (checkpoint_key(last.epoch, last.seq) != key) {
    return Status(Code::kCorrupt, "it is not the checkpoint that belongs there");
  }
  if (Status status = of_view(core_.view->reset()); !status.ok()) return status;
  Status view_status;
  head = decode_checkpoint(
      got.bytes, [&](const ViewDelta& delta) { return view_status = core_.view->apply(delta); });
  if (!view_status.ok()) return of_view(view_status);
  if (!head) return head.status();
  MutexLock lock(core_.mutex);
  const auto held = core_.ledger.held();
  core_.ledger.begin(head->head, core_.view.get());
  return of_view(core_.ledger.adopt(held));
}

Status Walker::load_checkpoint(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    Status status = load(key);
    // Perhaps it was the way here that damaged it.
    if (status.code() == Code::kCorrupt && !view_failed_) status = load(key);
    if (status.ok()) return {};
    const Code code = status.code();
    if (view_failed_ || (code != Code::kCorrupt && code != Code::kNotFound)) return status;
    core_.say(Level::kWarning, "read " + key + " of " + core_.url + ": " + status.message() +
                                   " (a checkpoint: an older one does too)");
  }
  return Status(Code::kNotFound, "no checkpoint of " + core_.url + " is whole");
}

// ---------------------------------------------------------------------------------------- opening

Opening::Opening(EngineCore& core)
    : core_(core), walker_(core, Cause::kOpen, core.options.open_timeout, false) {}

Status Opening::run() {
  bool created = false;
  if (Status status = find_root(&created); !status.ok()) return status;
  if (created) {
    if (Status status = begin_at_root(); !status.ok()) return status;
    first_slot_ = {1, root_.creator, 0};
    return {};
  }
  for (int lost = 0;; ++lost) {
    walker_.forget_view_failure();
    const Status status = attempt();
    if (status.ok() || !walker_.view_failed() || lost == 2) return status;
    if (Status mended = view_is_lost(status); !mended.ok()) return mended;
  }
}

// A view that is damaged is emptied; one that cannot be written is replaced by one in memory.
Status Opening::view_is_lost(const Status& why) {
  core_.say(Level::kWarning, why.message() + " (the view is built anew)");
  from_checkpoint_ = true;
  if (core_.view->reset().ok() && why.code() == Code::kCorrupt) return {};
  if (core_.spare_view == nullptr) return why;
  auto spare = core_.spare_view();
  core_.spare_view = nullptr;
  if (spare == nullptr) return why;
  core_.view = std::move(spare);
  return {};
}

Result<std::optional<ViewHead>> Opening::view_head() {
  if (core_.options.rebuild) from_checkpoint_ = true;
  if (from_checkpoint_) return std::optional<ViewHead>();
  auto head = core_.view->head();
  if (!head) {
    core_.say(Level::kWarning, head.status().message() + " (the view is built anew)");
    from_checkpoint_ = true;
    return std::optional<ViewHead>();
  }
  if (*head && !core_.view->note(EngineCore::kDamageNote).empty()) {
    from_checkpoint_ = true;
    return std::optional<ViewHead>();
  }
  // A load that was cut short.
  if (*head && (*head)->root_id == RootId{}) return std::optional<ViewHead>();
  return head;
}

Result<bool> Opening::create_root() {
  auto fill = [&](std::byte* at, size_t count) {
    for (size_t i = 0; i < count; i += 8) store_fixed(at + i, core_.runtime->random());
  };
  fill(root_.id.data(), root_.id.size());
  while (root_.creator == 0) root_.creator = core_.runtime->random();
  auto body = std::make_shared<const ByteVector>(encode_root(root_));
  const StoreStatus put = walker_.ask().put(std::string(kRootKey), body);
  if (!put.ok() && put.answer != Answer::kExists) return to_status(put);
  root_digest_ = sha256(*body);
  return put.ok();
}

Status Opening::find_root(bool* created) {
  const Nonce none = 0;
  const auto get_root = [&] {
    return walker_.ask().get_whole(std::string(kRootKey), {},
                                   [](Bytes bytes) { return decode_root(bytes).ok(); });
  };
  GetResult got = get_root();
  if (got.status.answer == Answer::kNotFound) {
    auto head = view_head();
    if (!head) return head.status();
    if (*head) {
      return Status(Code::kRolledBack,
                    "open " + core_.url + ": the store has no root, but the view " +
                        core_.view->path() + " knows one with " + std::to_string((*head)->slots) +
                        " slots; the store was emptied, or the view is another root's: see "
                        "docs/OPERATIONS.md, and rebuild=true if the store is right");
    }
    if (core_.options.read_only || !core_.options.create) {
      return Status(Code::kNotFound,
                    "open " + core_.url + ": there is no root; check the URL, or create it");
    }
    auto put = create_root();
    if (!put) return put.status();
    *created = *put;
    if (!*put) got = get_root();
  }
  if (!*created) {
    if (!got.status.ok()) return to_status(got.status);
    const Nonce mine = root_.creator;
    auto root = decode_root(got.bytes);
    if (!root) {
      return Status(root.code(),
                    "read root of " + core_.url + ": " + root.status().message() +
                        "; is it the right URL? Otherwise restore the object from a backup");
    }
    root_ = *root;
    root_digest_ = sha256(got.bytes);
    *created = mine != none && root_.creator == mine;  // an earlier try of ours was applied
  }
  core_.root = root_;
  return {};
}

Status Opening::begin_at_root() {
  // One that is empty stays as it is: it may hold notes about the store.
  auto head = core_.view->head();
  if (!head || *head) {
    if (Status status = core_.view->reset(); !status.ok()) {
      if (status = view_is_lost(status); !status.ok()) return status;
    }
  }
  MutexLock lock(core_.mutex);
  core_.ledger.begin_new(root_, root_digest_, core_.view.get());
  return {};
}

Result<bool> Opening::agrees(const std::string& key, const ViewHead& head) {
  const GetResult got = walker_.ask().get_whole(
      key, {}, [](Bytes bytes) { return decode_checkpoint_head(bytes).ok(); });
  if (got.status.answer == Answer::kNotFound) return false;
  if (!got.status.ok()) return to_status(got.status);
  const auto checkpoint = decode_checkpoint_head(got.bytes);
  if (!checkpoint || checkpoint->head.root_id != head.root_id) return false;
  const SlotId& last = head.last.slot;
  if (checkpoint->head.last.slot == last) return checkpoint->head.last.digest == head.last.digest;
  for (const EpochRow& row : checkpoint->epochs) {
    if (row.epoch != last.epoch) continue;
    return row.owner == last.owner && (!row.ended || last.seq <= row.fence);
  }
  return false;
}

// The view must stand on the chain: its last slot is there, or a checkpoint at or past it is of the
// same history. (What lies where a slot was reclaimed may be anything, as a late fence.)
Result<Opening::Outcome> Opening::check_view(const ViewHead& head,
                                             const std::vector<std::string>& checkpoints) {
  const auto refusal = [&](const std::string& what) {
    return Status(Code::kRolledBack,
                  "open " + core_.url + ": the view " + core_.view->path() + " " + what +
                      "; see docs/OPERATIONS.md, and rebuild=true if the store is right");
  };
  if (head.root_id != root_.id) return refusal("belongs to another root");
  if (head.last.slot.epoch == 0) {
    if (head.last.digest == root_digest_) return Outcome::kDone;
    return refusal("belongs to another root");
  }
  const std::string key = slot_key(head.last.slot);
  const GetResult got = walker_.ask().get_whole(
      key, {0, kSlotHeaderBytesMax}, [](Bytes bytes) { return decode_header(bytes).ok(); });
  Status why;
  if (got.status.answer == Answer::kNotFound) {
    why = refusal("knows the journal up to " + key + ", which the store does not have");
  } else if (!got.status.ok()) {
    return to_status(got.status);
  } else {
    const auto header = decode_header(got.bytes);
    if (header && header_digest(*header, got.bytes) == head.last.digest) return Outcome::kDone;
    if (!header) {
      why = misfit_of(core_.url, key, header.status());
    } else if (header->slot != head.last.slot) {
      why = misfit_of(core_.url, key, Status(Code::kCorrupt, "it belongs somewhere else"));
    } else {
      why = refusal("knows another object at " + key + " than the store has");
    }
  }
  for (const std::string& name : checkpoints) {
    if (name < checkpoint_key(head.last.slot.epoch, head.last.slot.seq)) break;
    auto same = agrees(name, head);
    if (!same) return same.status();
    if (*same) {
      from_checkpoint_ = true;
      return Outcome::kDone;
    }
  }
  // One that was stored since may be what it was reclaimed for.
  auto moved = walker_.new_checkpoint();
  if (!moved) return moved.status();
  if (*moved) return Outcome::kStartAgain;
  return why;
}

Result<Opening::Outcome> Opening::start(const std::vector<std::string>& checkpoints) {
  auto head = view_head();
  if (!head) return head.status();
  if (*head) {
    auto checked = check_view(**head, checkpoints);
    if (!checked || *checked == Outcome::kStartAgain) return checked;
  }
  std::vector<std::string> newer = checkpoints;
  if (*head && !from_checkpoint_) {
    const SlotId& last = (*head)->last.slot;
    const std::string mine = checkpoint_key(last.epoch, last.seq);
    newer.erase(std::find_if(newer.begin(), newer.end(),
                             [&](const std::string& key) { return key <= mine; }),
                newer.end());
  }
  if (WP_BUG(23) && *head && !from_checkpoint_) newer.clear();
  if (!newer.empty()) {
    const Status status = walker_.load_checkpoint(newer);
    if (status.ok()) return Outcome::kDone;
    if (status.code() != Code::kNotFound) return status;
  }
  // A load that failed in the middle has emptied the view.
  auto now = from_checkpoint_ ? Result<std::optional<ViewHead>>(std::optional<ViewHead>())
                              : core_.view->head();
  if (now && *now && (*now)->root_id == root_.id) {
    MutexLock lock(core_.mutex);
    core_.ledger.begin(**now, core_.view.get());
    return Outcome::kDone;
  }
  const Status begun = begin_at_root();
  return begun.ok() ? Result<Outcome>(Outcome::kDone) : begun;
}

Status Opening::attempt() {
  for (int round = 0; round < kRoundsMax; ++round) {
    auto checkpoints = walker_.checkpoints();
    if (!checkpoints) return checkpoints.status();
    auto started = start(*checkpoints);
    if (!started) return started.status();
    if (*started == Outcome::kStartAgain) continue;
    for (Outcome outcome = Outcome::kWalkOn; outcome == Outcome::kWalkOn;) {
      auto step = walker_.to_tail();
      if (!step) return step.status();
      if (*step == Walker::Step::kMisfit) {
        const Status misfit = walker_.misfit();
        auto moved = walker_.new_checkpoint();
        if (!moved) return moved.status();
        if (!*moved) return misfit;
        from_checkpoint_ = true;
        break;
      }
      auto finished = finish_at_tail();
      if (!finished) return finished.status();
      outcome = *finished;
      if (outcome != Outcome::kDone) continue;
      count_slots_since(*checkpoints);
      return {};
    }
  }
  return Status(Code::kUnavailable,
                "open " + core_.url + ": others keep taking it over; try later");
}

Result<Opening::Outcome> Opening::finish_at_tail() {
  if (Status status = walker_.check_tail(); !status.ok()) {
    // Unless it was reclaimed under the walk.
    auto moved = walker_.new_checkpoint();
    if (!moved || !*moved) return status;
    from_checkpoint_ = true;
    return Outcome::kStartAgain;
  }
  if (!core_.options.read_only) {
    auto fenced = put_fence();
    if (!fenced || *fenced != Outcome::kDone) return fenced;
  }
  auto moved = walker_.new_checkpoint();
  if (!moved) return moved.status();
  if (*moved && !WP_BUG(4)) {
    from_checkpoint_ = true;
    return Outcome::kStartAgain;
  }
  if (core_.options.read_only) return Outcome::kDone;
  MutexLock lock(core_.mutex);
  first_slot_ = core_.ledger.head().next;
  return Outcome::kDone;
}

// A fence at the tail, with a nonce of its own. It is applied to the ledger like any slot.
Result<Opening::Outcome> Opening::put_fence() {
  SlotHeader header;
  {
    MutexLock lock(core_.mutex);
    header.slot = core_.ledger.head().next;
    header.prev = core_.ledger.head().last;
  }
  header.kind = SlotKind::kFence;
  header.root = root_.id;
  while (header.author == 0) header.author = core_.runtime->random();
  header.body_digest = sha256({});
  header.index_crc = crc32c({});
  auto bytes = std::make_shared<ByteVector>(kSlotHeaderBytes);
  encode_header(header, bytes->data());
  const Body body = bytes;
  const std::string key = slot_key(header.slot);
  const StoreStatus put = walker_.ask().put(key, body);
  if (put.answer == Answer::kExists) {
    // Ours, if an earlier try was applied: the header holds our nonce.
    const GetResult got = walker_.ask().get(key, {0, kSlotHeaderBytesMax});
    if (got.status.answer == Answer::kNotFound) {
      from_checkpoint_ = true;
      return Outcome::kStartAgain;
    }
    if (!got.status.ok()) return to_status(got.status);
    if (got.bytes != *body && !WP_BUG(28)) return Outcome::kWalkOn;
  } else if (!put.ok()) {
    return to_status(put);
  }
  MutexLock lock(core_.mutex);
  const Status applied = core_.ledger.apply(header, header_digest(header, *body), {});
  if (!applied.ok()) return Status(Code::kInternal, "apply a fence: " + applied.message());
  return Outcome::kDone;
}

void Opening::count_slots_since(const std::vector<std::string>& checkpoints) {
  uint64_t slots = core_.options.checkpoint_slots;
  Epoch epoch = 0;
  Seq seq = 0;
  if (!checkpoints.empty() && parse_checkpoint_key(checkpoints.front(), &epoch, &seq)) {
    uint64_t found = 0;
    for (size_t page = kPage; page == kPage && found < core_.options.checkpoint_slots;) {
      const auto rows = core_.view->slots(epoch, ++seq, kPage);
      page = rows ? rows->size() : 0;
      for (size_t i = 0; i < page; ++i) {
        epoch = (*rows)[i].epoch;
        seq = (*rows)[i].seq;
        found += is_segment(seq) ? 0 : 1;
      }
    }
    MutexLock lock(core_.mutex);
    slots = found + core_.ledger.pending_slots();
  } else {
    MutexLock lock(core_.mutex);
    slots = core_.ledger.head().slots;
  }
  core_.keeper->set_slots_since_checkpoint(slots);
}

}  // namespace wp
