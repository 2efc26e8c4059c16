// A small journal of fixed content, made by the library's own encoders: what the golden bytes pin,
// and what the tests of damage damage.
#ifndef WP_TESTS_FORMAT_SAMPLES_H_
#define WP_TESTS_FORMAT_SAMPLES_H_

#include <string>
#include <string_view>
#include <vector>

#include "engine/batch.h"
#include "engine/bytes.h"
#include "engine/format.h"
#include "engine/view.h"

namespace wp {

// Makes a batch as the writer gathers it: entries side by side in chunks.
class BatchMaker {
 public:
  BatchMaker(int64_t time_base_ms, size_t chunk_bytes);
  void record(Record record) { batch_.records.push_back(std::move(record)); }
  // The first entry of a log in this batch has `lsn_first`.
  void entry(LogId log, Lsn lsn_first, int64_t time_ms, std::string_view payload,
             std::span<const Property> properties = {});
  Batch& batch() { return batch_; }

 private:
  Batch batch_{1};
  size_t chunk_bytes_;
};

// Slots that follow each other, from the root object on.
class ChainMaker {
 public:
  explicit ChainMaker(const RootObject& root);
  ByteVector fragment(BatchMaker& maker, uint32_t block_bytes, int level, bool closed = false);
  ByteVector fence(Nonce author);
  // Of the epoch that the next slot is in; its number is from 0.
  ByteVector segment(BatchMaker& maker, uint64_t number, uint32_t block_bytes, int level) const;
  const SlotId& next() const { return next_; }
  const Position& last() const { return last_; }

 private:
  RootId root_;
  Position last_;
  SlotId next_;
};

struct SampleObject {
  std::string name;  // of the sample
  std::string key;
  ByteVector bytes;
};
// root · one_log: a log's creation and entries in two blocks · many_logs: three logs, all record
// types, runs across blocks, times back and forth · closed: nothing but the end of an owner ·
// fence · compressed: blocks by zstd, behind the fence.
std::vector<SampleObject> sample_objects();
// What goes on behind them: segment: entries of two logs, gathered · upkeep: a slot with the
// records that keep a log small.
std::vector<SampleObject> upkeep_objects();
// One of those, or one of those that stand alone behind the root · properties: three logs whose
// index says which properties occur in their pieces: two, more than are counted, one, and none.
const SampleObject& sample(std::string_view name);

inline constexpr int64_t kSampleTimeMs = 1'700'000'000'000;
RootObject sample_root();
// What replaying those slots gives, and the checkpoint of it.
ViewDelta sample_view();
ByteVector sample_checkpoint();
// That view with settings, a segment and a dead slot; and the checkpoint of it.
ViewDelta upkeep_view();
ByteVector upkeep_checkpoint();

// A slot, decoded as far as a reader does it. `object` must outlive it.
struct DecodedSlot {
  SlotHeader header;
  SlotIndex index;
  std::vector<BlockPtr> blocks;
};
Result<DecodedSlot> decode_slot(Bytes object);
// The entries of a run in order. kCorrupt: one makes no sense, or there are not so many.
Result<std::vector<Entry>> decode_run(const DecodedSlot& slot, const Run& run);

// Makes the checksums right again after a change: of a root object, of a slot's header (and with
// `index` of its index), of a checkpoint. False: it is too short to have them.
bool repair_root(ByteVector& object);
bool repair_slot(ByteVector& object, bool index);
bool repair_checkpoint(ByteVector& object);

}  // namespace wp

#endif  // WP_TESTS_FORMAT_SAMPLES_H_
