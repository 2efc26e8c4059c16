#include "engine/batch.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace wp {
namespace {

// A chunk that is mostly empty is not worth keeping as a block.
bool mostly_used(const Block& chunk) {
  return chunk.size * 2 >= chunk.capacity;
}

Run start_run(const BatchRun& from, const SlotIndex& index) {
  Run run;
  run.log = from.log->id;
  run.lsn_first = from.lsn_first;
  run.count = from.count;
  run.bytes = from.bytes;
  run.time_first_ms = from.time_first_ms;
  run.time_last_ms = from.time_last_ms;
  run.piece_first = static_cast<uint32_t>(index.pieces.size());
  return run;
}

// The entries of one log: they lie in the chunks as a block has them.
void pack_one_log(Batch& batch) {
  Run run = start_run(batch.runs.front(), batch.index);
  Lsn lsn = run.lsn_first;
  std::vector<std::shared_ptr<Block>> left;
  for (size_t i = 0; i < batch.chunks.size(); ++i) {
    std::shared_ptr<Block>& chunk = batch.chunks[i];
    const BatchSpan& span = batch.spans[i];  // one log: one span a chunk
    batch.index.pieces.push_back(
        {static_cast<uint32_t>(i), 0, span.bytes, lsn, span.count, span.time_last_ms});
    lsn += span.count;
    if (mostly_used(*chunk)) {
      batch.blocks.push_back(std::move(chunk));
      continue;
    }
    auto block = std::make_shared<Block>(chunk->size);
    block->size = chunk->size;
    std::memcpy(block->data.get(), chunk->data.get(), chunk->size);
    batch.blocks.push_back(std::move(block));
    left.push_back(std::move(chunk));
  }
  run.pieces = static_cast<uint32_t>(batch.index.pieces.size());
  batch.index.runs.push_back(run);
  batch.chunks = std::move(left);
}

// The spans' numbers in the order of their logs' ids, and of appending within a log; `ranks` gives
// the order of the runs.
std::vector<uint32_t> order_spans(const Batch& batch, const std::vector<uint32_t>& run_order) {
  std::vector<uint32_t> begins(batch.runs.size() + 1, 0), rank(batch.runs.size());
  for (uint32_t r = 0; r < run_order.size(); ++r) rank[run_order[r]] = r;
  for (const BatchSpan& span : batch.spans) ++begins[rank[span.run] + 1];
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  std::vector<uint32_t> order(batch.spans.size());
  for (uint32_t s = 0; s < batch.spans.size(); ++s) order[begins[rank[batch.spans[s].run]]++] = s;
  return order;
}

// The entries of several logs: copied together, log after log.
void pack_many_logs(Batch& batch, uint32_t block_bytes, BlockPool& pool) {
  std::vector<uint32_t> run_order(batch.runs.size());
  std::iota(run_order.begin(), run_order.end(), 0u);
  std::sort(run_order.begin(), run_order.end(),
            [&](uint32_t a, uint32_t b) { return batch.runs[a].log->id < batch.runs[b].log->id; });
  const std::vector<uint32_t> order = order_spans(batch, run_order);

  // Which spans make which block.
  std::vector<uint32_t> sizes;
  std::vector<uint32_t> block_of(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t bytes = batch.spans[order[i]].bytes;
    if (sizes.empty() || (sizes.back() != 0 && sizes.back() + uint64_t{bytes} > block_bytes)) {
      sizes.push_back(0);
    }
    block_of[i] = static_cast<uint32_t>(sizes.size() - 1);
    sizes.back() += bytes;
  }
  std::vector<std::shared_ptr<Block>> blocks;
  for (const uint32_t size : sizes) blocks.push_back(std::make_shared<Block>(size, pool));

  SlotIndex& index = batch.index;
  Lsn lsn = 0;
  uint32_t run_now = UINT32_MAX;
  for (size_t i = 0; i < order.size(); ++i) {
    const BatchSpan& span = batch.spans[order[i]];
    const bool new_run = span.run != run_now;
    if (new_run) {
      run_now = span.run;
      index.runs.push_back(start_run(batch.runs[span.run], index));
      lsn = index.runs.back().lsn_first;
    }
    Block& block = *blocks[block_of[i]];
    if (new_run || index.pieces.back().block != block_of[i]) {
      index.pieces.push_back({block_of[i], static_cast<uint32_t>(block.size), 0, lsn, 0, 0});
      ++index.runs.back().pieces;
    }
    std::memcpy(block.data.get() + block.size, batch.chunks[span.chunk]->data.get() + span.offset,
                span.bytes);
    block.size += span.bytes;
    Piece& piece = index.pieces.back();
    piece.bytes += span.bytes;
    piece.count += span.count;
    piece.time_last_ms = span.time_last_ms;
    lsn += span.count;
  }
  batch.blocks.assign(blocks.begin(), blocks.end());
}

// From the entries themselves, which nobody waits for here: appending has no part in it.
void index_properties(Batch& batch) {
  SlotIndex& index = batch.index;
  index.properties.resize(index.pieces.size());
  for (size_t i = 0; i < index.pieces.size(); ++i) {
    const Piece& piece = index.pieces[i];
    const Bytes block = batch.blocks[piece.block]->bytes();
    add_properties_of_entries(block.subspan(piece.offset, piece.bytes), index.properties[i]);
  }
}

}  // namespace

void seal(Batch& batch, uint32_t block_bytes, int compression_level, BlockPool& pool) {
  batch.index.records = batch.records;
  if (batch.runs.size() == 1) {
    pack_one_log(batch);
  } else if (!batch.runs.empty()) {
    pack_many_logs(batch, block_bytes, pool);
  }
  if (batch.has_properties) index_properties(batch);
  ByteVector stored;
  stored.reserve(batch.bytes / 4);  // what text becomes, mostly
  for (const BlockPtr& block : batch.blocks) {
    BlockInfo info = encode_block(block->bytes(), compression_level, stored);
    batch.index.blocks.push_back(info);
  }
  SlotHeader& header = batch.header;
  header.closed = batch.last;
  header.time_base_ms = batch.time_base_ms;
  header.entries = batch.entries;
  batch.body = assemble(header, batch.index, stored);
}

}  // namespace wp
