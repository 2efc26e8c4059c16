// Crashes of a process and of a machine at every system call of a fixed story, on a directory:
//
//   crash power DIR    the story runs once and its calls are recorded; then, for each of them, what
//                      the disk may hold if the machine loses power right before it is laid out in
//                      several variants, and each is opened, checked, and written to. For some the
//                      power goes again while that is done
//   crash kill DIR     each opening of the story runs again and again, and its process is killed
//                      before another call each time
//   crash proof DIR    what the check is worth: with syncs that do nothing it must find losses
//
//   --seed=N           of what is left to chance
//   --every=N          only every so many calls (power 1, kill 8, proof 40)
//   --all              every variant of each disk, not some of them in turn
//   --keep=DIR         where the disks that fail are left
//
// Each ends with a line that sums it up, and with status 1 if anything was lost.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <new>
#include <set>
#include <sstream>
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
// Of so many disks one loses power again during the next opening, before every so many of its
// calls.
constexpr uint64_t kAgainEvery = 200, kAgainStep = 11;
// Of those on which the view is half moved from SQLite's log into its file, one of so many loses
// power again while it is thrown away, before each of so many calls.
constexpr uint64_t kHalfMovedEvery = 4, kThrowAwayCalls = 10;

struct Choice {
  std::string dir, keep;
  uint64_t seed = 1, every = 0;
  bool all = false;
  Unsynced unsynced = Unsynced::kNothing;
};

// Of all processes.
struct Tally {
  std::atomic<uint64_t> points, disks, wrong, again_points, again_disks, losses[std::size(kLosses)];
};

