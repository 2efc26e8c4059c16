// Decoded blocks and indexes of fragments that were written or read lately: the tail of every log
// is read from here. What was used longest ago goes first.
#ifndef WP_ENGINE_CACHE_H_
#define WP_ENGINE_CACHE_H_

#include <list>
#include <map>
#include <memory>
#include <tuple>

#include "engine/format.h"
#include "engine/ram.h"
#include "engine/sync.h"

namespace wp {

// What a reader must know of a fragment to find entries in it.
struct FragmentIndex {
  SlotHeader header;
  SlotIndex index;
};
using IndexPtr = std::shared_ptr<const FragmentIndex>;

class BlockCache {
 public:
  explicit BlockCache(RamBudget& ram) : ram_(ram) {}
  ~BlockCache();

  void put(Epoch epoch, Seq seq, IndexPtr index);
  void put(Epoch epoch, Seq seq, uint32_t block, BlockPtr bytes);
  IndexPtr index(Epoch epoch, Seq seq);                   // null: not here
  BlockPtr block(Epoch epoch, Seq seq, uint32_t number);  // null: not here

 private:
  // A block's number, or kIndex for the index.
  using Key = std::tuple<Epoch, Seq, uint64_t>;
  static constexpr uint64_t kIndex = UINT64_MAX;
  struct Item {
    Key key;
    std::shared_ptr<const void> value;
    uint64_t bytes;
  };

  void insert(const Key& key, std::shared_ptr<const void> value, uint64_t bytes);
  std::shared_ptr<const void> find(const Key& key);

  RamBudget& ram_;
  Mutex mutex_;
  std::list<Item> items_ WP_GUARDED_BY(mutex_);  // the last used first
  std::map<Key, std::list<Item>::iterator> places_ WP_GUARDED_BY(mutex_);
};

}  // namespace wp

#endif  // WP_ENGINE_CACHE_H_
