// Makes the body of a segment: entries of some logs, gathered log by log and packed as a fragment's
// are. The bytes are described in docs/FORMAT.md.
#ifndef WP_ENGINE_SEGMENT_H_
#define WP_ENGINE_SEGMENT_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/format.h"
#include "engine/view.h"

namespace wp {

// A fragment or segment that entries are taken from.
struct SegmentSource {
  const SlotHeader& header;
  const SlotIndex& index;
  std::function<Result<BlockPtr>(uint32_t)> block;  // by number
};

class SegmentBuilder {
 public:
  SegmentBuilder(const RootId& root, const SlotId& name) : root_(root), name_(name) {}

  // The entries of a run of the source. Runs come in any order, but those of one log must follow
  // each other without a gap in the end. Empty: it is done; else what is wrong with the source; the
  // same runs may then be added again from another copy.
  std::string add(const RunRow& run, const SegmentSource& source);
  uint64_t raw_bytes() const { return raw_bytes_; }

  // The object, and the record that publishes it. Once, at the end.
  std::shared_ptr<const ByteVector> finish(uint32_t block_bytes, int compression_level,
                                           Record* record);

 private:
  struct Gathered {
    RunRow run;
    ByteVector bytes;                  // of its entries
    std::vector<CopiedEntry> entries;  // their sizes and times, for the pieces
  };
  void pack(const Gathered& from, uint32_t block_bytes, int level);
  void close_block(int level);

  const RootId root_;
  const SlotId name_;
  int64_t time_base_ms_ = 0;
  uint64_t raw_bytes_ = 0;
  std::map<std::pair<LogId, Lsn>, Gathered> runs_;

  bool has_properties_ = false;  // an entry may have
  SlotIndex index_;
  ByteVector block_, stored_;
};

}  // namespace wp

#endif  // WP_ENGINE_SEGMENT_H_
