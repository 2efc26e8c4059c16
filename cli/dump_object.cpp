// Explains an object of a root; see dump_object.h.
#include "cli/dump_object.h"

#include <algorithm>

#include "cli/json.h"
#include "cli/table.h"
#include "cli/values.h"

namespace wp::cli {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string owner_text(Nonce owner) {
  return hex_number(owner, 16);
}

std::string_view kind_name(SlotKind kind) {
  switch (kind) {
    case SlotKind::kFragment:
      return "fragment";
    case SlotKind::kFence:
      return "fence";
    case SlotKind::kSegment:
      break;
  }
  return "segment";
}

// An object's number as its name has it.
uint64_t plain_number(Seq seq) {
  return is_segment(seq) ? seq - kSegmentFirst : seq;
}

std::string slot_text(const SlotId& slot) {
  return slot.epoch == 0 ? std::string(kRootKey) : slot_key(slot);
}

std::string_view compression_name(const BlockInfo& block) {
  return block.compressed ? "zstd" : "none";
}

std::string_view kind_of(std::string_view key, Bytes object) {
  SlotId slot;
  if (key == kRootKey) return "root";
  if (parse_slot_key(key, &slot) || parse_segment_key(key, &slot)) return "slot";
  if (parse_checkpoint_key(key, &slot.epoch, &slot.seq)) return "checkpoint";
  // A copy that somebody put elsewhere.
  const std::string_view text = as_text(object);
  if (text.starts_with("wp-root\n")) return "root";
  if (text.starts_with("wp-slot\n")) return "slot";
  if (text.starts_with("wp-ckpt\n")) return "checkpoint";
  return "";
}

}  // namespace

Status ObjectDump::explain(Bytes object) {
  const std::string_view kind = kind_of(key_, object);
  if (kind == "root") return root(object);
  if (kind == "slot") return slot(object);
  if (kind == "checkpoint") return checkpoint(object);
  return Status(Code::kInvalid, "dump " + key_ + " of " + store_.url() + ": it is there, with " +
                                    std::to_string(object.size()) +
                                    " bytes, but is none of wp's objects");
}

void ObjectDump::damage(const std::string& what) {
  damaged_ = true;
  if (json()) {
    JsonObject(out()).text("damaged", key_).text("what", what).end_line();
  } else {
    out() += "damaged: " + key_ + ": " + what + "\n";
  }
}

// All that can be said of what cannot be decoded.
void ObjectDump::print_kind(std::string_view kind, Bytes object) {
  if (json()) {
    JsonObject(out())
        .text("key", key_)
        .text("kind", kind)
        .number("bytes", object.size())
        .end_line();
    return;
  }
  Facts facts;
  facts.add("key", key_);
  facts.add("object", std::string(kind) + ", " + bytes_fact(object.size()) + " bytes");
  facts.print(out());
}

// -------------------------------------------------------------------------- what stands around it

std::optional<RootObject> ObjectDump::read_root() {
  const auto bytes = store_.get(std::string(kRootKey));
  if (!bytes) return std::nullopt;
  const auto root = decode_root(*bytes);
  return root ? std::optional<RootObject>(*root) : std::nullopt;
}

ObjectDump::Neighbour ObjectDump::look_at(const Position& position) {
  const bool is_root = position.slot.epoch == 0;
  const auto bytes = store_.get(slot_text(position.slot),
                                {0, is_root ? UINT64_MAX : uint64_t{kSlotHeaderBytesMax}});
  if (!bytes) return bytes.code() == Code::kNotFound ? Neighbour::kAbsent : Neighbour::kUnknown;
  if (is_root) return sha256(*bytes) == position.digest ? Neighbour::kRight : Neighbour::kOther;
  const auto header = decode_header(*bytes);
  const bool right = header && header_digest(*header, *bytes) == position.digest;
  return right ? Neighbour::kRight : Neighbour::kOther;
}

std::string_view ObjectDump::neighbour_name(Neighbour neighbour) {
  switch (neighbour) {
    case Neighbour::kRight:
      return "right";
    case Neighbour::kOther:
      return "other";
    case Neighbour::kAbsent:
      return "absent";
    case Neighbour::kUnknown:
      break;
  }
  return "unknown";
}

