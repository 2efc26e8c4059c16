// Memory that entries lie in: where they gather, and what a decoded block is. Shared by everyone
// who reads entries in it.
//
// Blocks of the usual size come and go by the thousand a second. Memory that the system must give
// and take back each time costs as much as all else that an append does, so a pool keeps some.
#ifndef WP_ENGINE_BLOCK_H_
#define WP_ENGINE_BLOCK_H_

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "engine/sync.h"
#include "wp.h"

namespace wp {

// Outlives the root with the last block that is of it. Any thread.
class BlockPool : public std::enable_shared_from_this<BlockPool> {
 public:
  // Keeps at most so many of the usual size.
  BlockPool(size_t usual_bytes, size_t spare_max)
      : usual_bytes_(usual_bytes), spare_max_(spare_max) {}

  size_t usual_bytes() const { return usual_bytes_; }

 private:
  friend struct Block;
  std::unique_ptr<std::byte[]> take();
  void give_back(std::unique_ptr<std::byte[]> data);

  const size_t usual_bytes_;
  const size_t spare_max_;
  Mutex mutex_;
  std::vector<std::unique_ptr<std::byte[]>> spare_ WP_GUARDED_BY(mutex_);
};

struct Block {
  explicit Block(size_t bytes)
      : data(std::make_unique_for_overwrite<std::byte[]>(bytes)), capacity(bytes) {}
  // From the pool, and back to it at the end, where about as much is wanted as its blocks have.
  Block(size_t bytes, BlockPool& from);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  std::unique_ptr<std::byte[]> data;
  size_t capacity;
  size_t size = 0;
  std::shared_ptr<BlockPool> pool;  // null: of none
  Bytes bytes() const { return {data.get(), size}; }
};
using BlockPtr = std::shared_ptr<const Block>;

}  // namespace wp

#endif  // WP_ENGINE_BLOCK_H_
