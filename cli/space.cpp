// `wp why`, `wp gc`, `wp retain` and `wp cursors`: what the space under a root is used for, and
// what lets it go.
#include <algorithm>

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

void print_retention(std::string& out, const std::string& log, const Retention& retention,
                     bool json) {
  if (json) {
    JsonObject object(out);
    object.text("log", log);
    append_retention_json(object, retention);
    object.end_line();
    return;
  }
  // Named as the options are.
  const auto age = [](Duration limit) {
    return limit == Duration{0} ? "no limit" : human_duration(limit.count());
  };
  const auto bytes = [](uint64_t limit) { return limit == 0 ? "no limit" : bytes_fact(limit); };
  Facts facts;
  facts.add("log", log);
  facts.add("age", age(retention.age));
  facts.add("bytes", bytes(retention.bytes));
  facts.add("cursors", retention.cursors ? "what all have passed goes" : "no limit");
  facts.add("hold-age", age(retention.hold_age));
  facts.add("hold-bytes", bytes(retention.hold_bytes));
  facts.print(out);
}

// An option that is not given leaves its value as it is.
template <class Value>
Status read_option(const Args& args, std::string_view option,
                   Result<Value> (*parse)(std::string_view what, std::string_view text),
                   Value* value) {
  const auto text = args.value(option);
  if (!text) return {};
  const auto parsed = parse("--" + std::string(option), *text);
  if (parsed) *value = *parsed;
  return parsed.status();
}

Status read_retention(const Args& args, Retention* retention) {
  retention->cursors = args.has("cursors");
  Status status = read_option(args, "age", parse_duration, &retention->age);
  if (status.ok()) status = read_option(args, "hold-age", parse_duration, &retention->hold_age);
  if (status.ok()) status = read_option(args, "bytes", parse_bytes, &retention->bytes);
  if (status.ok()) status = read_option(args, "hold-bytes", parse_bytes, &retention->hold_bytes);
  return status;
}

bool says_retention(const Args& args) {
  for (const std::string_view option : {"age", "bytes", "cursors", "hold-age", "hold-bytes"}) {
    if (args.has(option)) return true;
  }
  return false;
}

std::string counted(uint64_t count, std::string_view one, std::string_view many) {
  return human_count(count) + " " + std::string(count == 1 ? one : many);
}
std::string objects(uint64_t count) {
  return counted(count, "object", "objects");
}

void print_holdings(std::string& out, const std::vector<Holding>& held) {
  struct Line {
    std::string bytes, objects;
    std::string_view text;
  };
  std::vector<Line> lines;
  uint64_t bytes = 0;
  for (const Holding& holding : held) {
    bytes += holding.bytes;
    lines.push_back({human_bytes(holding.bytes), objects(holding.objects), holding.text});
  }
  // Objects are not added up: those that several logs share are in several lines.
  lines.push_back({human_bytes(bytes), "", "in all"});
  size_t bytes_width = 0, objects_width = 0;
  for (const Line& line : lines) {
    bytes_width = std::max(bytes_width, line.bytes.size());
    objects_width = std::max(objects_width, line.objects.size());
  }
  for (Line& line : lines) {
    out += std::string(bytes_width - line.bytes.size(), ' ') + line.bytes + "  ";
    line.objects.insert(0, objects_width - line.objects.size(), ' ');
    if (objects_width > 0) out += line.objects + "  ";
    out += std::string(line.text) + "\n";
  }
}

Status no_cursor(const Log& log, const std::string& name) {
  const std::vector<CursorInfo> cursors = log.cursors();
  const std::vector<std::string_view> names = [&] {
    std::vector<std::string_view> all;
    for (const CursorInfo& cursor : cursors) all.push_back(cursor.name);
    return all;
  }();
  const std::string_view near = nearest(name, names);
  return Status(
      Code::kNotFound,
      "cursor '" + printable(name) + "' of log " + log.name() + ": there is none" +
          (near.empty() ? "; wp cursors lists them" : "; did you mean " + printable(near) + "?"));
}