namespace {

std::string neighbour_text(std::string_view name) {
  if (name == "right") return "is there, with that digest";
  if (name == "other") return "is damaged, or another object";
  if (name == "absent") return "is not there (any more)";
  return "cannot be read";
}

}  // namespace

// --------------------------------------------------------------------------------------- the root

Status ObjectDump::root(Bytes object) {
  const auto root = decode_root(object);
  if (!root) {
    if (root.code() != Code::kCorrupt) return root.status();
    print_kind("root", object);
    damage(root.status().message());
    return {};
  }
  if (json()) {
    JsonObject(out())
        .text("key", key_)
        .text("kind", "root")
        .number("bytes", object.size())
        .number("version", root->version)
        .text("root_id", to_hex(root->id))
        .text("creator", owner_text(root->creator))
        .text("digest", to_hex(sha256(object)))
        .text("next_key", slot_key({1, root->creator, 0}))
        .end_line();
    return {};
  }
  Facts facts;
  facts.add("key", key_);
  facts.add("object", "root, " + bytes_fact(object.size()) + " bytes");
  facts.add("format", "version " + std::to_string(root->version));
  facts.add("root id", to_hex(root->id));
  facts.add("creator", owner_text(root->creator) + ", the owner of epoch 1");
  facts.add("digest", to_hex(sha256(object)));
  facts.add("followed by", slot_key({1, root->creator, 0}));
  facts.print(out());
  return {};
}

// --------------------------------------------------------------------------------------- a slot

Status ObjectDump::slot(Bytes object) {
  const auto header = decode_header(object);
  if (!header) {
    if (header.code() != Code::kCorrupt) return header.status();
    print_kind(key_.starts_with(kSegmentPrefix) ? "segment" : "slot", object);
    damage(header.status().message());
    return {};
  }
  const bool segment = header->kind == SlotKind::kSegment;  // follows nothing
  const Neighbour prev = segment ? Neighbour::kRight : look_at(header->prev);
  print_header(*header, object, prev);
  check_place(*header, object, prev);
  return header->kind == SlotKind::kFence ? Status() : body(*header, object);
}

void ObjectDump::print_header(const SlotHeader& header, Bytes object, Neighbour prev) {
  const bool fence = header.kind == SlotKind::kFence;
  const bool segment = header.kind == SlotKind::kSegment;
  const std::string digest = to_hex(header_digest(header, object));
  if (json()) {
    JsonObject line(out());
    line.text("key", key_)
        .text("kind", kind_name(header.kind))
        .number("bytes", object.size())
        .number("version", kFormatVersion)
        .number("header_bytes", header.header_bytes)
        .text("root_id", to_hex(header.root))
        .number("epoch", header.slot.epoch)
        .text("owner", owner_text(header.slot.owner))
        .number("seq", plain_number(header.slot.seq));
    if (!segment) {
      line.text("prev_key", slot_text(header.prev.slot))
          .text("prev_digest", to_hex(header.prev.digest))
          .text("prev", neighbour_name(prev));
    }
    line.text("author", owner_text(header.author))
        .boolean("closed", header.closed)
        .boolean("properties", header.properties)
        .signed_number("time_base_ms", header.time_base_ms)
        .number("entries", header.entries)
        .number("index_bytes", header.index_bytes)
        .number("body_bytes", header.body_bytes)
        .text("body_digest", to_hex(header.body_digest))
        .text("digest", digest);
    if (!segment) line.text("next_key", slot_key(header.next()));
    line.end_line();
    return;
  }
  Facts facts;
  facts.add("key", key_);
  facts.add("object",
            std::string(kind_name(header.kind)) + ", " + bytes_fact(object.size()) + " bytes");
  facts.add("format", "version " + std::to_string(kFormatVersion) + ", header of " +
                          std::to_string(header.header_bytes) + " bytes");
  facts.add("root id", to_hex(header.root));
  facts.add(segment ? "segment" : "slot", "epoch " + std::to_string(header.slot.epoch) +
                                              " of owner " + owner_text(header.slot.owner) +
                                              ", number " +
                                              std::to_string(plain_number(header.slot.seq)));
  facts.add("author", owner_text(header.author) + (fence ? ", the owner of the next epoch" : ""));
  if (header.closed) facts.add("closed", "yes: its owner ended, and nothing of it follows");
  if (!segment) {
    facts.add("follows",
              slot_text(header.prev.slot) + ", which " + neighbour_text(neighbour_name(prev)));
    facts.add("", to_hex(header.prev.digest));
  }
  facts.add("digest", digest);
  if (!segment) facts.add("followed by", slot_key(header.next()));
  if (!fence) {
    facts.add("entries", std::to_string(header.entries));
    facts.add("time base", iso_time(header.time_base_ms));
    facts.add("index", bytes_fact(header.index_bytes) + " bytes" +
                           (header.properties ? ", which properties occur among them" : ""));
    facts.add("body", bytes_fact(header.body_bytes) + " bytes, the index among them");
    facts.add("", to_hex(header.body_digest));
  }
  facts.print(out());
}

