// Crashes of a process and of a machine at every system call of a fixed story, on a directory:
//
//   crash power DIR    the story runs once and its calls are recorded; then, for each of them, what
//                      the disk may hold if the machine loses power right before it is laid out in
//                      many variants, and each is opened, checked, and written to
//   crash kill DIR     the story runs again and again, each time killed before another call
//   crash proof DIR    what the check is worth: with syncs that do nothing it must find losses
//
//   --seed=N           of what is left to chance
//   --every=N          only every so many calls (1; kill: 25)
//   --keep=DIR         where the disks that fail are left
//
// Each ends with a line that sums it up, and with status 1 if anything was lost.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/crash/disk.h"
#include "tests/crash/known.h"
#include "tests/crash/recorder.h"
#include "tests/crash/script.h"

namespace wp::crash {
namespace {

namespace fs = std::filesystem;
using Number = unsigned long long;

// Calls that a worker takes at a time: neighbours, since their disks are often the same.
constexpr size_t kPortion = 64;
constexpr uint64_t kFailuresShown = 10;

struct Choice {
  std::string dir, keep;
  uint64_t seed = 1, every = 0;
  Unsynced unsynced = Unsynced::kNothing;
};

// Of all processes.
struct Tally {
  std::atomic<uint64_t> points, disks, wrong, losses[std::size(kLosses)];
};

Tally& tally() {
  static Tally& shared = *new (::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Tally();
  return shared;
}

[[noreturn]] void give_up(const std::string& why) {
  std::printf("%s\n", why.c_str());
  std::exit(1);
}

// ------------------------------------------------------------------------------- one disk

std::string check_open(const std::string& root, Known& known, bool append) {
  auto wal = Wal::open(root, small_options());
  if (!wal) return "opening: " + wal.status().to_string();
  if (std::string wrong = known.check(**wal); !wrong.empty()) return wrong;
  std::string damage;
  const Status verified = (*wal)->verify([&](const VerifyProgress& progress) {
    if (progress.damage != nullptr) damage = progress.damage->object + " " + progress.damage->what;
  });
  if (!verified.ok()) return "verify: " + verified.to_string() + " " + damage;
  if (append) {
    auto log = (*wal)->log("cut");
    if (!log) return log.status().to_string();
    const Lsn next = log->info().lsn_last + 1;
    const std::string text = std::to_string(next);
    note("appending cut " + text + " " + text);
    known.told("appending cut " + text + " " + text);
    const auto lsn = log->append(as_bytes(payload("cut", known.generation("cut"), next)));
    if (!lsn || *lsn != next) return "appending " + text + ": " + lsn.status().to_string();
    note("appended cut " + text);
    known.told("appended cut " + text);
    if (std::string wrong = known.check(**wal); !wrong.empty()) return "then " + wrong;
  }
  const Status closed = (*wal)->close();
  return closed.ok() ? "" : "closing: " + closed.to_string();
}

void lose_view(const std::string& root) {
  for (const char* end : {"", "-wal", "-shm", "-journal"}) fs::remove(root + "/wp.sqlite" + end);
}

// Opens what is there, checks it, goes on, and checks that again from the objects alone.
std::string check_root(const std::string& root, Known known, bool without_view) {
  if (without_view) lose_view(root);
  if (std::string wrong = check_open(root, known, true); !wrong.empty()) return wrong;
  lose_view(root);
  const std::string wrong = check_open(root, known, false);
  return wrong.empty() ? "" : "without its view: " + wrong;
}

// ---------------------------------------------------------------------------- the machine dies

class PowerCuts {
 public:
  PowerCuts(const Choice& choice, const std::vector<Call>& calls) : choice_(choice), calls_(calls) {}

  // The portions of one of so many workers.
  void run(size_t worker, size_t workers) {
    dir_ = choice_.dir + "/disk" + std::to_string(worker);
    Disk disk(choice_.unsynced);
    Known known;
    uint64_t told = 0, point = 0;
    for (size_t i = 0; i <= calls_.size(); ++i) {
      const bool is_note = i < calls_.size() && calls_[i].kind == Call::Kind::kNote;
      if (!is_note && point / kPortion % workers == worker && point % choice_.every == 0) {
        ++tally().points;
        for (const Loss loss : kLosses) try_disk(disk, known, told, i, loss);
      }
      if (i == calls_.size()) break;
      disk.apply(calls_[i]);
      if (is_note) {
        known.told(calls_[i].name);
        ++told;
      } else {
        ++point;
      }
    }
  }

 private:
  void try_disk(const Disk& disk, const Known& known, uint64_t told, size_t at, Loss loss) {
    const uint64_t seed = choice_.seed * 1'000'003 + at * 31 + static_cast<uint64_t>(loss);
    const Image image = disk.image(loss, seed);
    if (!seen_.insert(image.digest() ^ (told * 0x9e3779b97f4a7c15)).second) return;
    fs::remove_all(dir_);
    fs::create_directory(dir_);
    if (!image.write_to(dir_)) give_up("cannot lay out a disk in " + dir_);
    ++tally().disks;
    ++tally().losses[static_cast<size_t>(loss)];
    const std::string wrong = check_root(dir_ + "/root", known, seed % 4 == 0);
    if (wrong.empty()) return;
    if (tally().wrong++ >= kFailuresShown || choice_.unsynced != Unsynced::kNothing) return;
    const std::string before =
        at == calls_.size() ? "the end"
                            : std::string(calls_[at].function) + " " + disk.path_of(calls_[at].inode);
    std::printf("LOST before call %zu (%s), %s, seed %llu: %s\n", at, before.c_str(),
                loss_name(loss), (Number)choice_.seed, wrong.c_str());
    std::fflush(stdout);
    if (choice_.keep.empty()) return;
    const std::string kept =
        choice_.keep + "/" + std::to_string(at) + "-" + std::to_string(static_cast<int>(loss));
    fs::create_directories(kept);
    if (!image.write_to(kept)) std::printf("cannot keep it in %s\n", kept.c_str());
  }

  const Choice& choice_;
  const std::vector<Call>& calls_;
  std::string dir_;
  std::set<uint64_t> seen_;
};

// Side by side in processes, so that one that crashes or hangs is a failure like any other.
void for_each_worker(const std::function<void(size_t, size_t)>& work) {
  const size_t workers = std::max(1u, std::thread::hardware_concurrency());
  std::fflush(stdout);
  std::vector<pid_t> pids;
  for (size_t worker = 0; worker < workers; ++worker) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      work(worker, workers);
      std::fflush(stdout);
      ::_exit(0);
    }
    pids.push_back(pid);
  }
  for (const pid_t pid : pids) {
    int status = 0;
    if (::waitpid(pid, &status, 0) == pid && status == 0) continue;
    std::printf("a worker ended with status %d\n", status);
    ++tally().wrong;
  }
}

uint64_t digest_of(const std::string& dir) {
  record(dir);
  const std::vector<Call> calls = recording_ends();
  Disk disk;
  for (const Call& call : calls) disk.apply(call);
  return disk.image(Loss::kNone, 0).digest();
}

std::vector<Call> record_script(const std::string& dir) {
  fs::create_directories(dir);
  record(dir);
  const Status status = run_script(dir + "/root");
  std::vector<Call> calls = recording_ends();
  if (!status.ok()) give_up("the story fails: " + status.to_string());
  // Else a change was made by a call that was not seen.
  Disk disk;
  for (const Call& call : calls) disk.apply(call);
  if (disk.image(Loss::kNone, 0).digest() != digest_of(dir)) {
    give_up("the recording is not what is on the disk");
  }
  return calls;
}

size_t count_calls(const std::vector<Call>& calls) {
  return static_cast<size_t>(std::count_if(calls.begin(), calls.end(), [](const Call& call) {
    return call.kind != Call::Kind::kNote;
  }));
}

int power(Choice choice) {
  if (choice.every == 0) choice.every = 1;
  const std::vector<Call> calls = record_script(choice.dir + "/story");
  std::map<std::string, size_t> functions;
  for (const Call& call : calls) {
    if (call.kind != Call::Kind::kNote) ++functions[call.function];
  }
  std::printf("the story makes %zu calls:", count_calls(calls));
  for (const auto& [function, count] : functions) std::printf(" %zu %s", count, function.c_str());
  std::printf("\n");
  for_each_worker(
      [&](size_t worker, size_t workers) { PowerCuts(choice, calls).run(worker, workers); });
  Tally& t = tally();
  for (const Loss loss : kLosses) {
    std::printf("%llu disks: %s\n", (Number)t.losses[static_cast<size_t>(loss)], loss_name(loss));
  }
  std::printf("%llu crash points, %llu different disks, %llu wrong, seed %llu\n", (Number)t.points,
              (Number)t.disks, (Number)t.wrong, (Number)choice.seed);
  return t.wrong == 0 ? 0 : 1;
}

int proof(Choice choice) {
  if (choice.every == 0) choice.every = 40;
  const std::vector<Call> calls = record_script(choice.dir + "/story");
  bool found = true;
  for (const Unsynced unsynced : {Unsynced::kFiles, Unsynced::kDirectories}) {
    choice.unsynced = unsynced;
    Tally& t = tally();
    t.disks = t.wrong = 0;
    for_each_worker(
        [&](size_t worker, size_t workers) { PowerCuts(choice, calls).run(worker, workers); });
    std::printf("without syncs of %s: %llu of %llu disks are found wrong\n",
                unsynced == Unsynced::kFiles ? "files" : "directories", (Number)t.wrong,
                (Number)t.disks);
    found = found && t.wrong > t.disks / 4;
  }
  return found ? 0 : 1;
}

// ---------------------------------------------------------------------------- the process dies

// False: the story came to its end before that call.
bool kill_at(const std::string& dir, uint64_t number, std::string& wrong) {
  fs::remove_all(dir);
  fs::create_directories(dir);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    kill_before(dir, number, ends[1]);
    const Status status = run_script(dir + "/root");
    ::_exit(status.ok() ? 0 : 1);
  }
  ::close(ends[1]);
  std::string said;
  char buffer[4096];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, got);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  Known known;
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);) known.told(line);
  wrong = check_root(dir + "/root", known, number % 4 == 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) wrong = "the story fails";
  return WIFSIGNALED(status);
}

