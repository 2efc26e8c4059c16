#include "engine/cache.h"

namespace wp {
namespace {

constexpr uint64_t kItemOverheadBytes = 160;  // of the list and the map

}  // namespace

BlockCache::~BlockCache() {
  MutexLock lock(mutex_);
  for (const Item& item : items_) ram_.sub(Ram::kCache, item.bytes);
}

void BlockCache::put(Epoch epoch, Seq seq, IndexPtr index) {
  const uint64_t bytes = sizeof(FragmentIndex) + index->index.memory_bytes();
  insert({epoch, seq, kIndex}, std::move(index), bytes);
}

void BlockCache::put(Epoch epoch, Seq seq, uint32_t block, BlockPtr bytes) {
  const uint64_t capacity = bytes->capacity;
  insert({epoch, seq, block}, std::move(bytes), capacity);
}

IndexPtr BlockCache::index(Epoch epoch, Seq seq) {
  return std::static_pointer_cast<const FragmentIndex>(find({epoch, seq, kIndex}));
}

BlockPtr BlockCache::block(Epoch epoch, Seq seq, uint32_t number) {
  return std::static_pointer_cast<const Block>(find({epoch, seq, number}));
}

void BlockCache::insert(const Key& key, std::shared_ptr<const void> value, uint64_t bytes) {
  bytes += kItemOverheadBytes;
  std::list<Item> gone;  // freed behind the lock
  MutexLock lock(mutex_);
  if (bytes > ram_.cache_max() || places_.contains(key)) return;
  while (!items_.empty() && ram_.of(Ram::kCache) + bytes > ram_.cache_max()) {
    const auto last = std::prev(items_.end());
    ram_.sub(Ram::kCache, last->bytes);
    places_.erase(last->key);
    gone.splice(gone.begin(), items_, last);
  }
  items_.push_front({key, std::move(value), bytes});
  places_.emplace(key, items_.begin());
  ram_.add(Ram::kCache, bytes);
}

std::shared_ptr<const void> BlockCache::find(const Key& key) {
  MutexLock lock(mutex_);
  const auto it = places_.find(key);
  if (it == places_.end()) return nullptr;
  items_.splice(items_.begin(), items_, it->second);
  return it->second->value;
}

}  // namespace wp
