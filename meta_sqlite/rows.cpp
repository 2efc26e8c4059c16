// The columns of each table in their order, as written and as read.
#include "meta_sqlite/rows.h"

#include "engine/settings.h"

namespace wp {

void RowOf<ViewHead>::write(RowWriter& out, const ViewHead& row) {
  out.blob(row.root_id);
  out.number(row.last.slot.epoch);
  out.number(row.last.slot.owner);
  out.number(row.last.slot.seq);
  out.blob(row.last.digest);
  out.number(row.next.epoch);
  out.number(row.next.owner);
  out.number(row.next.seq);
  out.number(row.log_id_next);
  out.number(row.slots);
  out.number(row.stored_bytes);
  out.number(row.logs);
}

ViewHead RowOf<ViewHead>::read(RowReader& in) {
  ViewHead row;
  row.root_id = in.array<sizeof(RootId)>();
  row.last.slot.epoch = in.small<Epoch>();
  row.last.slot.owner = in.number();
  row.last.slot.seq = in.number();
  row.last.digest = in.array<sizeof(Digest)>();
  row.next.epoch = in.small<Epoch>();
  row.next.owner = in.number();
  row.next.seq = in.number();
  row.log_id_next = in.number();
  row.slots = in.number();
  row.stored_bytes = in.number();
  row.logs = in.number();
  return row;
}

void RowOf<LogRow>::write(RowWriter& out, const LogRow& row) {
  out.number(row.id);
  out.text(row.name);
  out.number(row.lsn_first);
  out.number(row.lsn_next);
  out.number(row.bytes_begin);
  out.number(row.bytes_end);
  out.time(row.time_last_ms);
  ByteVector settings;  // of no bytes where there is nothing, as for most logs
  if (!row.settings.empty()) put_settings(settings, row.settings);
  out.blob_copied(settings);
}

LogRow RowOf<LogRow>::read(RowReader& in) {
  LogRow row;
  row.id = in.number();
  row.name = in.text();
  row.lsn_first = in.number();
  row.lsn_next = in.number();
  row.bytes_begin = in.number();
  row.bytes_end = in.number();
  row.time_last_ms = in.time();
  const Bytes settings = in.blob();
  if (settings.empty()) return row;
  ByteParser parser(settings);
  if (!read_settings(parser, &row.settings) || !parser.done()) in.refuse();
  return row;
}

void RowOf<RunRow>::write(RowWriter& out, const RunRow& row) {
  out.number(row.log);
  out.number(row.lsn_first);
  out.number(row.count);
  out.number(row.epoch);
  out.number(row.seq);
  out.number(row.bytes_begin);
  out.number(row.bytes);
  out.time(row.time_first_ms);
  // Unsigned, so that any two times have a difference.
  out.number(static_cast<uint64_t>(row.time_last_ms) - static_cast<uint64_t>(row.time_first_ms));
}

RunRow RowOf<RunRow>::read(RowReader& in) {
  RunRow row;
  row.log = in.number();
  row.lsn_first = in.number();
  row.count = in.number();
  row.epoch = in.small<Epoch>();
  row.seq = in.number();
  row.bytes_begin = in.number();
  row.bytes = in.number();
  row.time_first_ms = in.time();
  row.time_last_ms = static_cast<int64_t>(static_cast<uint64_t>(row.time_first_ms) + in.number());
  return row;
}

void RowOf<EpochRow>::write(RowWriter& out, const EpochRow& row) {
  out.number(row.epoch);
  out.number(row.owner);
  out.number(row.ended ? 1 : 0);
  out.number(row.closed ? 1 : 0);
  out.number(row.fence);
}

EpochRow RowOf<EpochRow>::read(RowReader& in) {
  EpochRow row;
  row.epoch = in.small<Epoch>();
  row.owner = in.number();
  row.ended = in.number() != 0;
  row.closed = in.number() != 0;
  row.fence = in.number();
  return row;
}

void RowOf<SlotRow>::write(RowWriter& out, const SlotRow& row) {
  out.number(row.epoch);
  out.number(row.seq);
  out.number(row.bytes);
  out.number(row.entries);
  out.number(row.dead);
}

SlotRow RowOf<SlotRow>::read(RowReader& in) {
  SlotRow row;
  row.epoch = in.small<Epoch>();
  row.seq = in.number();
  row.bytes = in.number();
  row.entries = in.number();
  row.dead = in.number();
  return row;
}

void RowOf<NoteRow>::write(RowWriter& out, const NoteRow& row) {
  out.text(row.name);
  out.text(row.value);
}

NoteRow RowOf<NoteRow>::read(RowReader& in) {
  NoteRow row;
  row.name = in.text();
  row.value = in.text();
  return row;
}

}  // namespace wp
