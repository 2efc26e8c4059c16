// `wp doctor`: looks at a root's store as the log will use it, and says line by line what is well
// and what to do about what is not. What it stores for that, it removes.
#include "cli/doctor.h"

#include <sys/statvfs.h>

#include <array>
#include <filesystem>
#include <memory>
#include <vector>

#include "cli/commands.h"
#include "cli/json.h"
#include "cli/values.h"
#include "engine/options.h"
#include "platform/process_lock.h"
#include "stores/directory.h"
#include "stores/memory.h"

namespace wp::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr uint64_t kFreeBytesMin = uint64_t{1} << 30;

std::string_view verdict_name(Verdict verdict) {
  static constexpr std::array<std::string_view, 3> kNames = {"ok", "slow", "wrong"};
  return kNames[static_cast<size_t>(verdict)];
}

class StorePatient final : public Patient {
 public:
  explicit StorePatient(ObjectStore& store) : store_(store) {}
  // These stores create only, whatever is asked.
  void put(std::string key, Body body, bool, ObjectStore::PutDone done) override {
    store_.put_if_absent(std::move(key), std::move(body), Cause::kProbe, std::move(done));
  }
  void get(std::string key, ByteRange range, ObjectStore::GetDone done) override {
    store_.get(std::move(key), range, Cause::kProbe, std::move(done));
  }
  void list(std::string prefix, ObjectStore::ListDone done) override {
    store_.list(std::move(prefix), "", 0, Cause::kProbe, std::move(done));
  }
  void remove(std::vector<std::string> keys, ObjectStore::RemoveDone done) override {
    store_.remove(std::move(keys), Cause::kProbe, std::move(done));
  }
  std::string create_words() const override { return "creating"; }

 private:
  ObjectStore& store_;
};

void examine_memory(Report& report, const StopSignals& signals) {
  // A bucket of its own: another process's memory cannot be looked at, and this one's is empty.
  report.ok("memory", "lives and dies with its process; a bucket like it:");
  MemoryStore store(std::make_shared<MemoryBucket>());
  StorePatient patient(store);
  examine_store(report, patient, "", {{}, {}, 0, false, false}, signals);
}

// The directories that making this one makes, innermost first.
std::vector<fs::path> missing_directories(const std::string& path) {
  std::vector<fs::path> missing;
  std::error_code error;
  fs::path at = fs::absolute(path, error).lexically_normal();
  if (!at.has_filename()) at = at.parent_path();
  for (; at.has_relative_path() && !fs::exists(at, error) && !error; at = at.parent_path()) {
    missing.push_back(at);
  }
  return missing;
}

// What was not there before the look goes with it. With the lock of the innermost held, so that
// nobody writes there.
void remove_made(const std::vector<fs::path>& made) {
  if (made.empty()) return;
  std::error_code ignored;
  for (const char* own : {"tmp", "wp.lock"}) fs::remove_all(made.front() / own, ignored);
  // Only empty ones: who put something there meanwhile keeps it.
  for (const fs::path& path : made) {
    if (!fs::remove(path, ignored)) return;
  }
}

void look_at_space(Report& report, const std::string& path) {
  struct statvfs space {};
  if (::statvfs(path.c_str(), &space) != 0) return;
  const uint64_t free = uint64_t{space.f_bavail} * space.f_frsize;
  Finding finding{"space", Verdict::kOk, human_bytes(free) + " free", {}};
  if (free < kFreeBytesMin) {
    finding.verdict = Verdict::kSlow;
    finding.todo = "free some: appends wait while a disk is full";
  }
  finding.numbers = {{"free_bytes", static_cast<double>(free)}};
  report.add(finding);
}

