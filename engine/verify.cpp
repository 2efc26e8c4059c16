#include "engine/verify.h"

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "engine/ask.h"
#include "engine/checkpoint.h"
#include "engine/opening.h"
#include "engine/status.h"
#include "engine/view_keeper.h"

namespace wp {
namespace {

constexpr size_t kAhead = 4;
constexpr size_t kPage = 1000;

class Verifier {
 public:
  Verifier(EngineCore& core, const Progress& progress)
      : core_(core),
        progress_(progress),
        ask_(*core.store, *core.runtime, Cause::kVerify, std::nullopt) {}

  Status run();

 private:
  struct Object {
    SlotRow row;
    std::string key;
    Answering<GetResult> answer;
    RamUse use;
  };

  Status check_root();
  Status check_slots();
  Status check_checkpoints();
  std::vector<SlotRow> slots_behind();
  Status fill(std::deque<Object>& ahead);
  void check_slot(const SlotRow& row, const std::string& key, const GetResult& got);
  std::string check_body(const SlotHeader& header, Bytes object);
  std::string check_runs(const SlotHeader& header, const SlotIndex& index, Bytes object);
  std::string check_run(const SlotHeader& header, const SlotIndex& index, const Run& run,
                        const std::vector<BlockPtr>& blocks);
  void damaged(const std::string& key, const std::string& what);
  void damaged_slot(const SlotRow& row, const std::string& key, const std::string& what);
  void object_done(uint64_t bytes);

