#include "tests/crash/check.h"

#include <filesystem>

#include "tests/crash/recorder.h"
#include "tests/crash/script.h"

namespace wp::crash {
namespace {

std::string verify(Wal& wal) {
  std::string damage;
  const Status status = wal.verify([&](const VerifyProgress& progress) {
    if (progress.damage != nullptr) damage = progress.damage->object + " " + progress.damage->what;
  });
  return status.ok() ? "" : "verify: " + status.to_string() + " " + damage;
}

std::string append_one(Wal& wal, Known& known) {
  auto log = wal.log("cut");
  if (!log) return log.status().to_string();
  const Lsn next = log->info().lsn_last + 1;
  const auto tell = [&known](const std::string& text) {
    note(text);
    known.told(text);
  };
  tell("appending cut " + std::to_string(next) + " " + std::to_string(next));
  const auto lsn = log->append(as_bytes(payload("cut", known.generation("cut"), next)));
  if (!lsn) return "appending: " + lsn.status().to_string();
  if (*lsn != next) return "appended is " + std::to_string(*lsn) + ", not the next";
  tell("appended cut " + std::to_string(next));
  return known.check(wal);
}

std::string check_in(Wal& wal, Known& known) {
  if (std::string wrong = known.check(wal); !wrong.empty()) return wrong;
  for (const char* log : kLogNames) {
    note(std::string("found ") + log + " " + std::to_string(known.last(log)));
  }
  if (std::string wrong = verify(wal); !wrong.empty()) return wrong;
  return append_one(wal, known);
}

void lose_view(const std::string& root) {
  for (const char* end : {"", "-wal", "-shm", "-journal"}) {
    std::filesystem::remove(root + "/wp.sqlite" + end);
  }
}

}  // namespace

std::string check_opening(const std::string& root, Known& known, bool rebuild) {
  Options options = small_options();
  options.rebuild = rebuild;
  auto wal = Wal::open(root, options);
  if (!wal) return "opening: " + wal.status().to_string();
  if (std::string wrong = check_in(**wal, known); !wrong.empty()) return wrong;
  const Status closed = (*wal)->close();
  return closed.ok() ? "" : "closing: " + closed.to_string();
}

std::string check_root(const std::string& root, Known known, uint64_t chance) {
  if (chance % 8 == 0) lose_view(root);
  if (std::string wrong = check_opening(root, known); !wrong.empty()) return wrong;
  if (chance % 8 != 1) return "";
  lose_view(root);
  const std::string wrong = check_opening(root, known);
  return wrong.empty() ? "" : "without its view: " + wrong;
}

}  // namespace wp::crash
