#include "engine/checkpoint.h"

#include <zstd.h>

#include <memory>
#include <optional>
#include <type_traits>

#include "engine/bug.h"
#include "engine/settings.h"

namespace wp {
namespace {

constexpr std::string_view kMagic = "wp-ckpt\n";
constexpr size_t kPage = 1000;              // rows of the view read at once
constexpr size_t kRowsAtOnce = 10'000;      // rows of a change when reading
constexpr size_t kRowBytesMax = 16 << 10;   // no row is longer, also settings with all cursors
constexpr size_t kBufferBytes = 256 << 10;  // of rows before they are compressed

// Says that there are settings, or objects that are no plain slots: an earlier program must not
// take it for damage.
constexpr uint32_t kFlagUpkeep = 1;

// A plain slot is one of the journal that is not known to be dead; all others are objects.
enum Tag : uint8_t { kEnd = 0, kLog = 1, kRun = 2, kSlot = 3, kSettings = 4, kObject = 5 };

bool is_plain(const SlotRow& row) {
  return !is_segment(row.seq) && row.dead == 0;
}

Status corrupt(std::string_view what) {
  return Status(Code::kCorrupt, std::string(what));
}

// Rows in, compressed bytes out.
class Sink {
 public:
  Sink(ByteVector& out, int level) : out_(out) {
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, level == 0 ? 1 : level);
  }
  ByteVector& rows() { return rows_; }
  void row_ended() {
    if (rows_.size() >= kBufferBytes) compress(ZSTD_e_continue);
  }
  void finish() { compress(ZSTD_e_end); }

 private:
  void compress(ZSTD_EndDirective how) {
    ZSTD_inBuffer in{rows_.data(), rows_.size(), 0};
    for (;;) {
      const size_t begin = out_.size();
      out_.resize(begin + ZSTD_CStreamOutSize());
      ZSTD_outBuffer to{out_.data() + begin, out_.size() - begin, 0};
      const size_t left = ZSTD_compressStream2(context_.get(), &to, &in, how);
      out_.resize(begin + to.pos);
      if (ZSTD_isError(left) || (left == 0 && in.pos == in.size)) break;
      if (how == ZSTD_e_continue && in.pos == in.size) break;
    }
    rows_.clear();
  }
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  ByteVector& out_;
  ByteVector rows_;
  std::unique_ptr<ZSTD_CCtx, Free> context_{ZSTD_createCCtx()};
};

// Compressed bytes in, rows out.
class Source {
 public:
  explicit Source(Bytes in) : in_{in.data(), in.size(), 0} {}
  // The bytes from where the last row ended; at least a row's worth, but at the end. Nothing: they
  // cannot be decompressed.
  std::optional<Bytes> rows() {
    while (!ended_ && buffer_.size() - at_ < kRowBytesMax) {
      buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(at_));
      at_ = 0;
      const size_t begin = buffer_.size();
      buffer_.resize(begin + kBufferBytes);
      ZSTD_outBuffer out{buffer_.data() + begin, kBufferBytes, 0};
      const size_t left = ZSTD_decompressStream(context_.get(), &out, &in_);
      buffer_.resize(begin + out.pos);
      if (ZSTD_isError(left)) return std::nullopt;
      ended_ = left == 0;
      if (!ended_ && out.pos == 0 && in_.pos == in_.size) return std::nullopt;  // cut
    }
    return Bytes(buffer_).subspan(at_);
  }
  void used(size_t bytes) { at_ += bytes; }
  bool at_end() const { return ended_ && at_ == buffer_.size() && in_.pos == in_.size; }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  ZSTD_inBuffer in_;
  ByteVector buffer_;
  size_t at_ = 0;
  bool ended_ = false;
  std::unique_ptr<ZSTD_DCtx, Free> context_{ZSTD_createDCtx()};
};