int kills(Choice choice) {
  if (choice.every == 0) choice.every = 25;
  for_each_worker([&](size_t worker, size_t workers) {
    const std::string dir = choice.dir + "/killed" + std::to_string(worker);
    bool killed = true;
    for (uint64_t n = 1 + choice.every * worker; killed; n += choice.every * workers) {
      std::string wrong;
      killed = kill_at(dir, n, wrong);
      tally().points += killed;
      if (wrong.empty()) continue;
      std::printf("LOST, killed before call %llu: %s\n", (Number)n, wrong.c_str());
      if (++tally().wrong >= kFailuresShown) break;
    }
  });
  std::printf("%llu processes killed, %llu roots wrong\n", (Number)tally().points,
              (Number)tally().wrong);
  return tally().wrong == 0 ? 0 : 1;
}

int run(int argc, char** argv) {
  tally();  // before there are others
  Choice choice;
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::string value = word.substr(std::min(word.size(), word.find('=') + 1));
    if (word.starts_with("--seed=")) {
      choice.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (word.starts_with("--every=")) {
      choice.every = std::strtoull(value.c_str(), nullptr, 10);
    } else if (word.starts_with("--keep=")) {
      choice.keep = value;
    } else {
      words.push_back(word);
    }
  }
  if (words.size() == 2) {
    choice.dir = words[1];
    if (words[0] == "power") return power(choice);
    if (words[0] == "kill") return kills(choice);
    if (words[0] == "proof") return proof(choice);
  }
  std::printf("usage: crash power|kill|proof DIR [--seed=N] [--every=N] [--keep=DIR]\n");
  return 2;
}

}  // namespace
}  // namespace wp::crash

int main(int argc, char** argv) {
  return wp::crash::run(argc, argv);
}