void ObjectDump::check_place(const SlotHeader& header, Bytes object, Neighbour prev) {
  SlotId named;
  if ((parse_slot_key(key_, &named) || parse_segment_key(key_, &named)) && named != header.slot) {
    damage("it says that it is " + slot_key(header.slot));
  }
  if (const auto root = read_root(); root && root->id != header.root) {
    damage("it is of another root: this one is " + to_hex(root->id));
  }
  if (prev == Neighbour::kOther) {
    damage("it does not follow " + slot_text(header.prev.slot) + " as that is, or that is damaged");
  }
  if (object.size() != header.object_bytes()) {
    damage("it has " + std::to_string(object.size()) + " bytes, and not " +
           std::to_string(header.object_bytes()));
  } else if (sha256(object.subspan(header.header_bytes)) != header.body_digest) {
    damage("its body does not match its digest");
  }
}

Status ObjectDump::body(const SlotHeader& header, Bytes object) {
  if (object.size() - header.header_bytes < header.index_bytes) {
    damage("its index is cut: none of its entries can be read");
    return {};
  }
  const auto index = decode_index(header, object.subspan(header.header_bytes, header.index_bytes));
  if (!index) {
    if (index.code() != Code::kCorrupt) return index.status();
    damage(index.status().message() + ": none of its entries can be read");
    return {};
  }
  find_names(*index);
  print_records(*index);
  print_blocks(*index);
  print_runs(*index);
  check_runs(header, *index, decode_blocks(*index, object));
  return {};
}

// What the root knows now, and what this object says itself.
void ObjectDump::find_names(const SlotIndex& index) {
  bool wanted = !index.runs.empty();
  for (const Record& record : index.records) wanted |= record.type != RecordType::kCreate;
  if (wanted) {
    // A root that does not open tells no names, and is no reason to say nothing.
    auto options = session_.options(session_.args().operand(0), Session::Open::kRead);
    if (options) {
      options->on_message = {};
      const auto wal = Wal::open(session_.args().operand(0), *options);
      const auto logs = wal ? (*wal)->logs() : wal.status();
      if (logs) {
        for (const LogInfo& log : *logs) names_[log.id] = log.name;
      }
    }
  }
  for (const Record& record : index.records) {
    if (record.type == RecordType::kCreate) names_[record.log] = record.name;
  }
}

std::string ObjectDump::name_of(LogId log) const {
  const auto it = names_.find(log);
  return it == names_.end() ? "-" : printable(it->second);
}

