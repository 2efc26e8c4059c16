#include "engine/segment.h"

#include <algorithm>

#include "engine/bug.h"

namespace wp {

std::string SegmentBuilder::add(const RunRow& row, const SegmentSource& source) {
  const Run* run = source.index.run_as(row);
  if (run == nullptr) {
    return "its index knows other entries of log " + std::to_string(row.log);
  }
  if (runs_.empty()) time_base_ms_ = source.header.time_base_ms;
  has_properties_ = has_properties_ || source.header.properties;
  Gathered& gathered = runs_[{row.log, row.lsn_first}];
  raw_bytes_ -= gathered.bytes.size();  // where it is added again
  gathered = {};
  gathered.run = row;
  for (uint32_t i = run->piece_first; i < run->piece_first + run->pieces; ++i) {
    const Piece& piece = source.index.pieces[i];
    const auto block = source.block(piece.block);
    if (!block) return block.status().message();
    const Bytes bytes = (*block)->bytes();
    if (piece.offset > bytes.size() || piece.bytes > bytes.size() - piece.offset ||
        !copy_entries(bytes.subspan(piece.offset, piece.bytes), piece.count,
                      source.header.time_base_ms, time_base_ms_, gathered.bytes,
                      &gathered.entries)) {
      return "an entry of log " + std::to_string(row.log) + " makes no sense";
    }
  }
  raw_bytes_ += gathered.bytes.size();
  return {};
}

void SegmentBuilder::close_block(int level) {
  while (has_properties_ && index_.properties.size() < index_.pieces.size()) {
    const Piece& piece = index_.pieces[index_.properties.size()];
    add_properties_of_entries(Bytes(block_).subspan(piece.offset, piece.bytes),
                              index_.properties.emplace_back());
  }
  index_.blocks.push_back(encode_block(block_, level, stored_));
  block_.clear();
}

// An entry lies in one block; each piece but a run's first begins its block.
void SegmentBuilder::pack(const Gathered& from, uint32_t block_bytes, int level) {
  if (index_.runs.empty() || index_.runs.back().log != from.run.log) {
    Run& run = index_.runs.emplace_back();
    run.log = from.run.log;
    run.lsn_first = from.run.lsn_first;
    run.time_first_ms = from.run.time_first_ms;
    run.piece_first = static_cast<uint32_t>(index_.pieces.size());
  }
  Run& run = index_.runs.back();
  run.bytes += from.run.bytes;
  run.time_last_ms = from.run.time_last_ms;
  const Bytes bytes = from.bytes;
  size_t at = 0;
  for (const CopiedEntry& entry : from.entries) {
    if (WP_BUG(14) && run.count != 0 && &entry == &from.entries.back()) break;
    if (!block_.empty() && block_.size() + entry.bytes > block_bytes) close_block(level);
    if (run.pieces == 0 || block_.empty()) {
      Piece& piece = index_.pieces.emplace_back();
      piece.block = static_cast<uint32_t>(index_.blocks.size());
      piece.offset = static_cast<uint32_t>(block_.size());
      piece.lsn_first = run.lsn_first + run.count;
      ++run.pieces;
    }
    put_bytes(block_, bytes.subspan(at, entry.bytes));
    at += entry.bytes;
    Piece& piece = index_.pieces.back();
    piece.bytes += entry.bytes;
    ++piece.count;
    piece.time_last_ms = entry.time_ms;
    ++run.count;
  }
}

std::shared_ptr<const ByteVector> SegmentBuilder::finish(uint32_t block_bytes,
                                                         int compression_level, Record* record) {
  *record = {};
  record->type = RecordType::kPublish;
  SlotHeader header;
  for (auto& [place, gathered] : runs_) {
    pack(gathered, block_bytes, compression_level);
    header.entries += gathered.run.count;
    auto& runs = record->runs;
    if (runs.empty() || runs.back().log != gathered.run.log) {
      runs.push_back(gathered.run);
    } else {
      runs.back().count += gathered.run.count;
      runs.back().bytes += gathered.run.bytes;
      runs.back().time_last_ms = gathered.run.time_last_ms;
    }
    gathered.bytes = {};
    gathered.entries = {};
  }
  if (!block_.empty()) close_block(compression_level);
  const bool any = std::any_of(index_.properties.begin(), index_.properties.end(),
                               [](const PropertySet& set) { return !set.empty(); });
  if (!any) index_.properties.clear();
  header.kind = SlotKind::kSegment;
  header.root = root_;
  header.slot = name_;
  header.author = name_.owner;
  header.time_base_ms = time_base_ms_;
  auto object = assemble(header, index_, stored_);
  encode_header(header, object->data());
  record->segment = {name_.epoch, name_.seq, object->size(), header.entries, 0};
  return object;
}

}  // namespace wp
