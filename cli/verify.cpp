// `wp verify`: reads everything and says what is damaged.
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/values.h"

namespace wp::cli {
namespace {

void print_damage(Session& session, const Damage& damage) {
  std::string& out = session.out().buffer();
  if (session.json()) {
    JsonObject object(out);
    object.text("damaged", damage.object).text("what", damage.what);
    if (!damage.log.empty()) object.text("log", damage.log);
    if (damage.lsn_first > 0) {
      object.number("first", damage.lsn_first).number("last", damage.lsn_last);
    }
    object.end_line();
    return;
  }
  out += "damaged: " + damage.object + ": " + damage.what;
  if (!damage.log.empty()) {
    out += " [log " + damage.log;
    if (damage.lsn_first > 0) {
      out += " LSN " + std::to_string(damage.lsn_first) + "-" + std::to_string(damage.lsn_last);
    }
    out += "]";
  }
  out += '\n';
}

void print_result(Session& session, const VerifyProgress& at, uint64_t damaged) {
  std::string& out = session.out().buffer();
  if (session.json()) {
    JsonObject(out)
        .number("objects", at.objects_done)
        .number("entries", at.entries_done)
        .number("bytes", at.bytes_done)
        .number("damaged", damaged)
        .end_line();
    return;
  }
  out += "verified " + std::to_string(at.objects_done) + " objects, " +
         std::to_string(at.entries_done) + " entries, " + std::to_string(at.bytes_done) +
         " bytes: " + (damaged == 0 ? "no damage" : std::to_string(damaged) + " damaged") + "\n";
}

}  // namespace

int run_verify(const Args& args) {
  Session session(args);
  auto wal = session.open(args.operand(0), Session::Open::kRead);
  if (!wal) return session.fail(wal.status());
  VerifyProgress last;
  uint64_t damaged = 0;
  const Status status = (*wal)->verify([&](const VerifyProgress& at) {
    last = at;
    if (at.damage != nullptr) {
      ++damaged;
      session.progress().clear();
      print_damage(session, *at.damage);
      session.out().flush();
    }
    ProgressLine& progress = session.progress();
    if (!progress.due()) return;
    progress.show(at.objects_done, at.objects_total,
                  human_count(at.objects_done) + " objects, " + human_bytes(at.bytes_done) + ", " +
                      human_count(at.entries_done) + " entries");
  });
  if (!status.ok() && (status.code() != Code::kCorrupt || damaged == 0)) {
    return session.fail(status);
  }
  print_result(session, last, damaged);
  return session.finish(damaged == 0 ? kExitDone : kExitDamaged);
}

}  // namespace wp::cli