namespace {

std::string_view record_name(RecordType type) {
  switch (type) {
    case RecordType::kCreate:
      return "create";
    case RecordType::kTruncate:
      return "truncate";
    case RecordType::kDrop:
      return "drop";
    case RecordType::kRetain:
      return "retain";
    case RecordType::kCursor:
      return "cursor";
    case RecordType::kCursorDrop:
      return "drop cursor";
    case RecordType::kPublish:
      return "publish";
    case RecordType::kForget:
      break;
  }
  return "forget";
}

bool is_of_log(RecordType type) {
  return type != RecordType::kPublish && type != RecordType::kForget;
}

std::string retention_text(const Retention& retention) {
  std::string out;
  const auto add = [&out](std::string_view name, uint64_t value, std::string_view unit) {
    if (value == 0) return;
    out += (out.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(value) +
           std::string(unit);
  };
  add("age", static_cast<uint64_t>(retention.age.count()), " ms");
  add("size", retention.bytes, " bytes");
  if (retention.cursors) out += out.empty() ? "cursors" : ", cursors";
  add("hold age", static_cast<uint64_t>(retention.hold_age.count()), " ms");
  add("hold size", retention.hold_bytes, " bytes");
  return out.empty() ? "everything" : out;
}

// What a record says beside its type and log, in words.
std::string record_text(const Record& record) {
  switch (record.type) {
    case RecordType::kTruncate:
      return ": the first that is left is LSN " + std::to_string(record.lsn_first);
    case RecordType::kRetain:
      return ": " + retention_text(record.retention);
    case RecordType::kCursor:
      return ": " + printable(record.name) + " has done all up to LSN " +
             std::to_string(record.lsn_first);
    case RecordType::kCursorDrop:
      return ": " + printable(record.name);
    case RecordType::kPublish:
      return " segment " + std::to_string(plain_number(record.segment.seq)) + " of this epoch, " +
             bytes_fact(record.segment.bytes) + " bytes, " +
             std::to_string(record.segment.entries) + " entries";
    case RecordType::kForget: {
      std::string out = " objects of " + bytes_fact(record.segment.bytes) + " bytes";
      for (const ObjectRange& range : record.objects) {
        const uint64_t first = plain_number(range.seq_first);
        out += "\n    " + std::string(is_segment(range.seq_first) ? "segments " : "slots ") +
               std::to_string(first) + " to " + std::to_string(first + range.count - 1) +
               " of epoch " + std::to_string(range.epoch);
      }
      return out;
    }
    case RecordType::kCreate:
    case RecordType::kDrop:
      break;
  }
  return {};
}

void record_json(const Record& record, JsonObject& line) {
  switch (record.type) {
    case RecordType::kTruncate:
      line.number("lsn_first", record.lsn_first).number("bytes_begin", record.bytes_begin);
      break;
    case RecordType::kRetain:
      line.signed_number("age_ms", record.retention.age.count())
          .number("bytes", record.retention.bytes)
          .boolean("cursors", record.retention.cursors)
          .signed_number("hold_age_ms", record.retention.hold_age.count())
          .number("hold_bytes", record.retention.hold_bytes);
      break;
    case RecordType::kCursor:
      line.bytes("cursor", record.name)
          .number("committed", record.lsn_first)
          .signed_number("time_ms", record.time_ms);
      break;
    case RecordType::kCursorDrop:
      line.bytes("cursor", record.name);
      break;
    case RecordType::kPublish: {
      line.number("number", plain_number(record.segment.seq))
          .number("bytes", record.segment.bytes)
          .number("entries", record.segment.entries);
      std::string& list = line.raw("runs");
      for (const RunRow& run : record.runs) {
        list += &run == &record.runs.front() ? '[' : ',';
        JsonObject(list)
            .number("log", run.log)
            .number("first", run.lsn_first)
            .number("last", run.lsn_first + run.count - 1)
            .number("bytes_begin", run.bytes_begin)
            .number("bytes", run.bytes)
            .signed_number("time_first_ms", run.time_first_ms)
            .signed_number("time_last_ms", run.time_last_ms)
            .end();
      }
      list += ']';
      break;
    }
    case RecordType::kForget: {
      line.number("bytes", record.segment.bytes);
      std::string& list = line.raw("objects");
      for (const ObjectRange& range : record.objects) {
        list += &range == &record.objects.front() ? '[' : ',';
        JsonObject(list)
            .text("kind", is_segment(range.seq_first) ? "segment" : "slot")
            .number("epoch", range.epoch)
            .number("first", plain_number(range.seq_first))
            .number("count", range.count)
            .end();
      }
      list += ']';
      break;
    }
    case RecordType::kCreate:
    case RecordType::kDrop:
      break;
  }
}

}  // namespace

void ObjectDump::print_records(const SlotIndex& index) {
  if (!json() && !index.records.empty()) out() += "\nrecords\n";
  for (const Record& record : index.records) {
    const std::string_view type = record_name(record.type);
    if (json()) {
      JsonObject line(out());
      line.text("record", type);
      if (is_of_log(record.type)) {
        line.number("log", record.log);
        if (names_.contains(record.log)) line.bytes("name", names_[record.log]);
      }
      record_json(record, line);
      line.end_line();
      continue;
    }
    out() += "  " + std::string(type);
    if (is_of_log(record.type)) {
      out() += " log " + std::to_string(record.log) + " " + name_of(record.log);
    }
    out() += record_text(record) + '\n';
    for (const RunRow& run : record.runs) {
      out() += "    log " + std::to_string(run.log) + " " + name_of(run.log) + " LSN " +
               std::to_string(run.lsn_first) + " to " +
               std::to_string(run.lsn_first + run.count - 1) + '\n';
    }
  }
}

void ObjectDump::print_blocks(const SlotIndex& index) {
  Rows rows = {{"BLOCK", "OFFSET", "STORED", "DECODED", "COMPRESSION", "CRC"}};
  for (size_t i = 0; i < index.blocks.size(); ++i) {
    const BlockInfo& block = index.blocks[i];
    if (json()) {
      JsonObject(out())
          .number("block", i)
          .number("offset", block.offset)
          .number("stored_bytes", block.stored_bytes)
          .number("raw_bytes", block.raw_bytes)
          .text("compression", compression_name(block))
          .text("crc", hex_number(block.crc, 8))
          .end_line();
      continue;
    }
    rows.push_back({std::to_string(i), std::to_string(block.offset),
                    std::to_string(block.stored_bytes), std::to_string(block.raw_bytes),
                    std::string(compression_name(block)), hex_number(block.crc, 8)});
  }
  if (json() || index.blocks.empty()) return;
  out() += '\n';
  print_table(out(), rows);
}

void ObjectDump::print_runs(const SlotIndex& index) {
  Rows rows = {{"LOG", "ID", "FIRST", "LAST", "ENTRIES", "BYTES", "OLDEST", "NEWEST", "PIECES"}};
  for (const Run& run : index.runs) {
    const Lsn last = run.lsn_first + run.count - 1;
    if (!json()) {
      rows.push_back({name_of(run.log), std::to_string(run.log), std::to_string(run.lsn_first),
                      std::to_string(last), std::to_string(run.count), std::to_string(run.bytes),
                      iso_time(run.time_first_ms), iso_time(run.time_last_ms),
                      std::to_string(run.pieces)});
      continue;
    }
    JsonObject line(out());
    line.number("run", static_cast<uint64_t>(&run - index.runs.data())).number("log", run.log);
    if (names_.contains(run.log)) line.bytes("name", names_[run.log]);
    line.number("first", run.lsn_first)
        .number("last", last)
        .number("entries", run.count)
        .number("bytes", run.bytes)
        .signed_number("time_first_ms", run.time_first_ms)
        .signed_number("time_last_ms", run.time_last_ms);
    std::string& list = line.raw("pieces");
    for (uint32_t i = 0; i < run.pieces; ++i) {
      const Piece& piece = index.pieces[run.piece_first + i];
      list += i == 0 ? '[' : ',';
      JsonObject(list)
          .number("block", piece.block)
          .number("offset", piece.offset)
          .number("bytes", piece.bytes)
          .number("first", piece.lsn_first)
          .number("last", piece.lsn_first + piece.count - 1)
          .signed_number("time_last_ms", piece.time_last_ms)
          .end();
    }
    list += ']';
    line.end_line();
  }
  if (json() || index.runs.empty()) return;
  out() += '\n';
  print_table(out(), rows);
  print_pieces(index);
}

void ObjectDump::print_pieces(const SlotIndex& index) {
  Rows rows = {{"PIECE OF", "ID", "BLOCK", "AT", "BYTES", "FIRST", "LAST", "NEWEST"}};
  for (const Run& run : index.runs) {
    for (uint32_t i = run.piece_first; i < run.piece_first + run.pieces; ++i) {
      const Piece& piece = index.pieces[i];
      rows.push_back({name_of(run.log), std::to_string(run.log), std::to_string(piece.block),
                      std::to_string(piece.offset), std::to_string(piece.bytes),
                      std::to_string(piece.lsn_first),
                      std::to_string(piece.lsn_first + piece.count - 1),
                      iso_time(piece.time_last_ms)});
    }
  }
  out() += '\n';
  print_table(out(), rows);
}

std::vector<ObjectDump::BlockState> ObjectDump::decode_blocks(const SlotIndex& index,
                                                              Bytes object) {
  std::vector<BlockState> states;
  for (const BlockInfo& info : index.blocks) {
    BlockState& state = states.emplace_back();
    if (info.offset > object.size() || info.stored_bytes > object.size() - info.offset) {
      state.what = "is cut";
      continue;
    }
    auto block = decode_block(info, object.subspan(info.offset, info.stored_bytes));
    if (block) {
      state.block = *std::move(block);
    } else {
      state.what = "cannot be decoded (" + block.status().message() + ")";
    }
  }
  return states;
}

void ObjectDump::check_runs(const SlotHeader& header, const SlotIndex& index,
                            const std::vector<BlockState>& blocks) {
  for (const Run& run : index.runs) {
    int64_t time = INT64_MIN;
    for (uint32_t i = run.piece_first; i < run.piece_first + run.pieces; ++i) {
      const Piece& piece = index.pieces[i];
      const BlockState& state = blocks[piece.block];
      const std::string what = state.block == nullptr
                                   ? "block " + std::to_string(piece.block) + " " + state.what
                                   : check_piece(header, piece, *state.block, &time);
      if (!what.empty()) damaged_piece(run, piece, what);
    }
  }
}

std::string ObjectDump::check_piece(const SlotHeader& header, const Piece& piece,
                                    const Block& block, int64_t* time) const {
  EntryCursor cursor(nullptr, block.bytes().subspan(piece.offset, piece.bytes), piece.lsn_first,
                     header.time_base_ms);
  uint64_t count = 0;
  for (Entry entry; !cursor.done(); ++count) {
    if (!cursor.next(&entry)) return "an entry makes no sense";
    if (entry.time_ms < *time) return "times decrease within the log";
    *time = entry.time_ms;
  }
  if (count == piece.count) return {};
  return "there are " + std::to_string(count) + " entries, and not as many as the index says";
}

void ObjectDump::damaged_piece(const Run& run, const Piece& piece, const std::string& what) {
  damaged_ = true;
  const Lsn last = piece.lsn_first + piece.count - 1;
  if (json()) {
    JsonObject line(out());
    line.text("damaged", key_).text("what", what).number("log_id", run.log);
    if (names_.contains(run.log)) line.bytes("log", names_[run.log]);
    line.number("first", piece.lsn_first).number("last", last).end_line();
    return;
  }
  out() += "damaged: " + key_ + ": " + what + " [log " + std::to_string(run.log) + " " +
           name_of(run.log) + " LSN " + std::to_string(piece.lsn_first) + "-" +
           std::to_string(last) + "]\n";
}

// ----------------------------------------------------------------------------------- a checkpoint

void ObjectDump::print_settings(const std::map<LogId, LogSettings>& settings) {
  if (!json() && !settings.empty()) out() += "\nsettings\n";
  for (const auto& [id, of_log] : settings) {
    if (json()) {
      Record retain;
      retain.type = RecordType::kRetain;
      retain.retention = of_log.retention;
      JsonObject line(out());
      line.text("settings", "retention").number("log", id).bytes("name", names_[id]);
      record_json(retain, line);
      line.end_line();
    } else {
      out() += "  log " + std::to_string(id) + " " + name_of(id) + ": keeps " +
               retention_text(of_log.retention) + '\n';
    }
    for (const CursorRow& cursor : of_log.cursors) {
      if (json()) {
        JsonObject(out())
            .text("settings", "cursor")
            .number("log", id)
            .bytes("cursor", cursor.name)
            .number("committed", cursor.committed)
            .signed_number("time_ms", cursor.time_ms)
            .end_line();
      } else {
        out() += "    cursor " + printable(cursor.name) + " has done all up to LSN " +
                 std::to_string(cursor.committed) + '\n';
      }
    }
  }
}

Status ObjectDump::checkpoint(Bytes object) {
  uint64_t runs = 0, slots = 0, segments = 0, dead = 0;
  std::map<LogId, LogSettings> settings;  // of few logs
  const auto count = [&](const ViewDelta& delta) {
    for (const LogRow& log : delta.logs) {
      if (log.settings.empty()) continue;
      settings[log.id] = log.settings;
      names_[log.id] = log.name;
    }
    runs += delta.runs.size();
    for (const SlotRow& row : delta.slots) {
      ++(is_segment(row.seq) ? segments : slots);
      dead += row.dead != 0 ? 1 : 0;
    }
    return Status();
  };
  const auto checkpoint = decode_checkpoint(object, count);
  if (!checkpoint) {
    if (checkpoint.code() != Code::kCorrupt) return checkpoint.status();
    print_kind("checkpoint", object);
    damage(checkpoint.status().message());
    return {};
  }
  const ViewHead& head = checkpoint->head;
  const Neighbour last = look_at(head.last);
  if (json()) {
    JsonObject(out())
        .text("key", key_)
        .text("kind", "checkpoint")
        .number("bytes", object.size())
        .number("version", kFormatVersion)
        .text("root_id", to_hex(head.root_id))
        .text("last_key", slot_text(head.last.slot))
        .text("last_digest", to_hex(head.last.digest))
        .text("last", neighbour_name(last))
        .text("next_key", slot_text(head.next))
        .number("log_id_next", head.log_id_next)
        .number("slots", head.slots)
        .number("stored_bytes", head.stored_bytes)
        .number("logs", head.logs)
        .number("epochs", checkpoint->epochs.size())
        .number("log_rows", head.logs)
        .number("run_rows", runs)
        .number("slot_rows", slots)
        .number("segment_rows", segments)
        .number("dead_rows", dead)
        .end_line();
    for (const EpochRow& row : checkpoint->epochs) {
      JsonObject line(out());
      line.number("epoch", row.epoch)
          .text("owner", owner_text(row.owner))
          .boolean("ended", row.ended)
          .boolean("closed", row.closed);
      if (row.ended) line.number("fence", row.fence);
      line.end_line();
    }
  } else {
    Facts facts;
    facts.add("key", key_);
    facts.add("object", "checkpoint, " + bytes_fact(object.size()) + " bytes");
    facts.add("format", "version " + std::to_string(kFormatVersion));
    facts.add("root id", to_hex(head.root_id));
    facts.add("as of",
              slot_text(head.last.slot) + ", which " + neighbour_text(neighbour_name(last)));
    facts.add("", to_hex(head.last.digest));
    facts.add("followed by", slot_text(head.next));
    facts.add("slots", std::to_string(head.slots) + " so far, with " +
                           bytes_fact(head.stored_bytes) + " bytes");
    facts.add("logs",
              std::to_string(head.logs) + ", the next id is " + std::to_string(head.log_id_next));
    facts.add("rows", std::to_string(head.logs) + " of logs, " + std::to_string(runs) +
                          " of runs, " + std::to_string(slots) + " of slots, " +
                          std::to_string(segments) + " of segments; " + std::to_string(dead) +
                          " of these dead");
    facts.print(out());
    Rows rows = {{"EPOCH", "OWNER", "ENDED BY", "CLOSED"}};
    for (const EpochRow& row : checkpoint->epochs) {
      rows.push_back({std::to_string(row.epoch), owner_text(row.owner),
                      row.ended ? slot_key({row.epoch, row.owner, row.fence}) : "-",
                      row.closed ? "yes" : "no"});
    }
    out() += '\n';
    print_table(out(), rows);
  }
  print_settings(settings);
  Epoch epoch = 0;
  Seq seq = 0;
  if (parse_checkpoint_key(key_, &epoch, &seq) &&
      (epoch != head.last.slot.epoch || seq != head.last.slot.seq)) {
    damage("it says that it is " + checkpoint_key(head.last.slot.epoch, head.last.slot.seq));
  }
  if (const auto root = read_root(); root && root->id != head.root_id) {
    damage("it is of another root: this one is " + to_hex(root->id));
  }
  if (last == Neighbour::kOther) {
    damage("its last slot is not the one that is at " + slot_text(head.last.slot) +
           ", or that is damaged");
  }
  return {};
}

}  // namespace wp::cli