// Each kind of row by one list of its numbers, for both ways.
template <class See>
void numbers(EpochRow& row, See see) {
  see(row.epoch);
  see(row.owner);
  see(row.ended);
  see(row.closed);
  see(row.fence);
}
template <class See>
void numbers(LogRow& row, See see) {
  see(row.id);
  see(row.lsn_first);
  see(row.lsn_next);
  see(row.bytes_begin);
  see(row.bytes_end);
  see(row.time_last_ms);
}
template <class See>
void numbers(RunRow& row, See see) {
  see(row.log);
  see(row.lsn_first);
  see(row.count);
  see(row.epoch);
  see(row.seq);
  see(row.bytes_begin);
  see(row.bytes);
  see(row.time_first_ms);
  see(row.time_last_ms);
}
template <class See>
void numbers(SlotRow& row, See see) {
  see(row.epoch);
  see(row.seq);
  see(row.bytes);
  see(row.entries);
}
// A row of an object: its own numbers tell segments from slots, as names do.
struct ObjectRow {
  SlotRow row;
  uint8_t kind = 0;  // 1: a segment
};
template <class See>
void numbers(ObjectRow& object, See see) {
  see(object.kind);
  numbers(object.row, see);
  see(object.row.dead);
}
template <class See>
void numbers(ViewHead& head, See see) {  // but for what the object's header holds
  see(head.log_id_next);
  see(head.slots);
  see(head.stored_bytes);
  see(head.logs);
}

template <class Row>
void write(ByteVector& out, Row row) {
  numbers(row, [&out](auto value) {
    if constexpr (std::is_same_v<decltype(value), int64_t>) {
      put_varint(out, zigzag(value));
    } else {
      put_varint(out, static_cast<uint64_t>(value));
    }
  });
}
// False: a number is cut, or larger than its field.
template <class Row>
bool read(ByteParser& in, Row* row) {
  bool fits = true;
  numbers(*row, [&](auto& value) {
    using T = std::remove_reference_t<decltype(value)>;
    const uint64_t number = in.varint();
    if constexpr (std::is_same_v<T, int64_t>) {
      value = unzigzag(number);
    } else {
      value = static_cast<T>(number);
      fits = fits && static_cast<uint64_t>(value) == number;
    }
  });
  return fits && in.ok();
}

void write_log(const LogRow& log, Sink& sink, bool* upkeep) {
  put_fixed<uint8_t>(sink.rows(), kLog);
  put_text(sink.rows(), log.name);
  write(sink.rows(), log);
  sink.row_ended();
  if (log.settings.empty() || WP_BUG(31)) return;
  *upkeep = true;
  put_fixed<uint8_t>(sink.rows(), kSettings);
  put_settings(sink.rows(), log.settings);
  sink.row_ended();
}

Status write_logs(View& view, Sink& sink, bool* upkeep) {
  for (std::string after;;) {
    auto logs = view.logs(after, kPage);
    if (!logs) return logs.status();
    for (const LogRow& log : *logs) {
      write_log(log, sink, upkeep);
      for (Lsn lsn = 1;;) {
        auto runs = view.runs(log.id, lsn, kPage);
        if (!runs) return runs.status();
        for (const RunRow& run : *runs) {
          put_fixed<uint8_t>(sink.rows(), kRun);
          write(sink.rows(), run);
          sink.row_ended();
        }
        if (runs->size() < kPage) break;
        lsn = runs->back().lsn_first + runs->back().count;
      }
    }
    if (logs->size() < kPage) return {};
    after = logs->back().name;
  }
}

void write_object(const SlotRow& row, Sink& sink, bool* upkeep) {
  if (is_plain(row)) {
    put_fixed<uint8_t>(sink.rows(), kSlot);
    write(sink.rows(), row);
  } else {
    *upkeep = true;
    ObjectRow object{row, is_segment(row.seq)};
    if (object.kind == 1) object.row.seq -= kSegmentFirst;
    put_fixed<uint8_t>(sink.rows(), kObject);
    write(sink.rows(), object);
  }
  sink.row_ended();
}