void examine_directory(Report& report, const std::string& path, const Options& options,
                       const StopSignals& signals) {
  const std::vector<fs::path> made = missing_directories(path);
  DirectoryOptions how;
  how.sync = options.sync;
  how.allow_network = options.allow_network;
  how.create = true;
  auto store = DirectoryStore::open(path, how);
  if (!store) {
    return report.wrong("directory", store.status().message(), "");
  }
  report.ok("directory", path + (made.empty() ? " is there" : " can be made"));
  look_at_space(report, path);
  // Whoever writes into the directory holds its lock, and so must this look.
  auto lock = ProcessLock::acquire(path + "/wp.lock");
  if (!lock) {
    if (lock.status().code() != Code::kBusy) {
      return report.wrong("lock", lock.status().message(), "");
    }
    report.slow("lock", lock.status().message(),
                "what needs writing was left out; run this while nobody writes");
    return;
  }
  report.ok("lock", "nobody writes at the moment");
  if (!options.sync) {
    report.slow("sync", "off: a power loss may take acknowledged entries",
                "leave sync=process away, unless that is meant");
  }
  StorePatient patient(**store);
  examine_store(report, patient, "", {milliseconds(50), milliseconds(500), 2e7, false}, signals);
  (*store)->shutdown();
  remove_made(made);
}

}  // namespace

void Report::add(const Finding& finding) {
  ++counts_[static_cast<size_t>(finding.verdict)];
  std::string& out = session_.out().buffer();
  if (session_.json()) {
    JsonObject object(out);
    object.text("check", finding.check)
        .text("verdict", verdict_name(finding.verdict))
        .text("what", finding.what);
    if (!finding.todo.empty()) object.text("todo", finding.todo);
    for (const auto& [name, value] : finding.numbers) object.real(name, value);
    object.end_line();
  } else {
    std::string line(verdict_name(finding.verdict));
    line.resize(7, ' ');
    line += finding.check;
    line.resize(std::max<size_t>(line.size() + 2, 22), ' ');
    out += line + finding.what + (finding.todo.empty() ? "" : "; " + finding.todo) + "\n";
  }
  session_.out().flush();
}

void Report::wrong(std::string_view check, const StoreStatus& status) {
  wrong(check, status.message, "");
}

int Report::finish() {
  if (!session_.json()) {
    session_.out().buffer() += std::to_string(counts_[0]) + " ok, " + std::to_string(counts_[1]) +
                               " slow, " + std::to_string(counts_[2]) + " wrong\n";
  }
  return session_.finish(counts_[static_cast<size_t>(Verdict::kWrong)] == 0 ? kExitDone
                                                                            : kExitFailed);
}

std::string human_micros(std::chrono::microseconds time) {
  char text[32];
  const auto micros = static_cast<double>(time.count());
  if (micros < 1000) {
    std::snprintf(text, sizeof text, "%.0f us", micros);
  } else if (micros < 10'000'000) {
    std::snprintf(text, sizeof text, micros < 100'000 ? "%.1f ms" : "%.0f ms", micros / 1000);
  } else {
    std::snprintf(text, sizeof text, "%.1f s", micros / 1'000'000);
  }
  return text;
}

std::string human_rate(double bytes_per_second) {
  return human_bytes(static_cast<uint64_t>(bytes_per_second)) + "/s";
}

int run_doctor(const Args& args) {
  StopSignals signals;
  Session session(args);
  const std::string& url = args.operand(0);
  const auto root = parse_root_url(url);
  if (!root) return session.fail(root.status());
  auto options = session.options(url, Session::Open::kCreate);
  if (!options) return session.fail(options.status());
  signals.arm();
  Report report(session);
  Status status;
  switch (root->scheme) {
    case Scheme::kS3:
      status = examine_s3(report, "s3://" + root->place, *options, signals);
      break;
    case Scheme::kMemory:
      examine_memory(report, signals);
      break;
    case Scheme::kDirectory:
      examine_directory(report, root->place, *options, signals);
      break;
  }
  if (!status.ok()) return session.fail(status);
  return report.finish();
}

}  // namespace wp::cli