  EngineCore& core_;
  const Progress& progress_;
  Ask ask_;
  VerifyProgress at_;
  uint64_t damages_ = 0;
  Position last_;            // of the chain; without a digest behind damage
  bool chain_known_ = true;  // last_.digest is
  Position end_;             // where the journal ends
  std::deque<SlotRow> rows_;
  Epoch row_epoch_ = 0;  // where the next page of rows begins
  Seq row_seq_ = 0;
  bool rows_ended_ = false;
  std::unordered_map<LogId, Lsn> lsn_next_;
};

void Verifier::damaged(const std::string& key, const std::string& what) {
  ++damages_;
  Damage damage;
  damage.object = key;
  damage.what = what;
  at_.damage = &damage;
  if (progress_) progress_(at_);
  at_.damage = nullptr;
}

// Which entries it had only the view knows. Slow, but nobody has much damage.
void Verifier::damaged_slot(const SlotRow& row, const std::string& key, const std::string& what) {
  ++damages_;
  bool told = false;
  const auto logs = core_.all_logs();
  for (const LogStatePtr& log : logs ? *logs : std::vector<LogStatePtr>()) {
    for (Lsn lsn = 1;;) {
      const auto runs = core_.runs_from(*log, lsn, kPage);
      if (!runs || runs->empty()) break;
      for (const RunRow& run : *runs) {
        lsn = run.lsn_first + run.count;
        if (run.epoch != row.epoch || run.seq != row.seq) continue;
        Damage damage{key, what, log->name, run.lsn_first, lsn - 1};
        lsn_next_[log->id] = lsn;
        at_.damage = &damage;
        if (progress_) progress_(at_);
        told = true;
      }
    }
  }
  at_.damage = nullptr;
  if (told) return;
  --damages_;
  damaged(key, what);
}

void Verifier::object_done(uint64_t bytes) {
  ++at_.objects_done;
  at_.bytes_done += bytes;
  if (progress_) progress_(at_);
}

Status Verifier::check_root() {
  const GetResult got = ask_.get(std::string(kRootKey));
  if (!got.status.ok() && got.status.answer != Answer::kNotFound) return to_status(got.status);
  auto root = decode_root(got.bytes);
  if (!got.status.ok()) {
    damaged(std::string(kRootKey), "the object is gone");
  } else if (!root) {
    damaged(std::string(kRootKey), root.status().message());
  } else if (root->id != core_.root.id) {
    damaged(std::string(kRootKey), "it is another root's");
  }
  last_.digest = sha256(got.bytes);
  object_done(got.bytes.size());
  return {};
}

std::vector<SlotRow> Verifier::slots_behind() {
  MutexLock lock(core_.mutex);
  return core_.ledger.slots_behind();
}

Status Verifier::fill(std::deque<Object>& ahead) {
  while (ahead.size() < kAhead) {
    if (rows_.empty() && !rows_ended_) {
      // First what the view lacks: what goes there meanwhile is then in both.
      const auto behind = slots_behind();
      auto page = core_.view->slots(row_epoch_, row_seq_, kPage);
      if (!page) return page.status();
      if (page->empty()) {
        *page = behind;
        rows_ended_ = true;
      }
      for (const SlotRow& row : *page) {
        if (row.epoch < row_epoch_ || (row.epoch == row_epoch_ && row.seq < row_seq_)) continue;
        row_epoch_ = row.epoch;
        row_seq_ = row.seq + 1;
        if (row.epoch < end_.slot.epoch ||
            (row.epoch == end_.slot.epoch && row.seq <= end_.slot.seq)) {
          rows_.push_back(row);
        }
      }
    }
    if (rows_.empty()) return {};
    const SlotRow row = rows_.front();
    // Large ones only one at a time.
    if (!ahead.empty() && core_.ram.of(Ram::kReading) + row.bytes > core_.ram.reading_max()) {
      return {};
    }
    rows_.pop_front();
    const auto owner = core_.owner_of(row.epoch);
    if (!owner) return owner.status();
    Object object{row, slot_key({row.epoch, *owner, row.seq}), {}, {}};
    object.use = RamUse(core_.ram, Ram::kReading, row.bytes);
    object.answer = ask_.start_get(object.key, {});
    ahead.push_back(std::move(object));
  }
  return {};
}

Status Verifier::check_slots() {
  std::deque<Object> ahead;
  for (;;) {
    if (Status status = fill(ahead); !status.ok()) return status;
    if (ahead.empty()) return {};
    if (Status status = core_.usable(); !status.ok()) return status;
    Object object = std::move(ahead.front());
    ahead.pop_front();
    GetResult got = ask_.finish_get(object.key, {}, std::move(object.answer));
    if (!got.status.ok() && got.status.answer != Answer::kNotFound &&
        got.status.answer != Answer::kCorrupt) {
      return to_status(got.status);
    }
    check_slot(object.row, object.key, got);
    object_done(got.bytes.size());
  }
}

void Verifier::check_slot(const SlotRow& row, const std::string& key, const GetResult& got) {
  std::string what;
  auto header = decode_header(got.bytes);
  if (!got.status.ok()) {
    what = got.status.answer == Answer::kNotFound ? "the object is gone" : got.status.message;
  } else if (!header) {
    what = header.status().message();
  } else if (slot_key(header->slot) != key || header->root != core_.root.id) {
    what = "it is not the object that belongs there";
  } else if (chain_known_ && header->prev.digest != last_.digest) {
    what = "it does not follow the object before it";
  } else {
    what = check_body(*header, got.bytes);
  }
  if (!what.empty()) damaged_slot(row, key, what);
  chain_known_ = header.ok() && slot_key(header->slot) == key;
  if (chain_known_) last_ = {header->slot, header_digest(*header, got.bytes)};
}

// What is wrong with the object behind its header; empty: nothing.
std::string Verifier::check_body(const SlotHeader& header, Bytes object) {
  if (object.size() != header.object_bytes()) {
    return "it has " + std::to_string(object.size()) + " bytes, and not " +
           std::to_string(header.object_bytes());
  }
  const Bytes body = object.subspan(header.header_bytes);
  if (sha256(body) != header.body_digest) return "its body does not match its digest";
  const auto index = decode_index(header, body.first(header.index_bytes));
  if (!index) return index.status().message();
  return check_runs(header, *index, object);
}

std::string Verifier::check_runs(const SlotHeader& header, const SlotIndex& index, Bytes object) {
  std::vector<BlockPtr> blocks;
  for (const BlockInfo& info : index.blocks) {
    auto block =
        decode_block(info, object.subspan(info.offset, info.stored_bytes), core_.blocks.get());
    if (!block) return block.status().message();
    blocks.push_back(*std::move(block));
  }
  for (const Run& run : index.runs) {
    std::string what = check_run(header, index, run, blocks);
    if (!what.empty()) return what;
  }
  at_.entries_done += header.entries;
  return {};
}

namespace {

std::vector<uint32_t> hashes_of(const Entry& entry) {
  std::vector<uint32_t> hashes;
  for (const Property& each : entry.properties()) {
    hashes.push_back(property_hash(each.key, each.value));
  }
  return hashes;
}

}  // namespace

std::string Verifier::check_run(const SlotHeader& header, const SlotIndex& index, const Run& run,
                                const std::vector<BlockPtr>& blocks) {
  Lsn& next = lsn_next_.try_emplace(run.log, run.lsn_first).first->second;
  if (next != run.lsn_first) {
    return "log " + std::to_string(run.log) + " goes on at LSN " + std::to_string(run.lsn_first) +
           ", and not at " + std::to_string(next);
  }
  next = run.lsn_first + run.count;
  int64_t time = INT64_MIN;
  for (uint32_t i = run.piece_first; i < run.piece_first + run.pieces; ++i) {
    const Piece& piece = index.pieces[i];
    EntryCursor cursor(blocks[piece.block],
                       blocks[piece.block]->bytes().subspan(piece.offset, piece.bytes),
                       piece.lsn_first, header.time_base_ms);
    Entry entry;
    uint64_t count = 0;
    for (; !cursor.done(); ++count) {
      if (!cursor.next(&entry)) return "an entry makes no sense";
      if (entry.time_ms < time) return "times decrease within a log";
      time = entry.time_ms;
      if (!index.properties.empty() && !index.properties[i].may_hold(hashes_of(entry))) {
        return "an entry has a property that the index does not know";
      }
    }
    if (count != piece.count) return "a block has another number of entries than the index says";
  }
  return {};
}

Status Verifier::check_checkpoints() {
  Walker walker(core_, Cause::kVerify, std::nullopt, false);
  auto keys = walker.checkpoints();
  if (!keys) return keys.status();
  at_.objects_total += keys->size();
  for (const std::string& key : *keys) {
    const GetResult got = ask_.get(key);
    if (got.status.answer == Answer::kNotFound) continue;  // replaced by a newer one
    if (!got.status.ok()) return to_status(got.status);
    const auto nothing = [](const ViewDelta&) { return Status(); };
    const auto checkpoint = decode_checkpoint(got.bytes, nothing);
    if (!checkpoint) {
      damaged(key, checkpoint.status().message());
    } else if (checkpoint->head.root_id != core_.root.id ||
               checkpoint_key(checkpoint->head.last.slot.epoch, checkpoint->head.last.slot.seq) !=
                   key) {
      damaged(key, "it is not the object that belongs there");
    }
    object_done(got.bytes.size());
  }
  return {};
}

Status Verifier::run() {
  // The view then knows all slots; where it cannot be written, RAM knows the rest.
  if (core_.writer != nullptr) (void)core_.keeper->drain(kNever);
  {
    MutexLock lock(core_.mutex);
    const ViewHead& head = core_.ledger.head();
    end_ = head.last;
    at_.objects_total = 1 + head.slots;
  }
  if (Status status = check_root(); !status.ok()) return status;
  if (Status status = check_slots(); !status.ok()) return status;
  if (Status status = check_checkpoints(); !status.ok()) return status;
  if (damages_ == 0) return {};
  return Status(Code::kCorrupt, "verify " + core_.url + ": " + std::to_string(damages_) +
                                    " objects are damaged; see docs/OPERATIONS.md");
}

}  // namespace

Status verify_root(EngineCore& core, const Progress& progress) {
  return Verifier(core, progress).run();
}

}  // namespace wp
