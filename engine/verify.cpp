#include "engine/verify.h"

#include <algorithm>
#include <deque>
#include <map>

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
  Status check_objects();
  Status check_logs();
  Status check_checkpoints();
  void start_rows();
  Status next_rows();
  Status count_rows();
  Status fill(std::deque<Object>& ahead);
  bool is_forgotten(const SlotRow& row);
  Result<std::string> key_of(Epoch epoch, Seq seq);
  bool is_stray(const SlotRow& row, const std::string& key, const GetResult& got);
  bool is_at_home(const SlotHeader& header, const std::string& key) const;
  void check_object(const SlotRow& row, const std::string& key, GetResult& got);
  std::string what_is_wrong(const SlotRow& row, const std::string& key, const GetResult& got);
  std::string check_place(const SlotHeader& header, const std::string& key);
  std::string check_body(const SlotRow& row, const SlotHeader& header, Bytes object);
  Result<std::string> check_rows(const SlotRow& row, const SlotIndex& index);
  Status check_log(LogState& log);
  Lsn lsn_first_now(const LogState& log);
  Status gap(const LogRow& log, Lsn first, Lsn last, const RunRow& behind);
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
  Position last_;                       // of the chain; without a digest behind damage
  bool chain_known_ = true;             // last_.digest is
  Position end_;                        // where the journal ends
  std::map<ObjectId, SlotRow> behind_;  // what the view lacked at the start
  // Objects by their rows: those of the view, and then what is left of these.
  std::map<ObjectId, SlotRow> left_;
  std::deque<SlotRow> rows_;
  ObjectId rows_next_;  // where the next page of rows begins
  bool rows_ended_ = false;
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
  const GetResult got = ask_.get_whole(std::string(kRootKey), {},
                                       [](Bytes bytes) { return decode_root(bytes).ok(); });
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

// ------------------------------------------------------------------------------------- the rows

void Verifier::start_rows() {
  left_ = behind_;
  rows_.clear();
  rows_next_ = {};
  rows_ended_ = false;
}

// Rows behind those that were given, none at the end. What the view lacked may be in it by now.
// Slots past the end are none of ours; a segment is stored before a slot says so.
Status Verifier::next_rows() {
  while (rows_.empty() && !rows_ended_) {
    auto page = core_.view->slots(rows_next_.epoch, rows_next_.seq, kPage);
    if (!page) return page.status();
    if (page->empty()) {
      for (const auto& [id, row] : left_) page->push_back(row);
      rows_ended_ = true;
    } else {
      rows_next_ = {page->back().epoch, page->back().seq + 1};
    }
    for (const SlotRow& row : *page) {
      const auto newer = left_.find({row.epoch, row.seq});
      const bool ours = is_segment(row.seq) ? row.epoch <= end_.slot.epoch
                                            : !slot_before(end_.slot, {row.epoch, 0, row.seq});
      if (ours) rows_.push_back(newer == left_.end() ? row : newer->second);
      if (newer != left_.end() && !rows_ended_) left_.erase(newer);
    }
  }
  return {};
}

Status Verifier::count_rows() {
  for (start_rows();; rows_.clear()) {
    if (Status status = next_rows(); !status.ok()) return status;
    if (rows_.empty()) break;
    at_.objects_total += rows_.size();
  }
  start_rows();
  return {};
}

Result<std::string> Verifier::key_of(Epoch epoch, Seq seq) {
  const auto owner = core_.owner_of(epoch);
  if (!owner) return owner.status();
  return slot_key({epoch, *owner, seq});
}

// ---------------------------------------------------------------------------------- the objects

Status Verifier::fill(std::deque<Object>& ahead) {
  while (ahead.size() < kAhead) {
    if (Status status = next_rows(); !status.ok()) return status;
    if (rows_.empty()) return {};
    const SlotRow row = rows_.front();
    // Large ones only one at a time.
    if (!ahead.empty() && core_.ram.of(Ram::kReading) + row.bytes > core_.ram.reading_max()) {
      return {};
    }
    rows_.pop_front();
    auto key = key_of(row.epoch, row.seq);
    if (!key) return key.status();
    Object object{row, *std::move(key), {}, {}};
    object.use = RamUse(core_.ram, Ram::kReading, row.bytes);
    object.answer = ask_.start_get(object.key, {});
    ahead.push_back(std::move(object));
  }
  return {};
}

