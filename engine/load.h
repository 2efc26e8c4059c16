// One stretch of a log on its way from the store to a reader: find the fragment's index, get the
// blocks that are not in the cache, decode them on a worker.
#ifndef WP_ENGINE_LOAD_H_
#define WP_ENGINE_LOAD_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/core.h"
#include "engine/filter.h"

namespace wp {

class Load : public std::enable_shared_from_this<Load> {
 public:
  // Entries of the run from `from` on: all of them if `whole`, else at least one block and about
  // `bytes_wanted`. With a filter, pieces without any entry that it wants are left out.
  Load(EngineCore& core, LogStatePtr log, const RunRow& run, Lsn from, bool whole,
       uint64_t bytes_wanted, std::shared_ptr<const PropertyFilter> filter = nullptr);
  // Readers of the log are woken when it is ready; that may be before this returns.
  void start();

  // With the engine's lock held.
  bool ready() const { return ready_; }
  const RunRow& run() const { return run_; }
  // What a reader is told about damage in it.
  Status corrupt(const std::string& what) const;
  // One past the last entry in it; 0: not yet known.
  Lsn lsn_end() const { return lsn_end_ == 0 && whole_ ? run_.lsn_first + run_.count : lsn_end_; }
  // The rest only when ready.
  // kNotFound: the object is gone.
  const Status& status() const { return status_; }
  size_t pieces() const { return pieces_.size(); }
  const Piece& piece(size_t i) const { return pieces_[i]; }
  const BlockPtr& block(size_t i) const { return blocks_[i]; }
  int64_t time_base_ms() const { return index_->header.time_base_ms; }

 private:
  void begin();
  void head_arrived(GetResult head);
  void index_arrived(IndexPtr index);
  void choose_pieces(const Run& run);
  void get_blocks();
  void blocks_arrived(GetResult got);
  void decode(uint64_t offset, const std::vector<std::byte>& bytes);
  bool failed(const StoreStatus& status);
  void damaged(const std::string& what);
  void finish(Status status);

  EngineCore& core_;
  const LogStatePtr log_;
  const RunRow run_;
  const Lsn from_;
  const bool whole_;
  const uint64_t bytes_wanted_;
  const std::shared_ptr<const PropertyFilter> filter_;  // null: all entries
  RamUse use_;

  SlotId slot_;
  std::string key_;
  IndexPtr index_;
  GetResult head_;  // the object's first bytes, where they were read
  std::vector<Piece> pieces_;
  std::vector<BlockPtr> blocks_;                // of the pieces; null: to be read
  size_t stretch_begin_ = 0, stretch_end_ = 0;  // pieces whose blocks are got with one request
  uint64_t range_begin_ = 0, range_end_ = 0;    // and where those stand in the object
  int tries_ = 0;
  bool reread_ = false;  // damage was seen once: perhaps it was the way here

  bool ready_ = false;
  Status status_;
  Lsn lsn_end_ = 0;
};

}  // namespace wp

#endif  // WP_ENGINE_LOAD_H_
