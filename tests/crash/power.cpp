// The machine dies: before each call of the script, on disks that hold what they may then hold.
#include <cstdio>
#include <map>
#include <set>
#include <vector>

#include "tests/crash/check.h"
#include "tests/crash/disk.h"
#include "tests/crash/known.h"
#include "tests/crash/recorder.h"
#include "tests/crash/script.h"
#include "tests/crash/work.h"

namespace wp::crash {
namespace {

using Kind = Call::Kind;

// Calls that a worker takes at a time: neighbours, since their disks are often the same.
constexpr size_t kPortion = 64;
// Of so many disks one loses power again during the next opening, before every so many of its
// calls.
constexpr uint64_t kAgainEvery = 200, kAgainStep = 11;
// Of those on which the view is half moved from SQLite's log into its file, one of so many loses
// power again while it is thrown away, before each of so many calls.
constexpr uint64_t kHalfMovedEvery = 4, kThrowAwayCalls = 10;

class PowerCuts {
 public:
  PowerCuts(const Choice& choice, Unsynced unsynced, const std::vector<Call>& calls, size_t worker)
      : choice_(choice),
        unsynced_(unsynced),
        calls_(calls),
        dir_(choice.dir + "/disk" + std::to_string(worker)) {}

  // The portions of one of so many workers.
  void run(size_t worker, size_t workers) {
    Disk disk(unsynced_);
    Known known;
    uint64_t told = 0, point = 0;
    bool synced = true;
    for (size_t i = 0; i <= calls_.size(); ++i) {
      const bool at_note = i < calls_.size() && calls_[i].kind == Kind::kNote;
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
  // Some always, one every third time, and one of the others each time.
  bool wants(Loss loss, uint64_t point) const {
    if (choice_.all || loss == Loss::kNone || loss == Loss::kAll) return true;
    const uint64_t turn = point + choice_.seed;
    if (loss == Loss::kRandom) return turn % 3 == 0;
    return static_cast<uint64_t>(loss) % 5 == turn % 5;
  }

  void try_disk(const Disk& disk, const Known& known, Loss loss) {
    const uint64_t seed = choice_.seed * 1'000'003 + at_ * 31 + static_cast<uint64_t>(loss);
    const Image image = disk.image(loss, seed);
    if (!seen_.insert(image.digest() ^ (told_ * 0x9e3779b97f4a7c15)).second) return;
    ++tally().disks;
    ++tally().losses[static_cast<size_t>(loss)];
    lay_out(image, dir_);
    const bool is_proof = unsynced_ != Unsynced::kNothing;
    const std::string wrong = check_root(dir_ + "/root", known, seed);
    if (!wrong.empty()) {
      if (tally().wrong++ < kFailuresShown && !is_proof) tell(disk, image, loss, wrong);
    } else if (!is_proof) {
      cut_again(disk, image, known, seed);
    }
  }

  // For some disks: the power goes again while the next opening is at work there.
  void cut_again(const Disk& disk, const Image& image, const Known& known, uint64_t seed) {
    const bool half_moved = at_ < calls_.size() && calls_[at_].kind == Kind::kWrite &&
                            disk.path_of(calls_[at_].inode) == "/root/wp.sqlite";
    std::string wrong;
    if (half_moved && (choice_.all || seed % kHalfMovedEvery == 0)) {
      wrong = cut_opening(image, known, true, 1, kThrowAwayCalls, seed);
    } else if (seed % kAgainEvery == 0) {
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
    lay_out(image, dir_);
    record(dir_);
    Known after = known;
    std::string wrong = check_opening(dir_ + "/root", after, rebuild);
    const std::vector<Call> calls = recording_ends();
    Disk disk;
    Known meanwhile = known;
    bool began = false;
    uint64_t point = 0;
    for (const Call& call : calls) {
      if (!wrong.empty() || point == calls_max) break;
      if (began && call.kind != Kind::kNote && point++ % step == seed % step) {
        ++tally().again_points;
        for (const Loss loss : {Loss::kAll, Loss::kEarlier, Loss::kRandom}) {
          ++tally().again_disks;
          lay_out(disk.image(loss, seed + point), dir_);
          wrong = check_root(dir_ + "/root", meanwhile, seed + point);
          if (wrong.empty()) continue;
          return "before its call " + std::to_string(point) + " (" + call.function + "), " +
                 loss_name(loss) + ": " + wrong;
        }
      }
      disk.apply(call);
      if (call.kind == Kind::kNote) meanwhile.told(call.name);
      if (call.kind == Kind::kSyncAll) began = true;
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
  const Unsynced unsynced_;
  const std::vector<Call>& calls_;
  const std::string dir_;
  size_t at_ = 0;
  uint64_t told_ = 0;  // so many notes
  std::set<uint64_t> seen_;
};

void cut_power(const Choice& choice, Unsynced unsynced, const std::vector<Call>& calls) {
  for_each_worker([&](size_t worker, size_t workers) {
    PowerCuts(choice, unsynced, calls, worker).run(worker, workers);
  });
}

}  // namespace

int lose_power(const Choice& choice) {
  const std::vector<Call> calls = recorded_script(choice.dir + "/script");
  std::map<std::string, size_t> functions;
  for (const Call& call : calls) {
    if (call.kind != Kind::kNote) ++functions[call.function];
  }
  std::printf("the calls:");
  for (const auto& [function, count] : functions) std::printf(" %zu %s", count, function.c_str());
  std::printf("\n");
  cut_power(choice, Unsynced::kNothing, calls);
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
  return t.wrong == 0 && t.lost_workers == 0 ? 0 : 1;
}

int prove_check(const Choice& choice) {
  const std::vector<Call> calls = recorded_script(choice.dir + "/script");
  bool found = true;
  for (const Unsynced unsynced : {Unsynced::kFiles, Unsynced::kDirectories}) {
    Tally& t = tally();
    t.disks = t.wrong = 0;
    cut_power(choice, unsynced, calls);
    std::printf("without syncs of %s: %llu of %llu disks are found wrong\n",
                unsynced == Unsynced::kFiles ? "files" : "directories", (Number)t.wrong,
                (Number)t.disks);
    found = found && t.wrong > t.disks / 4 && t.lost_workers == 0;
  }
  return found ? 0 : 1;
}

}  // namespace wp::crash
