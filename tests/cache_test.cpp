// The RAM budget, and the cache of decoded blocks that lives within it.
#include "engine/cache.h"

#include <doctest/doctest.h>

#include "engine/ram.h"

namespace wp {
namespace {

BlockPtr block_of(size_t bytes, char fill = 'x') {
  auto block = std::make_shared<Block>(bytes);
  block->size = bytes;
  std::memset(block->data.get(), fill, bytes);
  return block;
}

IndexPtr index_of(Seq seq) {
  auto index = std::make_shared<FragmentIndex>();
  index->header.slot.seq = seq;
  return index;
}

}  // namespace

TEST_CASE("RAM is counted by use, in total and at its peak") {
  RamBudget ram(800);
  ram.add(Ram::kGathering, 100);
  ram.add(Ram::kCache, 50);
  CHECK(ram.of(Ram::kGathering) == 100);
  CHECK(ram.of(Ram::kCache) == 50);
  CHECK(ram.of(Ram::kReading) == 0);
  CHECK(ram.total() == 150);
  ram.sub(Ram::kGathering, 100);
  ram.add(Ram::kReading, 20);
  CHECK(ram.total() == 70);
  CHECK(ram.peak() == 150);
  CHECK(ram.writing_max() == 500);
  CHECK(ram.cache_max() == 100);
  CHECK(ram.reading_max() == 100);
}

TEST_CASE("a use of RAM is given back once, whoever holds it last") {
  RamBudget ram(800);
  {
    RamUse use(ram, Ram::kReading, 30);
    RamUse moved = std::move(use);
    CHECK(ram.of(Ram::kReading) == 30);
    CHECK(moved.bytes() == 30);
    moved = RamUse(ram, Ram::kReading, 7);
    CHECK(ram.of(Ram::kReading) == 7);
    RamUse& self = moved;
    moved = std::move(self);
    CHECK(ram.of(Ram::kReading) == 7);
    moved.release();
    CHECK(ram.of(Ram::kReading) == 0);
  }
  CHECK(ram.total() == 0);
}

TEST_CASE("the cache gives back what was put in, blocks and indexes apart") {
  RamBudget ram(1 << 20);
  BlockCache cache(ram);
  cache.put(1, 2, 0, block_of(100, 'a'));
  cache.put(1, 2, 1, block_of(100, 'b'));
  cache.put(1, 2, index_of(2));
  CHECK(as_text(cache.block(1, 2, 0)->bytes()) == std::string(100, 'a'));
  CHECK(as_text(cache.block(1, 2, 1)->bytes()) == std::string(100, 'b'));
  CHECK(cache.index(1, 2)->header.slot.seq == 2);
  CHECK(cache.block(1, 2, 2) == nullptr);
  CHECK(cache.block(2, 2, 0) == nullptr);
  CHECK(cache.index(1, 3) == nullptr);
}

TEST_CASE("what was used longest ago leaves the cache first, and whoever holds it keeps it") {
  RamBudget ram(8 * 2000);
  BlockCache cache(ram);
  const BlockPtr held = block_of(400, 'h');
  cache.put(1, 0, 0, held);
  for (Seq seq = 1; seq < 3; ++seq) cache.put(1, seq, 0, block_of(400));
  CHECK(cache.block(1, 0, 0) != nullptr);  // used: the second is now the oldest
  cache.put(1, 3, 0, block_of(400));
  CHECK(cache.block(1, 1, 0) == nullptr);
  CHECK(cache.block(1, 0, 0) != nullptr);
  for (Seq seq = 4; seq < 10; ++seq) cache.put(1, seq, 0, block_of(400));
  CHECK(cache.block(1, 0, 0) == nullptr);
  CHECK(as_text(held->bytes()) == std::string(400, 'h'));
  CHECK(ram.of(Ram::kCache) <= ram.cache_max());
}

TEST_CASE("the cache takes nothing larger than itself, and counts capacity and not content") {
  RamBudget ram(8 * 1000);
  BlockCache cache(ram);
  cache.put(1, 0, 0, block_of(500));
  cache.put(1, 1, 0, block_of(1000));
  CHECK(cache.block(1, 1, 0) == nullptr);
  CHECK(cache.block(1, 0, 0) != nullptr);  // was not thrown out for it
  auto empty = std::make_shared<Block>(5000);
  cache.put(1, 2, 0, empty);
  CHECK(cache.block(1, 2, 0) == nullptr);
}

TEST_CASE("putting the same again changes nothing, and the cache gives its RAM back at the end") {
  RamBudget ram(1 << 20);
  {
    BlockCache cache(ram);
    cache.put(1, 0, 0, block_of(500, 'a'));
    const uint64_t used = ram.of(Ram::kCache);
    CHECK(used >= 500);
    cache.put(1, 0, 0, block_of(500, 'b'));
    CHECK(ram.of(Ram::kCache) == used);
    CHECK(as_text(cache.block(1, 0, 0)->bytes()).front() == 'a');
  }
  CHECK(ram.of(Ram::kCache) == 0);
}

}  // namespace wp
