// A fragment in the making: from the first entry that gathers in it to its acknowledgement.
#ifndef WP_ENGINE_BATCH_H_
#define WP_ENGINE_BATCH_H_

#include <memory>
#include <utility>
#include <vector>

#include "engine/cache.h"
#include "engine/ledger.h"
#include "engine/ram.h"
#include "engine/runtime.h"
#include "stores/object_store.h"

namespace wp {

// What a log has in the batch.
struct BatchRun {
  LogStatePtr log;
  Lsn lsn_first = 0;
  uint64_t count = 0, bytes = 0;
  int64_t time_first_ms = 0, time_last_ms = 0;
};

// Entries of one log that were appended one after the other, side by side in one chunk.
struct BatchSpan {
  uint32_t run = 0, chunk = 0, offset = 0, bytes = 0;
  uint64_t count = 0;
  int64_t time_last_ms = 0;
};

struct Batch {
  enum class State : uint8_t {
    kGathering,
    kClosed,   // it has its slot
    kSealing,  // is being compressed
    kSealed,
    kReady,     // its header is made
    kPutting,   // or waits to be put again
    kExists,    // the store says that the slot is taken: by whom?
    kChecking,  // is being asked
    kStored,
    kForeign,     // the slot is another's
    kUnreadable,  // it is taken, but what lies there is no slot
    kGone,        // the slot was taken, and is reclaimed: by whom cannot be known
  };
  explicit Batch(uint64_t number_given) : number(number_given) {}

  const uint64_t number;
  State state = State::kGathering;
  bool wanted = false;  // somebody waits
  bool full = false;
  bool last = false;            // says that the owner closed
  bool forced = false;          // is sent although there is nothing in it
  bool has_properties = false;  // an entry has

  // What gathered. From kSealing on only the sealer touches it.
  std::vector<std::shared_ptr<Block>> chunks;
  std::vector<BatchRun> runs;
  std::vector<BatchSpan> spans;
  std::vector<Record> records;
  std::vector<LogStatePtr> record_logs;
  std::vector<std::pair<Done, Lsn>> dones;
  RamUse dones_use;
  uint64_t bytes = 0, entries = 0;  // bytes as encoded
  int64_t time_base_ms = 0;
  TimePoint oldest = kNever;
  TimePoint closed_at = kNever;
  uint64_t chunk_bytes = 0;      // of all chunks
  uint64_t gathering_bytes = 0;  // of RAM, counted as such
  RamUse uploading;

  // What was made of it.
  SlotHeader header;
  Digest digest{};  // of the header
  SlotIndex index;
  std::vector<BlockPtr> blocks;
  std::shared_ptr<ByteVector> body;
  uint32_t tries = 0;                // puts
  uint32_t failures = 0;             // since something last went well
  Answer failed_with = Answer::kOk;  // the last of those
  TimePoint retry_at{};

  bool finished = false;
  Status status;
  CondVar changed;

  bool empty() const { return entries == 0 && records.empty() && !last && !forced; }
};

// Packs what gathered into blocks, compresses them, and makes the body but for the header. Chunks
// that became no block are left in `chunks`. Pure; takes long.
void seal(Batch& batch, uint32_t block_bytes, int compression_level, BlockPool& pool);

}  // namespace wp

#endif  // WP_ENGINE_BATCH_H_