Tally& tally() {
  static Tally& shared = *new (::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Tally();
  return shared;
}

[[noreturn]] void give_up(const std::string& why) {
  std::printf("%s\n", why.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

void empty_dir(const std::string& dir) {
  fs::remove_all(dir);
  fs::create_directories(dir);
}

bool is_note(const Call& call) {
  return call.kind == Call::Kind::kNote;
}

// ---------------------------------------------------------------------------------- one disk

// Opens the root, checks it, goes on, and closes it.
std::string check_open(const std::string& root, Known& known, bool append, bool rebuild = false) {
  Options options = small_options();
  options.rebuild = rebuild;
  auto wal = Wal::open(root, options);
  if (!wal) return "opening: " + wal.status().to_string();
  if (std::string wrong = known.check(**wal); !wrong.empty()) return wrong;
  for (const char* log : {"cut", "kept", "dropped"}) {
    note(std::string("found ") + log + " " + std::to_string(known.last(log)));
  }
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

// By chance the view is lost too; or what then is there is checked again, from the objects alone.
std::string check_root(const std::string& root, Known known, uint64_t chance) {
  if (chance % 8 == 0) lose_view(root);
  if (std::string wrong = check_open(root, known, true); !wrong.empty()) return wrong;
  if (chance % 8 != 1) return "";
  lose_view(root);
  const std::string wrong = check_open(root, known, false);
  return wrong.empty() ? "" : "without its view: " + wrong;
}

// ---------------------------------------------------------------------------------- the story

// What is under the directory, as far as a digest tells.
uint64_t digest_of(const std::string& dir) {
  record(dir);
  const std::vector<Call> calls = recording_ends();
  Disk disk;
  for (const Call& call : calls) disk.apply(call);
  return disk.image(Loss::kNone, 0).digest();
}

std::vector<Call> record_story(const std::string& dir) {
  empty_dir(dir);
  record(dir);
  for (int number = 0; number < kOpenings; ++number) {
    note("opening " + std::to_string(number));
    const Status status = run_opening(dir + "/root", number);
    if (!status.ok()) give_up("the story fails: " + status.to_string());
  }
  std::vector<Call> calls = recording_ends();
  Disk disk;
  for (const Call& call : calls) disk.apply(call);
  if (disk.image(Loss::kNone, 0).digest() != digest_of(dir)) {
    give_up("something was changed by a call that the recorder does not know");
  }
  return calls;
}

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

// ---------------------------------------------------------------------------- the machine dies

class PowerCuts {
 public:
  PowerCuts(const Choice& choice, const std::vector<Call>& calls, size_t worker)
      : choice_(choice), calls_(calls), dir_(choice.dir + "/disk" + std::to_string(worker)) {}

  // The portions of one of so many workers.
  void run(size_t worker, size_t workers) {
    Disk disk(choice_.unsynced);
    Known known;
    uint64_t told = 0, point = 0;
    bool synced = true;
    for (size_t i = 0; i <= calls_.size(); ++i) {
      const bool at_note = i < calls_.size() && is_note(calls_[i]);
      if (!at_note && point / kPortion % workers == worker && point % choice_.every == 0) {
        ++tally().points;
        told_ = told;
        at_ = i;
        for (const Loss loss : kLosses) {
          if (synced ? wants(loss, point) : loss == Loss::kNone) try_disk(disk, known, loss);
        }
      }
      if (i == calls_.size()) break;
      disk.apply(calls_[i]);
      if (!at_note) {
        ++point;
        continue;
      }
      if (calls_[i].name == "unsynced") synced = false;
      if (calls_[i].name == "synced") synced = true;
      known.told(calls_[i].name);
      ++told;
    }
  }

 private:
  // Some always, one every other time, and one of the others each time.
  bool wants(Loss loss, uint64_t point) const {
    if (choice_.all || loss == Loss::kNone || loss == Loss::kAll) return true;
    if (loss == Loss::kRandom) return point % 2 == 0;
    return static_cast<uint64_t>(loss) % 5 == point % 5;
  }

  void try_disk(const Disk& disk, const Known& known, Loss loss) {
    const uint64_t seed = choice_.seed * 1'000'003 + at_ * 31 + static_cast<uint64_t>(loss);
    const Image image = disk.image(loss, seed);
    if (!seen_.insert(image.digest() ^ (told_ * 0x9e3779b97f4a7c15)).second) return;
    const uint64_t number = tally().disks++;
    ++tally().losses[static_cast<size_t>(loss)];
    lay_out(image);
    const bool is_proof = choice_.unsynced != Unsynced::kNothing;
    const std::string wrong = check_root(dir_ + "/root", known, seed);
    if (!wrong.empty()) {
      if (tally().wrong++ < kFailuresShown && !is_proof) tell(disk, image, loss, wrong);
    } else if (!is_proof) {
      cut_again(disk, image, known, number, seed);
    }
  }

  void lay_out(const Image& image) {
    empty_dir(dir_);
    if (!image.write_to(dir_)) give_up("cannot lay out a disk in " + dir_);
  }

  // For some disks: the power goes again while the next opening is at work there.
  void cut_again(const Disk& disk, const Image& image, const Known& known, uint64_t number,
                 uint64_t seed) {
    const bool half_moved = at_ < calls_.size() && calls_[at_].kind == Call::Kind::kWrite &&
                            disk.path_of(calls_[at_].inode) == "/root/wp.sqlite";
    std::string wrong;
    if (half_moved && (choice_.all || seed % kHalfMovedEvery == 0)) {
      wrong = cut_opening(image, known, true, 1, kThrowAwayCalls, seed);
    } else if (number % kAgainEvery == 0) {
      wrong = cut_opening(image, known, false, choice_.all ? 1 : kAgainStep, UINT64_MAX, seed);
    }
    if (wrong.empty()) return;
    if (tally().wrong++ >= kFailuresShown) return;
    std::printf("LOST before call %zu, and again in the next opening, seed %llu: %s\n", at_,
                (Number)choice_.seed, wrong.c_str());
    keep(image, "again");
  }

  // Before every so many of so many calls.
  std::string cut_opening(const Image& image, const Known& known, bool rebuild, uint64_t step,
                          uint64_t calls_max, uint64_t seed) {
    lay_out(image);
    record(dir_);
    Known after = known;
    std::string wrong = check_open(dir_ + "/root", after, true, rebuild);
    const std::vector<Call> calls = recording_ends();
    Disk disk;
    Known meanwhile = known;
    bool began = false;
    uint64_t point = 0;
    for (const Call& call : calls) {
      if (!wrong.empty() || point == calls_max) break;
      if (began && !is_note(call) && point++ % step == seed % step) {
        ++tally().again_points;
        for (const Loss loss : {Loss::kAll, Loss::kEarlier, Loss::kRandom}) {
          ++tally().again_disks;
          lay_out(disk.image(loss, seed + point));
          wrong = check_root(dir_ + "/root", meanwhile, seed + point);
          if (wrong.empty()) continue;
          return "before its call " + std::to_string(point) + " (" + call.function + "), " +
                 loss_name(loss) + ": " + wrong;
        }
      }
      disk.apply(call);
      if (is_note(call)) meanwhile.told(call.name);
      if (call.kind == Call::Kind::kSyncAll) began = true;
    }
    return wrong;
  }

  void tell(const Disk& disk, const Image& image, Loss loss, const std::string& wrong) {
    std::string before = "the end";
    if (at_ < calls_.size()) {
      before = std::string(calls_[at_].function) + " " + disk.path_of(calls_[at_].inode);
    }
    std::printf("LOST before call %zu (%s), %s, seed %llu: %s\n", at_, before.c_str(),
                loss_name(loss), (Number)choice_.seed, wrong.c_str());
    keep(image, loss_name(loss));
  }

  void keep(const Image& image, const std::string& name) {
    std::fflush(stdout);
    if (choice_.keep.empty()) return;
    const std::string kept = choice_.keep + "/" + std::to_string(at_) + " " + name;
    empty_dir(kept);
    if (!image.write_to(kept)) std::printf("cannot keep it in %s\n", kept.c_str());
  }

  const Choice& choice_;
  const std::vector<Call>& calls_;
  const std::string dir_;
  size_t at_ = 0;
  uint64_t told_ = 0;  // so many notes
  std::set<uint64_t> seen_;
};

void cut_power(const Choice& choice, const std::vector<Call>& calls) {
  for_each_worker([&](size_t worker, size_t workers) {
    PowerCuts(choice, calls, worker).run(worker, workers);
  });
}

int power(const Choice& choice) {
  const std::vector<Call> calls = record_story(choice.dir + "/story");
  std::map<std::string, size_t> functions;
  for (const Call& call : calls) {
    if (!is_note(call)) ++functions[call.function];
  }
  std::printf("the calls:");
  for (const auto& [function, count] : functions) std::printf(" %zu %s", count, function.c_str());
  std::printf("\n");
  cut_power(choice, calls);
  const Tally& t = tally();
  std::printf("the disks:");
  for (const Loss loss : kLosses) {
    std::printf(" %llu %s,", (Number)t.losses[static_cast<size_t>(loss)], loss_name(loss));
  }
  std::printf(" %llu after another crash\n", (Number)t.again_disks);
  std::printf(
      "%llu crash points and %llu in openings after a crash, %llu different disks, %llu wrong, "
      "seed %llu\n",
      (Number)t.points, (Number)t.again_points, (Number)(t.disks + t.again_disks), (Number)t.wrong,
      (Number)choice.seed);
  return t.wrong == 0 ? 0 : 1;
}

int proof(Choice choice) {
  const std::vector<Call> calls = record_story(choice.dir + "/story");
  bool found = true;
  for (const Unsynced unsynced : {Unsynced::kFiles, Unsynced::kDirectories}) {
    choice.unsynced = unsynced;
    Tally& t = tally();
    t.disks = t.wrong = 0;
    cut_power(choice, calls);
    std::printf("without syncs of %s: %llu of %llu disks are found wrong\n",
                unsynced == Unsynced::kFiles ? "files" : "directories", (Number)t.wrong,
                (Number)t.disks);
    found = found && t.wrong > t.disks / 4;
  }
  return found ? 0 : 1;
}

// ---------------------------------------------------------------------------- the process dies

// How things stand when an opening begins.
struct Beginning {
  Image image;
  Known known;
};

std::vector<Beginning> beginnings_of(const std::vector<Call>& calls) {
  std::vector<Beginning> out;
  Disk disk;
  Known known;
  for (const Call& call : calls) {
    disk.apply(call);
    if (!is_note(call)) continue;
    known.told(call.name);
    if (call.name.starts_with("opening ")) out.push_back({disk.image(Loss::kNone, 0), known});
  }
  return out;
}

// False: the opening came to its end before that call.
bool kill_at(const std::string& dir, const Beginning& from, int opening, uint64_t number,
             std::string& wrong) {
  empty_dir(dir);
  if (!from.image.write_to(dir)) give_up("cannot lay out a disk in " + dir);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    kill_before(dir, number, ends[1]);
    const Status status = run_opening(dir + "/root", opening);
    ::_exit(status.ok() ? 0 : 1);
  }
  ::close(ends[1]);
  std::string said;
  char buffer[4096];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    said.append(buffer, static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  Known known = from.known;
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);) known.told(line);
  wrong = check_root(dir + "/root", known, number);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) wrong = "the story fails";
  return WIFSIGNALED(status);
}

int kills(const Choice& choice) {
  const std::vector<Beginning> beginnings = beginnings_of(record_story(choice.dir + "/story"));
  for_each_worker([&](size_t worker, size_t workers) {
    const std::string dir = choice.dir + "/killed" + std::to_string(worker);
    for (int opening = 0; opening < kOpenings; ++opening) {
      const Beginning& from = beginnings[static_cast<size_t>(opening)];
      bool killed = true;
      for (uint64_t n = 1 + choice.every * worker; killed; n += choice.every * workers) {
        std::string wrong;
        killed = kill_at(dir, from, opening, n, wrong);
        tally().points += killed;
        if (wrong.empty()) continue;
        std::printf("LOST, opening %d, killed before call %llu: %s\n", opening, (Number)n,
                    wrong.c_str());
        if (++tally().wrong >= kFailuresShown) return;
      }
    }
  });
  std::printf("%llu processes killed, %llu roots wrong\n", (Number)tally().points,
              (Number)tally().wrong);
  return tally().wrong == 0 ? 0 : 1;
}

int run(int argc, char** argv) {
  tally();  // before there are other processes
  Choice choice;
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::string value = word.substr(std::min(word.size(), word.find('=') + 1));
    if (word.starts_with("--seed=")) {
      choice.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (word.starts_with("--every=")) {
      choice.every = std::strtoull(value.c_str(), nullptr, 10);
    } else if (word == "--all") {
      choice.all = true;
    } else if (word.starts_with("--keep=")) {
      choice.keep = value;
    } else {
      words.push_back(word);
    }
  }
  const auto every = [&choice](uint64_t otherwise) {
    if (choice.every == 0) choice.every = otherwise;
    return choice;
  };
  if (words.size() == 2) {
    choice.dir = words[1];
    if (words[0] == "power") return power(every(1));
    if (words[0] == "kill") return kills(every(8));
    if (words[0] == "proof") return proof(every(40));
  }
  std::printf("usage: crash power|kill|proof DIR [--seed=N] [--every=N] [--all] [--keep=DIR]\n");
  return 2;
}

}  // namespace
}  // namespace wp::crash

int main(int argc, char** argv) {
  return wp::crash::run(argc, argv);
}