Status write_objects(View& view, Sink& sink, bool* upkeep) {
  Epoch epoch = 0;
  for (Seq seq = 0;;) {
    auto slots = view.slots(epoch, seq, kPage);
    if (!slots) return slots.status();
    for (const SlotRow& row : *slots) write_object(row, sink, upkeep);
    if (slots->size() < kPage) return {};
    epoch = slots->back().epoch;
    seq = slots->back().seq + 1;
  }
}

void put_slot(ByteVector& out, const SlotId& slot) {
  put_fixed(out, slot.epoch);
  put_fixed<uint32_t>(out, 0);
  put_fixed(out, slot.owner);
  put_fixed(out, slot.seq);
}

SlotId read_slot(ByteParser& in) {
  SlotId slot;
  slot.epoch = in.fixed<uint32_t>();
  in.fixed<uint32_t>();
  slot.owner = in.fixed<uint64_t>();
  slot.seq = in.fixed<uint64_t>();
  return slot;
}

ByteVector encode_head(const ViewHead& head, uint32_t flags, Bytes payload) {
  ByteVector out;
  put_bytes(out, as_bytes(kMagic));
  put_fixed<uint16_t>(out, kFormatVersion);
  put_fixed<uint16_t>(out, kCheckpointHeaderBytes);
  put_fixed(out, flags);
  put_bytes(out, head.root_id);
  put_slot(out, head.last.slot);
  put_bytes(out, head.last.digest);
  put_slot(out, head.next);
  put_fixed<uint64_t>(out, payload.size());
  put_fixed(out, crc32c(payload));
  put_fixed(out, crc32c(out));
  return out;
}

bool makes_sense(const ViewHead& head) {
  const SlotId &last = head.last.slot, &next = head.next;
  if (last.epoch == 0 || last.owner == 0 || last.seq > kSeqMax) return false;
  if (next.seq == 0) return next.epoch == uint64_t{last.epoch} + 1 && next.owner != 0;
  return next == SlotId{last.epoch, last.owner, last.seq + 1};
}

// The object's header, and its payload, checked.
Status decode_head(Bytes object, ViewHead* head, uint32_t* flags, Bytes* payload) {
  ByteParser in(object);
  if (as_text(in.bytes(kMagic.size())) != kMagic) return corrupt("it is no checkpoint");
  const auto version = in.fixed<uint16_t>();
  const auto header_bytes = in.fixed<uint16_t>();
  if (!in.ok() || header_bytes < kCheckpointHeaderBytes || header_bytes > object.size()) {
    return corrupt("its header is cut");
  }
  ByteParser sum(object.subspan(header_bytes - 4u));
  if (sum.fixed<uint32_t>() != crc32c(object.first(header_bytes - 4u))) {
    return corrupt("its header does not match its checksum");
  }
  if (version != kFormatVersion) return other_version("checkpoint", version);
  *flags = in.fixed<uint32_t>();
  if ((*flags & ~kFlagUpkeep) != 0) {
    return Status(Code::kUnsupported, "the checkpoint has flags " + std::to_string(*flags) +
                                          ", which this program does not know; use a newer wp");
  }
  head->root_id = in.array<16>();
  head->last.slot = read_slot(in);
  head->last.digest = in.array<32>();
  head->next = read_slot(in);
  const auto payload_bytes = in.fixed<uint64_t>();
  const auto payload_crc = in.fixed<uint32_t>();
  *payload = object.subspan(header_bytes);
  if (!in.ok() || payload->size() != payload_bytes || crc32c(*payload) != payload_crc) {
    return corrupt("it is cut, or does not match its checksum");
  }
  return makes_sense(*head) ? Status() : corrupt("its header makes no sense");
}

