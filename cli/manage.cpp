// `wp truncate`, `wp drop` and `wp rebuild`: the commands that change a root, and create none.
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/values.h"

namespace wp::cli {

int run_truncate(const Args& args) {
  Session session(args);
  const auto lsn = parse_lsn("LSN", args.operand(2));
  if (!lsn) return session.fail(lsn.status());
  auto wal = session.open(args.operand(0), Session::Open::kWrite);
  if (!wal) return session.fail(wal.status());
  auto log = (*wal)->find(args.operand(1));
  if (!log) return session.fail(log.status());
  if (Status status = log->truncate(*lsn); !status.ok()) return session.fail(status);
  const LogInfo info = log->info();
  if (Status status = (*wal)->close(); !status.ok()) return session.fail(status);
  std::string& out = session.out().buffer();
  if (session.json()) {
    JsonObject(out)
        .text("log", info.name)
        .number("first", info.lsn_first)
        .number("durable", info.lsn_durable)
        .end_line();
  } else {
    out += "truncated " + info.name + ": first is " + std::to_string(info.lsn_first) + ", last " +
           std::to_string(info.lsn_durable) + "\n";
  }
  return session.finish();
}

int run_drop(const Args& args) {
  Session session(args);
  auto wal = session.open(args.operand(0), Session::Open::kWrite);
  if (!wal) return session.fail(wal.status());
  if (Status status = (*wal)->drop(args.operand(1)); !status.ok()) return session.fail(status);
  if (Status status = (*wal)->close(); !status.ok()) return session.fail(status);
  std::string& out = session.out().buffer();
  if (session.json()) {
    JsonObject(out).text("dropped", args.operand(1)).end_line();
  } else {
    out += "dropped " + args.operand(1) + "\n";
  }
  return session.finish();
}

int run_rebuild(const Args& args) {
  Session session(args);
  auto wal = session.open(args.operand(0), Session::Open::kRebuild);
  if (!wal) return session.fail(wal.status());
  const RootInfo root = (*wal)->info();
  if (Status status = (*wal)->close(); !status.ok()) return session.fail(status);
  std::string& out = session.out().buffer();
  if (session.json()) {
    JsonObject(out)
        .number("epoch", root.epoch)
        .number("objects", root.slots)
        .number("stored_bytes", root.stored_bytes)
        .number("logs", root.logs)
        .text("view_path", root.view_path)
        .end_line();
  } else {
    out += "rebuilt " + (root.view_path.empty() ? "in memory" : root.view_path) + ": epoch " +
           std::to_string(root.epoch) + ", " + std::to_string(root.slots) + " objects of " +
           human_bytes(root.stored_bytes) + ", " + std::to_string(root.logs) + " logs\n";
  }
  return session.finish();
}

}  // namespace wp::cli
