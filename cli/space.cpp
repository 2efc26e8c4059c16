// `wp why`, `wp gc`, `wp retain` and `wp cursors`: what the space under a root is used for, and
// what lets it go.
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/values.h"

namespace wp::cli {
namespace {

std::string_view name_of(Holding::Why why) {
  switch (why) {
    case Holding::Why::kEntries:
      return "entries";
    case Holding::Why::kRetention:
      return "retention";
    case Holding::Why::kCursor:
      return "cursor";
    case Holding::Why::kMixed:
      return "mixed";
    case Holding::Why::kCheckpoint:
      return "checkpoint";
    case Holding::Why::kGrace:
      return "grace";
    case Holding::Why::kFence:
      return "fence";
    case Holding::Why::kCheckpoints:
      return "checkpoints";
  }
  return "";
}

void append_json(std::string& out, const Holding& holding) {
  JsonObject object(out);
  object.text("why", name_of(holding.why))
      .text("log", holding.log)
      .text("cursor", holding.cursor)
      .number("objects", holding.objects)
      .number("bytes", holding.bytes)
      .number("entries_behind", holding.entries_behind);
  if (holding.goes_in) object.signed_number("goes_in_ms", holding.goes_in->count());
  object.text("text", holding.text).end_line();
}

void append_json(std::string& out, const CursorInfo& cursor) {
  JsonObject(out)
      .text("cursor", cursor.name)
      .number("committed", cursor.committed)
      .number("entries_behind", cursor.entries_behind)
      .number("bytes_behind", cursor.bytes_behind)
      .signed_number("age_behind_ms", cursor.age_behind.count())
      .boolean("holds", cursor.holds)
      .end_line();
}

std::string limit(Duration age) {
  return age == Duration{0} ? "no limit" : human_duration(age.count());
}
std::string limit(uint64_t bytes) {
  return bytes == 0 ? "no limit" : human_bytes(bytes);
}

void print_retention(std::string& out, const std::string& log, const Retention& retention,
                     bool json) {
  if (json) {
    JsonObject(out)
        .text("log", log)
        .signed_number("age_ms", retention.age.count())
        .number("bytes", retention.bytes)
        .boolean("cursors", retention.cursors)
        .signed_number("hold_age_ms", retention.hold_age.count())
        .number("hold_bytes", retention.hold_bytes)
        .end_line();
    return;
  }
  Facts facts;
  facts.add("log", log);
  facts.add("age", limit(retention.age));
  facts.add("bytes", limit(retention.bytes));
  facts.add("what every cursor passed", retention.cursors ? "goes" : "stays");
  facts.add("cursors hold, by age", limit(retention.hold_age));
  facts.add("cursors hold, by bytes", limit(retention.hold_bytes));
  facts.print(out);
}

Status read_retention(const Args& args, Retention* retention) {
  const auto age = [&](std::string_view option, Duration* value) {
    const auto text = args.value(option);
    if (!text) return Status();
    auto parsed = parse_duration(option, *text);
    if (parsed) *value = *parsed;
    return parsed.status();
  };
  const auto bytes = [&](std::string_view option, uint64_t* value) {
    const auto text = args.value(option);
    if (!text) return Status();
    auto parsed = parse_bytes(option, *text);
    if (parsed) *value = *parsed;
    return parsed.status();
  };
  retention->cursors = args.has("cursors");
  Status status = age("age", &retention->age);
  if (status.ok()) status = age("hold-age", &retention->hold_age);
  if (status.ok()) status = bytes("bytes", &retention->bytes);
  if (status.ok()) status = bytes("hold-bytes", &retention->hold_bytes);
  return status;
}

}  // namespace

int run_why(const Args& args) {
  Session session(args);
  auto wal = session.open(args.operand(0), Session::Open::kRead);
  if (!wal) return session.fail(wal.status());
  const auto held = (*wal)->why(args.operands() > 1 ? args.operand(1) : "");
  if (!held) return session.fail(held.status());
  std::string& out = session.out().buffer();
  uint64_t bytes = 0;
  for (const Holding& holding : *held) {
    bytes += holding.bytes;
    if (session.json()) {
      append_json(out, holding);
    } else {
      out += human_bytes(holding.bytes) + " in " + human_count(holding.objects) +
             (holding.objects == 1 ? " object: " : " objects: ") + printable(holding.text) + "\n";
    }
    if (out.size() >= Output::kBufferBytes && !session.out().flush()) break;
  }
  if (!session.json()) out += human_bytes(bytes) + " in all\n";
  return session.finish();
}

int run_gc(const Args& args) {
  Session session(args);
  const bool dry = args.has("dry-run");
  auto wal = session.open(args.operand(0), Session::Open::kWrite);
  if (!wal) return session.fail(wal.status());
  const auto report = (*wal)->gc(dry);
  if (!report) return session.fail(report.status());
  if (Status status = (*wal)->close(); !status.ok()) return session.fail(status);
  std::string& out = session.out().buffer();
  if (session.json()) {
    JsonObject(out)
        .boolean("dry_run", dry)
        .number("entries_expired", report->entries_expired)
        .number("objects_compacted", report->objects_compacted)
        .number("bytes_compacted", report->bytes_compacted)
        .number("segments_written", report->segments_written)
        .number("segment_bytes_written", report->segment_bytes_written)
        .number("objects_deleted", report->objects_deleted)
        .number("bytes_deleted", report->bytes_deleted)
        .number("leftovers_deleted", report->leftovers_deleted)
        .number("objects_waiting", report->objects_waiting)
        .number("bytes_waiting", report->bytes_waiting)
        .end_line();
    return session.finish();
  }
  const auto objects = [](uint64_t count, uint64_t bytes) {
    return human_count(count) + (count == 1 ? " object, " : " objects, ") + human_bytes(bytes);
  };
  Facts facts;
  const std::string would = dry ? "would be " : "";
  facts.add(would + "expired", human_count(report->entries_expired) + " entries");
  facts.add(would + "compacted", objects(report->objects_compacted, report->bytes_compacted));
  facts.add(would + "written", human_count(report->segments_written) + " segments" +
                                   (dry ? "" : ", " + human_bytes(report->segment_bytes_written)));
  facts.add(would + "deleted",
            objects(report->objects_deleted, report->bytes_deleted) +
                (report->leftovers_deleted == 0
                     ? ""
                     : ", of them " + human_count(report->leftovers_deleted) + " leftovers"));
  facts.add("waiting", objects(report->objects_waiting, report->bytes_waiting) +
                           (report->objects_waiting == 0 ? "" : "; wp why says for what"));
  facts.print(out);
  return session.finish();
}

int run_retain(const Args& args) {
  Session session(args);
  Retention retention;
  if (Status status = read_retention(args, &retention); !status.ok()) return session.fail(status);
  const bool change = args.has("none") || retention != Retention{};
  if (args.has("none") && retention != Retention{}) {
    return session.fail(Status(Code::kInvalid, "--none goes with no other option of retain"));
  }
  auto wal = session.open(args.operand(0), change ? Session::Open::kWrite : Session::Open::kRead);
  if (!wal) return session.fail(wal.status());
  auto log = (*wal)->find(args.operand(1));
  if (!log) return session.fail(log.status());
  if (change) {
    if (Status status = log->retain(retention); !status.ok()) return session.fail(status);
  }
  const LogInfo info = log->info();
  if (change) {
    if (Status status = (*wal)->close(); !status.ok()) return session.fail(status);
  }
  print_retention(session.out().buffer(), info.name, info.retention, session.json());
  return session.finish();
}

int run_cursors(const Args& args) {
  Session session(args);
  if (Status status = args.exclusive("commit", "drop"); !status.ok()) return session.fail(status);
  const bool change = args.has("commit") || args.has("drop");
  if (change && args.operands() < 3) {
    return session.fail(Status(Code::kInvalid, "--commit and --drop need the cursor's name"));
  }
  Lsn upto = 0;
  if (const auto text = args.value("commit")) {
    const auto lsn = parse_number("--commit", *text);
    if (!lsn) return session.fail(lsn.status());
    upto = *lsn;
  }
  auto wal = session.open(args.operand(0), change ? Session::Open::kWrite : Session::Open::kRead);
  if (!wal) return session.fail(wal.status());
  auto log = (*wal)->find(args.operand(1));
  if (!log) return session.fail(log.status());
  if (change) {
    auto cursor = log->cursor(args.operand(2));
    if (!cursor) return session.fail(cursor.status());
    Status status = args.has("drop") ? cursor->drop() : cursor->commit(upto);
    if (status.ok()) status = (*wal)->flush();
    if (!status.ok()) return session.fail(status);
  }
  std::vector<std::vector<std::string>> rows = {
      {"CURSOR", "COMMITTED", "BEHIND", "BYTES", "AGE", "HOLDS"}};
  std::string& out = session.out().buffer();
  for (const CursorInfo& cursor : log->cursors()) {
    if (args.operands() > 2 && cursor.name != args.operand(2)) continue;
    if (session.json()) {
      append_json(out, cursor);
    } else {
      rows.push_back({cursor.name, std::to_string(cursor.committed),
                      std::to_string(cursor.entries_behind), human_bytes(cursor.bytes_behind),
                      human_duration(cursor.age_behind.count()), cursor.holds ? "yes" : "no"});
    }
  }
  if (change) {
    if (Status status = (*wal)->close(); !status.ok()) return session.fail(status);
  }
  if (!session.json()) print_table(out, rows);
  return session.finish();
}

}  // namespace wp::cli
