#include "engine/load.h"

#include <algorithm>

#include "engine/status.h"

namespace wp {
namespace {

constexpr int kTriesMax = 5;
constexpr std::chrono::milliseconds kRetryFirst{50};

}  // namespace

Load::Load(EngineCore& core, LogStatePtr log, const RunRow& run, Lsn from, bool whole,
           uint64_t bytes_wanted, std::shared_ptr<const PropertyFilter> filter)
    : core_(core),
      log_(std::move(log)),
      run_(run),
      from_(from),
      whole_(whole),
      bytes_wanted_(bytes_wanted),
      filter_(std::move(filter)),
      use_(core.ram, Ram::kReading, bytes_wanted) {}

void Load::start() {
  const auto owner = core_.owner_of(run_.epoch);
  if (!owner) return finish(owner.status());
  slot_ = {run_.epoch, *owner, run_.seq};
  key_ = slot_key(slot_);
  begin();
}

void Load::begin() {
  if (!reread_) {
    if (IndexPtr index = core_.cache.index(slot_.epoch, slot_.seq)) return index_arrived(index);
  }
  core_.store->get(key_, {0, kHeadBytes}, Cause::kRead, [self = shared_from_this()](GetResult got) {
    self->head_arrived(std::move(got));
  });
}

// True: it was an error, and is dealt with.
bool Load::failed(const StoreStatus& status) {
  if (status.ok()) return false;
  if (status.answer == Answer::kNotFound) {
    finish(Status(Code::kNotFound, key_));  // reclaimed, unless it is still where the run lies
  } else if (status.passing() && ++tries_ < kTriesMax) {
    const auto pause =
        std::max<std::chrono::nanoseconds>(kRetryFirst * (1 << tries_), status.retry_after);
    core_.runtime->call_at(core_.runtime->now() + pause,
                           [self = shared_from_this()] { self->begin(); });
  } else {
    finish(to_status(status));
  }
  return true;
}

void Load::damaged(const std::string& what) {
  if (!reread_) {
    reread_ = true;
    head_ = {};
    index_ = nullptr;
    return begin();
  }
  finish(corrupt(what));
}

Status Load::corrupt(const std::string& what) const {
  return Status(Code::kCorrupt, "read log " + log_->name + " of " + core_.url + ": LSN " +
                                    std::to_string(run_.lsn_first) + " to " +
                                    std::to_string(run_.lsn_first + run_.count - 1) +
                                    " cannot be read: " + key_ + ": " + what +
                                    "; run wp verify, and see docs/OPERATIONS.md");
}

void Load::head_arrived(GetResult got) {
  if (failed(got.status)) return;
  head_ = std::move(got);
  auto header = decode_header(head_.bytes);
  if (!header) return damaged(header.status().message());
  if (header->slot != slot_ || header->root != core_.root.id ||
      header->object_bytes() != head_.object_bytes) {
    return damaged("it is not the object that belongs there, or cut");
  }
  // The object was reclaimed, and an opener that had slept put its fence where it was.
  if (header->kind == SlotKind::kFence) return finish(Status(Code::kNotFound, key_));
  const auto use_index = [self = shared_from_this(), header = *header](Bytes bytes) {
    auto index = decode_index(header, bytes);
    if (!index) return self->damaged(index.status().message());
    auto whole = std::make_shared<FragmentIndex>(FragmentIndex{header, *std::move(index)});
    self->core_.cache.put(self->slot_.epoch, self->slot_.seq, whole);
    self->index_arrived(std::move(whole));
  };
  const uint64_t begin = header->header_bytes, bytes = header->index_bytes;
  if (begin + bytes <= head_.bytes.size()) {
    return use_index(Bytes(head_.bytes).subspan(begin, bytes));
  }
  core_.store->get(key_, {begin, bytes}, Cause::kRead,
                   [self = shared_from_this(), use_index](GetResult rest) {
                     if (!self->failed(rest.status)) use_index(rest.bytes);
                   });
}

void Load::index_arrived(IndexPtr index) {
  index_ = std::move(index);
  const Run* run = index_->index.run_as(run_);
  if (run == nullptr) {
    const std::string what = "its index knows other entries of the log";
    // The object is whole, and is what belongs there: then it is the view that is wrong.
    if (reread_) (void)core_.of_view(corrupt(what));
    return damaged(what);
  }
  choose_pieces(*run);
  get_blocks();
}

void Load::choose_pieces(const Run& run) {
  const SlotIndex& index = index_->index;
  pieces_.clear();
  blocks_.clear();
  const bool choosy = filter_ != nullptr && !index.properties.empty();
  uint64_t bytes = 0;
  Lsn end = from_;
  for (uint32_t i = index.piece_at(run, from_); i < run.piece_first + run.pieces; ++i) {
    const Piece& piece = index.pieces[i];
    const uint64_t block_bytes = index.blocks[piece.block].raw_bytes;
    const bool wanted = !choosy || filter_->may_match(index.properties[i]);
    if (wanted && !whole_ && !pieces_.empty() && bytes + block_bytes > bytes_wanted_) break;
    end = piece.lsn_first + piece.count;
    if (!wanted) continue;
    bytes += block_bytes;
    pieces_.push_back(piece);
    blocks_.push_back(reread_ ? nullptr : core_.cache.block(slot_.epoch, slot_.seq, piece.block));
  }
  MutexLock lock(core_.mutex);
  lsn_end_ = end;
  use_ = RamUse(core_.ram, Ram::kReading, std::max(bytes, bytes_wanted_));
}

// The next stretch of blocks that stand one behind the other, until all are here. Without a filter
// that is one.
void Load::get_blocks() {
  const auto missing = std::find(blocks_.begin(), blocks_.end(), nullptr);
  if (missing == blocks_.end()) return finish({});
  stretch_begin_ = static_cast<size_t>(missing - blocks_.begin());
  stretch_end_ = stretch_begin_ + 1;
  for (size_t i = stretch_end_; i < pieces_.size(); ++i) {
    if (pieces_[i].block != pieces_[i - 1].block + 1) break;
    if (blocks_[i] == nullptr) stretch_end_ = i + 1;
  }
  const std::vector<BlockInfo>& blocks = index_->index.blocks;
  const BlockInfo& last = blocks[pieces_[stretch_end_ - 1].block];
  range_begin_ = blocks[pieces_[stretch_begin_].block].offset;
  range_end_ = last.offset + last.stored_bytes;
  if (range_end_ <= head_.bytes.size()) {
    core_.runtime->work([self = shared_from_this()] { self->decode(0, self->head_.bytes); });
    return;
  }
  core_.store->get(
      key_, {range_begin_, range_end_ - range_begin_}, Cause::kRead,
      [self = shared_from_this()](GetResult got) { self->blocks_arrived(std::move(got)); });
}

void Load::blocks_arrived(GetResult got) {
  if (failed(got.status)) return;
  if (got.object_bytes != index_->header.object_bytes() ||
      got.bytes.size() != range_end_ - range_begin_) {
    return damaged("it is cut");
  }
  tries_ = 0;  // of the next stretch
  core_.runtime->work([self = shared_from_this(),
                       bytes = std::make_shared<const std::vector<std::byte>>(
                           std::move(got.bytes))] { self->decode(self->range_begin_, *bytes); });
}

// `bytes` are the object's from `offset` on.
void Load::decode(uint64_t offset, const std::vector<std::byte>& bytes) {
  for (size_t i = stretch_begin_; i < stretch_end_; ++i) {
    if (blocks_[i] != nullptr) continue;
    const uint32_t number = pieces_[i].block;
    const BlockInfo& info = index_->index.blocks[number];
    auto block = decode_block(info, Bytes(bytes).subspan(info.offset - offset, info.stored_bytes),
                              core_.blocks.get());
    if (!block) return damaged(block.status().message());
    blocks_[i] = *std::move(block);
    core_.cache.put(slot_.epoch, slot_.seq, number, blocks_[i]);
  }
  get_blocks();
}

void Load::finish(Status status) {
  head_ = {};
  MutexLock lock(core_.mutex);
  status_ = std::move(status);
  ready_ = true;
  log_->news.notify_all();
}

}  // namespace wp