// One row off the source.
template <class Row>
bool read_from(Source& source, Row* row) {
  const auto bytes = source.rows();
  if (!bytes) return false;
  ByteParser in(*bytes);
  if (!read(in, row)) return false;
  source.used(bytes->size() - in.left());
  return true;
}

struct EpochCount {
  uint64_t count = 0;
};
template <class See>
void numbers(EpochCount& row, See see) {
  see(row.count);
}

// The totals, and the table of epochs: in order, all ended but the last, which is the next slot's.
bool read_start(Source& source, CheckpointHead* out) {
  EpochCount left;
  if (!read_from(source, &out->head) || !read_from(source, &left)) return false;
  Epoch before = 0;
  for (; left.count > 0; --left.count) {
    EpochRow& row = out->epochs.emplace_back();
    if (!read_from(source, &row)) return false;
    if (row.epoch <= before || row.owner == 0 || row.ended != (left.count > 1)) return false;
    before = row.epoch;
  }
  return out->head.log_id_next <= kNumberEnd && !out->epochs.empty() &&
         out->epochs.back().epoch == out->head.next.epoch &&
         out->epochs.back().owner == out->head.next.owner;
}

// Reads the rows behind the start, each of which must fit those before it.
class RowReading {
 public:
  RowReading(Source& source, const ViewHead& head, bool upkeep)
      : source_(source), head_(head), upkeep_(upkeep) {}

  // The next row into the change; the tag, or nothing where there is no row.
  std::optional<Tag> next(ViewDelta& delta) {
    const auto bytes = source_.rows();
    if (!bytes || bytes->empty()) return std::nullopt;
    ByteParser in(*bytes);
    const auto tag = static_cast<Tag>(in.fixed<uint8_t>());
    bool fits = false;
    if ((tag == kSettings || tag == kObject) && !upkeep_) return std::nullopt;
    if (tag == kLog) {
      fits = log(in, delta.logs.emplace_back());
    } else if (tag == kSettings) {
      fits = settings(in, delta.logs);
    } else if (tag == kRun) {
      fits = run(in, delta.runs.emplace_back());
    } else if (tag == kSlot) {
      fits = slot(in, delta.slots.emplace_back());
    } else if (tag == kObject) {
      fits = object(in, delta.slots.emplace_back());
    } else if (tag == kEnd) {
      fits = logs_ == head_.logs && upkeep_ == upkeep_seen_;
    }
    if (!fits) return std::nullopt;
    upkeep_seen_ = upkeep_seen_ || tag == kSettings || tag == kObject;
    before_ = tag;
    source_.used(bytes->size() - in.left());
    return tag;
  }

 private:
  bool log(ByteParser& in, LogRow& row) {
    row.name = in.text();
    if (!read(in, &row)) return false;
    const bool fits = !slots_began_ && !row.name.empty() && row.name.size() <= kLogNameBytesMax &&
                      row.name > log_.name && row.id != 0 && row.id < head_.log_id_next &&
                      row.lsn_next <= kNumberEnd && row.lsn_first != 0 &&
                      row.lsn_first <= row.lsn_next && row.bytes_begin <= row.bytes_end;
    ++logs_;
    log_ = row;
    run_end_ = 1;
    return fits;
  }
  // Of the log before it; which may be part of the change before this one.
  bool settings(ByteParser& in, std::vector<LogRow>& logs) {
    if (before_ != kLog || !read_settings(in, &log_.settings)) return false;
    if (!logs.empty()) logs.pop_back();
    logs.push_back(log_);
    return true;
  }
  bool run(ByteParser& in, RunRow& row) {
    if (!read(in, &row)) return false;
    const bool fits = !slots_began_ && has_name(row.seq) && row.log == log_.id && row.log != 0 &&
                      row.count != 0 && row.lsn_first >= run_end_ &&
                      row.lsn_first <= log_.lsn_next && row.count <= log_.lsn_next - row.lsn_first;
    run_end_ = row.lsn_first + row.count;
    return fits;
  }
  bool slot(ByteParser& in, SlotRow& row) {
    return read(in, &row) && row.seq <= kSeqMax && in_order(row);
  }
  bool object(ByteParser& in, SlotRow& row) {
    ObjectRow object;
    if (!read(in, &object) || object.kind > 1 || object.row.seq > kSeqMax) return false;
    row = object.row;
    if (object.kind == 1) row.seq += kSegmentFirst;
    return !is_plain(row) && row.dead <= head_.slots && in_order(row);
  }
  bool in_order(const SlotRow& row) {
    const bool fits = !slots_began_ || row.epoch > slot_.epoch ||
                      (row.epoch == slot_.epoch && row.seq > slot_.seq);
    slots_began_ = true;
    slot_ = row;
    return fits;
  }