Status Verifier::check_objects() {
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
    check_object(object.row, object.key, got);
    object_done(got.bytes.size());
  }
}

// Whether an object may be gone: it was dead, or has died and was deleted since its row was read.
bool Verifier::is_forgotten(const SlotRow& row) {
  if (row.dead != 0) return true;
  const auto now = core_.view->slots(row.epoch, row.seq, 1);
  if (!now) return false;
  const bool there =
      !now->empty() && now->front().epoch == row.epoch && now->front().seq == row.seq;
  return there ? now->front().dead != 0 : !behind_.contains({row.epoch, row.seq});
}

// Where a slot was deleted and is not yet forgotten there is nothing, or a late opener's fence.
bool Verifier::is_stray(const SlotRow& row, const std::string& key, const GetResult& got) {
  bool stray = got.status.answer == Answer::kNotFound;
  if (got.status.ok()) {
    const auto header = decode_header(got.bytes);
    stray = header && header->kind == SlotKind::kFence && is_at_home(*header, key);
  }
  return stray && is_forgotten(row);
}

bool Verifier::is_at_home(const SlotHeader& header, const std::string& key) const {
  return slot_key(header.slot) == key && header.root == core_.root.id;
}

void Verifier::check_object(const SlotRow& row, const std::string& key, GetResult& got) {
  if (is_stray(row, key, got)) return;
  std::string what = what_is_wrong(row, key, got);
  if (!what.empty() && got.status.ok()) {  // perhaps it was damaged on the way here
    GetResult again = ask_.get(key);
    if (is_stray(row, key, again)) return;
    if (again.status.ok()) {
      got = std::move(again);
      what = what_is_wrong(row, key, got);
    }
  }
  if (!what.empty()) damaged_slot(row, key, what);
  if (is_segment(row.seq)) return;  // stands beside the chain
  const auto header = decode_header(got.bytes);
  chain_known_ = header.ok() && slot_key(header->slot) == key;
  if (chain_known_) last_ = {header->slot, header_digest(*header, got.bytes)};
}

// Empty: nothing.
std::string Verifier::what_is_wrong(const SlotRow& row, const std::string& key,
                                    const GetResult& got) {
  if (got.status.answer == Answer::kNotFound) return "the object is gone";
  if (!got.status.ok()) return got.status.message;
  const auto header = decode_header(got.bytes);
  if (!header) return header.status().message();
  std::string what = check_place(*header, key);
  return what.empty() ? check_body(row, *header, got.bytes) : what;
}

// A slot whose predecessor was forgotten, or is damaged, has no digest to be compared.
std::string Verifier::check_place(const SlotHeader& header, const std::string& key) {
  if (!is_at_home(header, key)) return "it is not the object that belongs there";
  const bool known = chain_known_ && !is_segment(header.slot.seq) && header.prev.slot == last_.slot;
  if (known && header.prev.digest != last_.digest) {
    return "it does not follow the object before it";
  }
  return {};
}

// What is wrong with the object behind its header; empty: nothing.
std::string Verifier::check_body(const SlotRow& row, const SlotHeader& header, Bytes object) {
  if (object.size() != header.object_bytes()) {
    return "it has " + std::to_string(object.size()) + " bytes, and not " +
           std::to_string(header.object_bytes());
  }
  const Bytes body = object.subspan(header.header_bytes);
  if (sha256(body) != header.body_digest) return "its body does not match its digest";
  const auto index = decode_index(header, body.first(header.index_bytes));
  if (!index) return index.status().message();
  std::string what = check_runs(header, *index, object);
  if (!what.empty()) return what;
  const auto rows = check_rows(row, *index);
  what = rows ? *rows : rows.status().message();
  if (what.empty()) at_.entries_done += header.entries;
  return what;
}

