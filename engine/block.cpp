#include "engine/block.h"

namespace wp {

std::unique_ptr<std::byte[]> BlockPool::take() {
  {
    MutexLock lock(mutex_);
    if (!spare_.empty()) {
      auto data = std::move(spare_.back());
      spare_.pop_back();
      return data;
    }
  }
  return std::make_unique_for_overwrite<std::byte[]>(usual_bytes_);
}

void BlockPool::give_back(std::unique_ptr<std::byte[]> data) {
  MutexLock lock(mutex_);
  if (spare_.size() < spare_max_) spare_.push_back(std::move(data));
}

Block::Block(size_t bytes, BlockPool& from) : capacity(bytes) {
  if (bytes <= from.usual_bytes() && bytes > from.usual_bytes() / 2) {
    pool = from.shared_from_this();
    capacity = from.usual_bytes();
    data = from.take();
  } else {
    data = std::make_unique_for_overwrite<std::byte[]>(bytes);
  }
}

Block::~Block() {
  if (pool != nullptr) pool->give_back(std::move(data));
}

}  // namespace wp
