// `wp logs` and `wp info`: what a root holds.
#include <algorithm>

#include "cli/commands.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/values.h"

namespace wp::cli {
namespace {

std::string age(int64_t time_ms, int64_t now) {
  return time_ms == 0 ? "-" : human_duration(std::max<int64_t>(0, now - time_ms));
}

void append_log_json(std::string& out, const LogInfo& log) {
  JsonObject object(out);
  object.text("log", log.name)
      .number("first", log.lsn_first)
      .number("durable", log.lsn_durable)
      .number("entries", log.entries())
      .number("bytes", log.bytes)
      .signed_number("time_first_ms", log.time_first_ms)
      .signed_number("time_last_ms", log.time_last_ms)
      .number("id", log.id);
  std::string& retention = object.raw("retention");
  JsonObject inner(retention);
  append_retention_json(inner, log.retention);
  inner.end();
  object.end_line();
}

std::string retention_fact(const Retention& retention) {
  std::string text;
  const auto add = [&](std::string_view what, const std::string& value) {
    text += (text.empty() ? "" : ", ") + std::string(what) + value;
  };
  if (retention.age > Duration{0}) add("age ", human_duration(retention.age.count()));
  if (retention.bytes != 0) add("bytes ", human_bytes(retention.bytes));
  if (retention.cursors) add("cursors", "");
  if (text.empty()) add("keeps everything", "");
  if (retention.hold_age > Duration{0}) {
    add("hold-age ", human_duration(retention.hold_age.count()));
  }
  if (retention.hold_bytes != 0) add("hold-bytes ", human_bytes(retention.hold_bytes));
  return text;
}

std::string time_fact(int64_t time_ms, int64_t now) {
  if (time_ms == 0) return "-";
  return iso_time(time_ms) + " (" + age(time_ms, now) + " ago)";
}

void print_root_json(std::string& out, const RootInfo& root, const Stats& stats) {
  JsonObject object(out);
  object.text("url", root.url)
      .text("root_id", root.root_id)
      .number("format", root.format_version)
      .number("epoch", root.epoch)
      .number("objects", root.slots)
      .number("stored_bytes", root.stored_bytes)
      .number("logs", root.logs)
      .text("view_path", root.view_path)
      .text("view_error", root.view_error);
  std::string& list = object.raw("requests");
  list += '[';
  bool first = true;
  for (const RequestCount& count : stats.requests) {
    if (count.requests == 0) continue;
    if (!first) list += ',';
    first = false;
    JsonObject(list)
        .text("operation", count.operation)
        .text("cause", count.cause)
        .number("requests", count.requests)
        .number("failed", count.failed)
        .number("bytes", count.bytes)
        .end();
  }
  list += ']';
  object.real("dollars", stats.dollars).end_line();
}

void print_root(std::string& out, const RootInfo& root, const Stats& stats) {
  Facts facts;
  facts.add("url", root.url);
  facts.add("root id", root.root_id);
  facts.add("format", std::to_string(root.format_version));
  facts.add("epoch", std::to_string(root.epoch));
  facts.add("objects", std::to_string(root.slots));
  facts.add("stored bytes", bytes_fact(root.stored_bytes));
  facts.add("logs", std::to_string(root.logs));
  facts.add("view", root.view_path.empty() ? "in memory" : root.view_path);
  if (!root.view_error.empty()) facts.add("view error", root.view_error);
  facts.add("this look", request_counts(stats));
  for (const RequestCount& count : stats.requests) {
    if (count.requests == 0) continue;
    std::string value = std::to_string(count.requests) + ", " + human_bytes(count.bytes);
    if (count.failed > 0) value += ", " + std::to_string(count.failed) + " failed";
    facts.add("  " + std::string(count.operation) + " to " + std::string(count.cause), value);
  }
  facts.add("price on S3", human_dollars(stats.dollars));
  facts.print(out);
}

void print_log(std::string& out, const LogInfo& log, int64_t now) {
  Facts facts;
  facts.add("log", log.name);
  facts.add("first", std::to_string(log.lsn_first));
  facts.add("last", std::to_string(log.lsn_durable));
  facts.add("entries", std::to_string(log.entries()));
  facts.add("bytes", bytes_fact(log.bytes));
  facts.add("oldest", time_fact(log.time_first_ms, now));
  facts.add("newest", time_fact(log.time_last_ms, now));
  facts.add("retention", retention_fact(log.retention));
  facts.print(out);
}

}  // namespace

int run_logs(const Args& args) {
  Session session(args);
  auto wal = session.open(args.operand(0), Session::Open::kRead);
  if (!wal) return session.fail(wal.status());
  const auto logs = (*wal)->logs();
  if (!logs) return session.fail(logs.status());
  const int64_t now = now_ms();
  std::string& out = session.out().buffer();
  if (session.json()) {
    for (const LogInfo& log : *logs) {
      append_log_json(out, log);
      if (out.size() >= Output::kBufferBytes && !session.out().flush()) break;
    }
    return session.finish();
  }
  std::vector<std::vector<std::string>> rows = {
      {"LOG", "FIRST", "LAST", "ENTRIES", "BYTES", "OLDEST", "NEWEST"}};
  for (const LogInfo& log : *logs) {
    rows.push_back({log.name, std::to_string(log.lsn_first), std::to_string(log.lsn_durable),
                    std::to_string(log.entries()), human_bytes(log.bytes),
                    age(log.time_first_ms, now), age(log.time_last_ms, now)});
  }
  print_table(out, rows);
  return session.finish();
}

int run_info(const Args& args) {
  Session session(args);
  const bool metrics = args.has("metrics");
  if (Status status = args.exclusive("metrics", "json"); !status.ok()) return session.fail(status);
  if (metrics && args.operands() > 1) {
    return session.fail(Status(Code::kInvalid, "--metrics are of the root; leave the log away"));
  }
  auto wal = session.open(args.operand(0), Session::Open::kRead);
  if (!wal) return session.fail(wal.status());
  std::string& out = session.out().buffer();
  if (args.operands() == 1) {
    const RootInfo root = (*wal)->info();
    const Stats stats = (*wal)->stats();
    if (metrics) {
      out += to_prometheus(stats, root.url);
      return session.finish();
    }
    session.json() ? print_root_json(out, root, stats) : print_root(out, root, stats);
    return session.finish();
  }
  const auto log = (*wal)->find(args.operand(1));
  if (!log) return session.fail(log.status());
  const LogInfo info = log->info();
  session.json() ? append_log_json(out, info) : print_log(out, info, now_ms());
  return session.finish();
}

}  // namespace wp::cli