// Moves or drops it. Makes one only where the commit is good: a cursor that a slip of the hand left
// at the beginning would hold everything.
Status change_cursor(Log& log, const std::string& name, std::optional<Lsn> commit) {
  const std::vector<CursorInfo> cursors = log.cursors();
  const bool there = std::any_of(cursors.begin(), cursors.end(),
                                 [&](const CursorInfo& cursor) { return cursor.name == name; });
  if (!commit && !there) return no_cursor(log, name);
  const Lsn last = log.info().lsn_durable;
  if (commit && *commit > last) {
    return Status(Code::kInvalid, "--commit " + std::to_string(*commit) + ": the last entry of " +
                                      log.name() + " is " + std::to_string(last));
  }
  auto cursor = log.cursor(name);
  if (!cursor) return cursor.status();
  return commit ? cursor->commit(*commit) : cursor->drop();
}

}  // namespace

int run_why(const Args& args) {
  Session session(args);
  auto wal = session.open(args.operand(0), Session::Open::kRead);
  if (!wal) return session.fail(wal.status());
  const auto held = (*wal)->why(args.operands() > 1 ? args.operand(1) : "");
  if (!held) return session.fail(held.status());
  std::string& out = session.out().buffer();
  if (!session.json()) {
    print_holdings(out, *held);
    return session.finish();
  }
  for (const Holding& holding : *held) {
    append_json(out, holding);
    if (out.size() >= Output::kBufferBytes && !session.out().flush()) break;
  }
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
  const auto sized = [](uint64_t count, uint64_t bytes) {
    return objects(count) + ", " + human_bytes(bytes);
  };
  Facts facts;
  const std::string would = dry ? "would be " : "";
  facts.add(would + "expired", counted(report->entries_expired, "entry", "entries"));
  facts.add(would + "compacted", sized(report->objects_compacted, report->bytes_compacted));
  facts.add(would + "written", counted(report->segments_written, "segment", "segments") +
                                   (dry ? "" : ", " + human_bytes(report->segment_bytes_written)));
  facts.add(would + "deleted",
            sized(report->objects_deleted, report->bytes_deleted) +
                (report->leftovers_deleted == 0
                     ? ""
                     : ", of them " + counted(report->leftovers_deleted, "leftover", "leftovers")));
  facts.add("waiting", sized(report->objects_waiting, report->bytes_waiting) +
                           (report->objects_waiting == 0 ? "" : "; wp why says for what"));
  facts.print(out);
  return session.finish();
}

int run_retain(const Args& args) {
  Session session(args);
  Retention retention;
  if (Status status = read_retention(args, &retention); !status.ok()) return session.fail(status);
  const bool change = args.has("none") || says_retention(args);
  if (args.has("none") && says_retention(args)) {
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
  const bool named = args.operands() > 2;
  if (change && !named) {
    return session.fail(Status(Code::kInvalid, "--commit and --drop need the cursor's name"));
  }
  std::optional<Lsn> commit;
  if (const auto text = args.value("commit")) {
    const auto lsn = parse_number("--commit", *text);
    if (!lsn) return session.fail(lsn.status());
    commit = *lsn;
  }
  auto wal = session.open(args.operand(0), change ? Session::Open::kWrite : Session::Open::kRead);
  if (!wal) return session.fail(wal.status());
  auto log = (*wal)->find(args.operand(1));
  if (!log) return session.fail(log.status());
  if (change) {
    Status status = change_cursor(*log, args.operand(2), commit);
    if (status.ok()) status = (*wal)->flush();
    if (!status.ok()) return session.fail(status);
  }
  std::vector<std::vector<std::string>> rows = {
      {"CURSOR", "COMMITTED", "BEHIND", "BYTES", "AGE", "HOLDS"}};
  std::string& out = session.out().buffer();
  bool found = false;
  for (const CursorInfo& cursor : log->cursors()) {
    if (named && cursor.name != args.operand(2)) continue;
    found = true;
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
  if (named && !found && !args.has("drop")) {
    return session.fail(no_cursor(*log, args.operand(2)));
  }
  if (!session.json()) {
    if (args.has("drop")) {
      out += "dropped " + args.operand(2) + "\n";
    } else {
      print_table(out, rows);
    }
  } else if (args.has("drop")) {
    JsonObject(out).text("dropped", args.operand(2)).end_line();
  }
  return session.finish();
}

}  // namespace wp::cli
