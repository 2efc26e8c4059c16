// Compaction: entries of many small objects, gathered in a few large ones. It makes reading back
// fast and the view small, and frees objects of which only a little is still in use.
//
// A plan is made from the view: which runs go into which segment. A job writes one segment: reads
// the runs, packs them, stores the object, and publishes it with one record in the journal. Before
// that record is durable nobody looks at the segment; after it the runs lie there, and the objects
// that they came from are no longer needed for them.
#ifndef WP_ENGINE_COMPACTION_H_
#define WP_ENGINE_COMPACTION_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/core.h"
#include "engine/segment.h"

namespace wp {

struct CompactionPlan {
  std::vector<std::vector<RunRow>> segments;  // the runs of each, by log and LSN
  uint64_t objects = 0, bytes = 0;            // that they lie in, as stored
  uint64_t debt_bytes = 0;  // as stored, of small or mostly unused objects that were looked at
  uint64_t looked_at = 0;   // objects
  ObjectId from;            // where to look next time, at what is left there
};

// What is worth it, looked for from that object on, some thousand objects at a time; with `eager`
// also little things. Objects in `avoid` are left alone.
Result<CompactionPlan> plan_compaction(View& view, const Options& options, bool eager,
                                       const std::set<ObjectId>& avoid, ObjectId from);

class CompactionJob : public std::enable_shared_from_this<CompactionJob> {
 public:
  struct Outcome {
    Status status;
    uint64_t segment_bytes = 0;        // where it was published
    std::string leftover;              // a segment that was stored and will not be published
    std::vector<ObjectId> unreadable;  // damaged ones
  };
  using Ended = std::function<void(Outcome)>;

  // `ended` runs once, on any thread with no lock held, unless the root is abandoned first.
  CompactionJob(EngineCore& core, const std::vector<RunRow>& runs, Ended ended);
  void start();

 private:
  struct Input {
    ObjectId id;
    std::vector<RunRow> runs;
    SlotId slot;
    std::string key;
    IndexPtr index;
    std::vector<std::byte> bytes;  // of the object, from `offset` on
    uint64_t offset = 0;
    std::map<uint32_t, BlockPtr> blocks;  // that the cache had
    int tries = 0;
    bool reread = false;  // damage was seen once: perhaps it was the way here
    RamUse use;
  };
  using InputPtr = std::shared_ptr<Input>;

  void fetch_more();
  void fetch(const InputPtr& input);
  void head_arrived(const InputPtr& input, GetResult got);
  void index_known(const InputPtr& input);
  void blocks_arrived(const InputPtr& input, GetResult got);
  bool failed(const InputPtr& input, const StoreStatus& status);
  void gone(const InputPtr& input);
  void damaged(const InputPtr& input, const std::string& what);
  void arrived(const InputPtr& input);
  void add_arrived();
  std::string add(Input& input);
  void build();
  void put();
  void put_done(const StoreStatus& status);
  void check();
  void publish();
  void retry(std::function<void()> again, const StoreStatus& status);
  void end(Status status);

  EngineCore& core_;
  Ended ended_;
  std::deque<InputPtr> waiting_;  // not yet asked for

  Mutex mutex_;
  std::deque<InputPtr> arrived_ WP_GUARDED_BY(mutex_);
  size_t under_way_ WP_GUARDED_BY(mutex_) = 0;  // asked for, and not yet added
  bool adding_ WP_GUARDED_BY(mutex_) = false;
  bool over_ WP_GUARDED_BY(mutex_) = false;

  SlotId name_;
  std::unique_ptr<SegmentBuilder> builder_;
  RamUse gathered_use_, object_use_;
  std::shared_ptr<const ByteVector> object_;
  Record record_;
  Outcome outcome_;
  int tries_ = 0;
  bool checked_again_ = false;
};

}  // namespace wp

#endif  // WP_ENGINE_COMPACTION_H_