  Source& source_;
  const ViewHead& head_;
  const bool upkeep_;  // whether there must be rows of it
  bool upkeep_seen_ = false;
  Tag before_ = kEnd;  // of the row before
  LogRow log_;         // the last one
  uint64_t logs_ = 0;
  Lsn run_end_ = 1;  // of its last run
  SlotRow slot_;
  bool slots_began_ = false;
};

}  // namespace

std::vector<std::string> checkpoints_among(const std::vector<ListedObject>& objects) {
  std::vector<std::string> keys;
  for (const ListedObject& object : objects) {
    Epoch epoch;
    Seq seq;
    if (parse_checkpoint_key(object.key, &epoch, &seq)) keys.push_back(object.key);
  }
  return keys;
}

Result<ByteVector> encode_checkpoint(View& view, int compression_level) {
  auto head = view.head();
  if (!head) return head.status();
  if (!*head) return Status(Code::kInternal, "a checkpoint of an empty view");
  auto epochs = view.epochs();
  if (!epochs) return epochs.status();
  ByteVector payload;
  Sink sink(payload, compression_level);
  write(sink.rows(), **head);
  put_varint(sink.rows(), epochs->size());
  for (const EpochRow& row : *epochs) write(sink.rows(), row);
  bool upkeep = false;
  if (Status status = write_logs(view, sink, &upkeep); !status.ok()) return status;
  if (Status status = write_objects(view, sink, &upkeep); !status.ok()) return status;
  put_fixed<uint8_t>(sink.rows(), kEnd);
  sink.finish();
  ByteVector out = encode_head(**head, upkeep ? kFlagUpkeep : 0, payload);
  put_bytes(out, payload);
  return out;
}

Result<CheckpointHead> decode_checkpoint_head(Bytes object) {
  CheckpointHead out;
  uint32_t flags = 0;
  Bytes payload;
  if (Status status = decode_head(object, &out.head, &flags, &payload); !status.ok()) return status;
  Source source(payload);
  if (!read_start(source, &out)) return corrupt("its rows make no sense");
  return out;
}

Result<CheckpointHead> decode_checkpoint(Bytes object,
                                         const std::function<Status(const ViewDelta&)>& apply) {
  CheckpointHead out;
  uint32_t flags = 0;
  Bytes payload;
  if (Status status = decode_head(object, &out.head, &flags, &payload); !status.ok()) return status;
  Source source(payload);
  if (!read_start(source, &out)) return corrupt("its rows make no sense");
  RowReading reading(source, out.head, (flags & kFlagUpkeep) != 0);
  ViewDelta delta;
  size_t rows = 0;
  for (;;) {
    const auto tag = reading.next(delta);
    if (!tag) return corrupt("its rows make no sense");
    if (*tag == kEnd) break;
    if (++rows % kRowsAtOnce != 0) continue;
    if (Status status = apply(delta); !status.ok()) return status;
    delta = {};
  }
  if (!source.at_end()) return corrupt("it has bytes behind its end");
  delta.epochs = out.epochs;
  delta.head = out.head;
  if (Status status = apply(delta); !status.ok()) return status;
  return out;
}

}  // namespace wp