// Whatever the view says to lie in the object lies there.
Result<std::string> Verifier::check_rows(const SlotRow& row, const SlotIndex& index) {
  std::string what;
  const Status status = each_run_in(*core_.view, {row.epoch, row.seq}, 0, [&](const RunRow& run) {
    if (index.run_as(run) != nullptr) return true;
    what = "it does not hold LSN " + std::to_string(run.lsn_first) + " to " +
           std::to_string(run.lsn_first + run.count - 1) + " of log " + std::to_string(run.log) +
           ", as the view says";
    return false;
  });
  if (!status.ok()) return status;
  return what;
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
  int64_t time = run.time_first_ms;
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
    if (time != piece.time_last_ms) return "an entry has another time than the index says";
  }
  return {};
}

// ------------------------------------------------------------------------------------- the logs

Status Verifier::check_logs() {
  const auto logs = core_.all_logs();
  if (!logs) return logs.status();
  for (const LogStatePtr& log : *logs) {
    if (Status status = core_.usable(); !status.ok()) return status;
    if (Status status = check_log(*log); !status.ok()) return status;
  }
  return {};
}

// The runs of a log follow each other without a gap. What is truncated or gathered in a segment
// meanwhile changes what the next page begins with: it holds the LSN all the same.
Status Verifier::check_log(LogState& log) {
  const LogRow row = [&] {
    MutexLock lock(core_.mutex);
    return log.row;
  }();
  for (Lsn next = row.lsn_first; next < row.lsn_next;) {
    const auto runs = core_.runs_from(log, next, kPage);
    if (!runs) return runs.status();
    const Lsn begin = next;
    const RunRow* behind = nullptr;
    for (const RunRow& run : *runs) {
      const bool holds = run.lsn_first == next || (next == begin && run.lsn_first < next);
      if (!holds) {
        behind = &run;
        break;
      }
      next = run.lsn_first + run.count;
    }
    if (next != begin) continue;
    next = lsn_first_now(log);
    if (next > begin) continue;  // truncated, or dropped
    const Lsn last = (behind == nullptr ? row.lsn_next : behind->lsn_first) - 1;
    const RunRow end{log.id, row.lsn_next, 0, end_.slot.epoch, end_.slot.seq, 0, 0, 0, 0};
    return gap(row, begin, last, behind == nullptr ? end : *behind);
  }
  return {};
}

// kNumberEnd: the log is gone.
Lsn Verifier::lsn_first_now(const LogState& log) {
  const auto now = core_.find_log(log.name);
  if (!now) return 0;
  if (*now == nullptr || (*now)->id != log.id) return kNumberEnd;
  MutexLock lock(core_.mutex);
  return (*now)->row.lsn_first;
}

Status Verifier::gap(const LogRow& log, Lsn first, Lsn last, const RunRow& behind) {
  auto key = key_of(behind.epoch, behind.seq);
  if (!key) return key.status();
  ++damages_;
  const Damage damage{*std::move(key), "no object holds the entries before it", log.name, first,
                      last};
  at_.damage = &damage;
  if (progress_) progress_(at_);
  at_.damage = nullptr;
  return {};
}

// -------------------------------------------------------------------------------- checkpoints, all

Status Verifier::check_checkpoints() {
  Walker walker(core_, Cause::kVerify, std::nullopt, false);
  auto keys = walker.checkpoints();
  if (!keys) return keys.status();
  at_.objects_total = at_.objects_done + keys->size();
  for (const std::string& key : *keys) {
    const auto decoded = [](Bytes bytes) {
      return decode_checkpoint(bytes, [](const ViewDelta&) { return Status(); });
    };
    const GetResult got = ask_.get_whole(key, {}, [&](Bytes bytes) { return decoded(bytes).ok(); });
    if (got.status.answer == Answer::kNotFound) continue;  // replaced by a newer one
    if (!got.status.ok()) return to_status(got.status);
    const auto checkpoint = decoded(got.bytes);
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
    end_ = core_.ledger.head().last;
    for (const SlotRow& row : core_.ledger.slots_behind()) behind_[{row.epoch, row.seq}] = row;
  }
  at_.objects_total = 1;
  if (Status status = count_rows(); !status.ok()) return status;
  if (Status status = check_root(); !status.ok()) return status;
  if (Status status = check_objects(); !status.ok()) return status;
  if (Status status = check_logs(); !status.ok()) return status;
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
