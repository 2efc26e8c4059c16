// Runs the randomised simulation by itself: many seeds side by side, for some time, or one of them
// again. Each worker is a process, so that a crash or a hang in the middle of a history is a
// failure like any other, and is known by its seed.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/simulation.h"
#include "tests/soak/edges.h"

namespace wp {
namespace {

constexpr char kUsage[] =
    "usage: soak run COUNT [FIRST]      so many seeds; ends with \"N passed, N failed\"\n"
    "       soak for SECONDS [FIRST]    seeds from a random one on, until one fails\n"
    "       soak replay SEED [--ops=N] [--skip=N,...] [--without=PART,...] [--trace]\n"
    "       soak minimize SEED          the least of it that still fails, as a replay\n"
    "       soak mutants [BUG...]       how many seeds find each deliberate bug (-DWP_BUGS)\n";

using Clock = std::chrono::steady_clock;
using Counts = std::map<std::string, uint64_t, std::less<>>;

// What came of many histories.
struct Tally {
  Counts counts;
  uint64_t trace = 0;        // of all histories, in whichever order they ran
  std::set<uint64_t> edges;  // tests/soak/edges.h
  Clock::time_point begun = Clock::now(), edge_at = begun;  // when the newest of them was found
  uint64_t count_of(std::string_view what) const {
    const auto it = counts.find(what);
    return it == counts.end() ? 0 : it->second;
  }
};

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// No history takes so long, unless it hangs.
constexpr double kSecondsMax = 60;

// ------------------------------------------------------------------------------- one history

// What is wrong with it; empty: nothing. Runs it here, so a bug may end the program.
std::string run_here(const SimChoice& choice, Tally* tally = nullptr, bool trace = false) {
  Simulation simulation(choice);
  simulation.run();
  SimRuntime& sim = simulation.world().sim;
  if (trace) std::fputs(sim.trace_text().c_str(), stdout);
  if (tally != nullptr) {
    Counts& counts = tally->counts;
    for (const auto& [what, count] : sim.counts()) counts[what] += count;
    counts["histories"] += 1;
    counts["events"] += sim.events();
    counts["acknowledged"] += simulation.checker().acknowledged_count();
    counts["virtual ms"] += static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(sim.now()).count());
    tally->trace += sim.trace_hash();
  }
  const auto& failures = simulation.checker().failures();
  if (failures.empty()) return {};
  const std::string more =
      failures.size() == 1 ? "" : " (and " + std::to_string(failures.size() - 1) + " more)";
  return failures.front() + more;
}

// ----------------------------------------------------------------------------------- workers

// A process that runs seed after seed and says of each what came of it, line by line:
//   begin SEED | fail SEED WHAT | count NUMBER WHAT | trace HASH | edge NUMBER | end SEED
class Worker {
 public:
  Worker(uint64_t first, uint64_t stride, uint64_t end) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    std::fflush(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      // What a simulation says when it gives up goes where its results go.
      dup2(ends[1], STDERR_FILENO);
      FILE* const out = fdopen(ends[1], "w");
      for (uint64_t seed = first; seed < end; seed += stride) {
        std::fprintf(out, "begin %llu\n", static_cast<unsigned long long>(seed));
        std::fflush(out);
        SimChoice choice;
        choice.seed = seed;
        Tally tally;
        const std::string wrong = run_here(choice, &tally);
        if (!wrong.empty()) {
          std::fprintf(out, "fail %llu %s\n", static_cast<unsigned long long>(seed), wrong.c_str());
        }
        for (const auto& [what, count] : tally.counts) {
          std::fprintf(out, "count %llu %s\n", static_cast<unsigned long long>(count),
                       what.c_str());
        }
        for (const uint64_t edge : new_edges()) {
          std::fprintf(out, "edge %llu\n", static_cast<unsigned long long>(edge));
        }
        std::fprintf(out, "trace %llu\n", static_cast<unsigned long long>(tally.trace));
        std::fprintf(out, "end %llu\n", static_cast<unsigned long long>(seed));
        std::fflush(out);
      }
      _exit(0);
    }
    close(ends[1]);
    in_ = ends[0];
    begun_ = Clock::now();
  }
  Worker(Worker&& other) noexcept { *this = std::move(other); }
  Worker& operator=(Worker&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(in_, other.in_);
    std::swap(text_, other.text_);
    std::swap(seed_, other.seed_);
    std::swap(begun_, other.begun_);
    std::swap(last_words_, other.last_words_);
    return *this;
  }
  ~Worker() { stop(); }

  int descriptor() const { return in_; }
  bool running() const { return pid_ > 0; }

  // Reads what came. A seed that ended badly without saying so is a failure too.
  template <class Failed>
  void read_lines(Tally& tally, Failed failed) {
    char buffer[65536];
    const ssize_t got = read(in_, buffer, sizeof buffer);
    if (got > 0) text_.append(buffer, static_cast<size_t>(got));
    for (size_t end; (end = text_.find('\n')) != std::string::npos; text_.erase(0, end + 1)) {
      take(text_.substr(0, end), tally, failed);
    }
    if (got > 0) return;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    if (seed_) {
      failed(*seed_, last_words_.empty() ? "the program ended in the middle of it" : last_words_);
    }
    stop();
  }
  template <class Failed>
  void give_up_if_it_hangs(Failed failed) {
    if (!running() || !seed_ || seconds_since(begun_) < kSecondsMax) return;
    failed(*seed_, "it hangs");
    stop();
  }
  void stop() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
    if (in_ >= 0) close(in_);
    in_ = -1;
  }

 private:
  template <class Failed>
  void take(const std::string& line, Tally& tally, Failed failed) {
    std::istringstream words(line);
    std::string verb, what;
    uint64_t number = 0;
    words >> verb >> number;
    std::getline(words >> std::ws, what);
    if (verb == "begin") {
      seed_ = number;
      begun_ = Clock::now();
      last_words_.clear();
    } else if (verb == "end") {
      seed_.reset();
    } else if (verb == "fail") {
      failed(number, what);
    } else if (verb == "count") {
      tally.counts[what] += number;
    } else if (verb == "edge") {
      if (tally.edges.insert(number).second) tally.edge_at = Clock::now();
    } else if (verb == "trace") {
      tally.trace += number;
    } else if (line.starts_with("the simulation failed: ") || line.starts_with("terminate")) {
      last_words_ = line;
    }
  }

  pid_t pid_ = 0;
  int in_ = -1;
  std::string text_, last_words_;
  std::optional<uint64_t> seed_;
  Clock::time_point begun_;
};

unsigned workers_count() {
  const char* jobs = std::getenv("JOBS");
  return jobs != nullptr && *jobs != '\0' ? static_cast<unsigned>(std::stoul(jobs))
                                          : std::max(1u, std::thread::hardware_concurrency());
}

// Runs seeds from `first` to `end` until all are done or `over` says so, which is asked after each
// piece of news.
template <class Failed, class Over>
void run_side_by_side(uint64_t first, uint64_t end, Tally& tally, Failed failed, Over over) {
  std::vector<Worker> workers;
  const unsigned many = workers_count();
  for (unsigned i = 0; i < many; ++i) workers.emplace_back(first + i, many, end);
  while (!over()) {
    std::vector<pollfd> waiting;
    std::vector<Worker*> whose;
    for (Worker& worker : workers) {
      if (!worker.running()) continue;
      waiting.push_back({worker.descriptor(), POLLIN, 0});
      whose.push_back(&worker);
    }
    if (waiting.empty()) return;
    poll(waiting.data(), waiting.size(), 500);
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].revents != 0) whose[i]->read_lines(tally, failed);
      whose[i]->give_up_if_it_hangs(failed);
    }
  }
}

void print_counts(const Counts& counts, std::string_view begin) {
  std::string line;
  for (const auto& [what, count] : counts) {
    if (!what.starts_with(begin)) continue;
    line += (line.empty() ? "" : ", ") + what.substr(begin.size()) + " " + std::to_string(count);
  }
  std::printf("  %-7.*s %s\n", static_cast<int>(begin.size() - 1), begin.data(), line.c_str());
}

void print_kinds(const Tally& tally) {
  for (const char* kind : {"did: ", "fault: ", "seen: "}) print_counts(tally.counts, kind);
  if (edges_in_all() == 0) return;
  std::printf("  branches of the engine: %zu ways were taken, the newest after %.0f s\n",
              tally.edges.size(),
              std::chrono::duration<double>(tally.edge_at - tally.begun).count());
}

void report_failure(uint64_t seed, const std::string& what) {
  std::printf("FAIL: seed %llu: %s\n  again: build/soak replay %llu --trace\n",
              static_cast<unsigned long long>(seed), what.c_str(),
              static_cast<unsigned long long>(seed));
  std::fflush(stdout);
}

double virtual_hours(const Tally& tally) {
  return static_cast<double>(tally.count_of("virtual ms")) / 3.6e6;
}

// The trace is one number over all that happened in all of them: another compiler, or another day,
// comes to the same.
int run(uint64_t count, uint64_t first) {
  const auto begin = Clock::now();
  Tally tally;
  uint64_t failures = 0;
  run_side_by_side(
      first, first + count, tally,
      [&](uint64_t seed, const std::string& what) {
        ++failures;
        report_failure(seed, what);
      },
      [] { return false; });
  const uint64_t ran = tally.count_of("histories");
  std::printf("%llu histories in %.1f s, %.1f virtual hours, %llu entries acknowledged\n",
              static_cast<unsigned long long>(ran), seconds_since(begin), virtual_hours(tally),
              static_cast<unsigned long long>(tally.count_of("acknowledged")));
  print_kinds(tally);
  std::printf("trace %016llx, %llu events\n", static_cast<unsigned long long>(tally.trace),
              static_cast<unsigned long long>(tally.count_of("events")));
  if (ran + failures < count) failures = count - ran;
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(count - failures),
              static_cast<unsigned long long>(failures));
  return failures == 0 ? 0 : 1;
}

int soak(double seconds, uint64_t first) {
  const auto begin = Clock::now();
  Tally tally;
  bool failed = false;
  double told_at = 0;
  std::printf("seeds from %llu on\n", static_cast<unsigned long long>(first));
  run_side_by_side(
      first, UINT64_MAX - 1'000, tally,
      [&](uint64_t seed, const std::string& what) {
        failed = true;
        report_failure(seed, what);
      },
      [&] {
        const double now = seconds_since(begin);
        const bool over = failed || now >= seconds;
        if (now - told_at < 10 && !over) return false;
        told_at = now;
        const auto ran = static_cast<double>(tally.count_of("histories"));
        std::printf("%6.0f s: %.0f seeds, %.1f a second, %.1f virtual hours, %llu acknowledged\n",
                    now, ran, ran / now, virtual_hours(tally),
                    static_cast<unsigned long long>(tally.count_of("acknowledged")));
        print_kinds(tally);
        std::fflush(stdout);
        return over;
      });
  return failed ? 1 : 0;
}

// -------------------------------------------------------------------------------- minimizing

// Whether it fails, in a process of its own.
std::string run_apart(const SimChoice& choice) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    alarm(static_cast<unsigned>(kSecondsMax));
    freopen("/dev/null", "w", stderr);
    const std::string wrong = run_here(choice);
    (void)!write(ends[1], wrong.data(), wrong.size());
    _exit(0);
  }
  close(ends[1]);
  std::string wrong;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;) {
    wrong.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? "it crashes or hangs" : wrong;
}

// Fewer parts, then fewer operations from the end, then without each of those left, in ever smaller
// pieces. Leaving something out changes all that comes after it, so this finds a small one, not the
// smallest.
int minimize(uint64_t seed) {
  SimChoice best;
  best.seed = seed;
  std::string wrong = run_apart(best);
  if (wrong.empty()) {
    std::printf("seed %llu does not fail\n", static_cast<unsigned long long>(seed));
    return 1;
  }
  const auto try_it = [&](const SimChoice& choice) {
    const std::string now = run_apart(choice);
    if (now.empty()) return false;
    best = choice;
    wrong = now;
    return true;
  };
  for (const char* part : kSimParts) {
    SimChoice choice = best;
    choice.without.insert(part);
    try_it(choice);
  }
  for (uint64_t ops = 1; ops < best.ops_max; ++ops) {
    SimChoice choice = best;
    choice.ops_max = ops;
    if (try_it(choice)) break;
  }
  for (uint64_t piece = best.ops_max / 2; piece > 0; piece /= 2) {
    for (uint64_t at = 1; at <= best.ops_max; at += piece) {
      SimChoice choice = best;
      for (uint64_t op = at; op < at + piece; ++op) choice.skipped.insert(op);
      if (choice.skipped != best.skipped) try_it(choice);
    }
  }
  std::printf("%s\n  build/soak %s --trace\n", wrong.c_str(), best.text().c_str());
  return 0;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

int replay(uint64_t seed, const std::vector<std::string>& options) {
  SimChoice choice;
  choice.seed = seed;
  bool trace = false;
  for (const std::string& option : options) {
    const std::string value = option.substr(std::min(option.find('=') + 1, option.size()));
    if (option == "--trace") {
      trace = true;
    } else if (option.starts_with("--ops=")) {
      choice.ops_max = std::stoull(value);
    } else if (option.starts_with("--skip=")) {
      for (const std::string& op : split(value)) choice.skipped.insert(std::stoull(op));
    } else if (option.starts_with("--without=")) {
      for (const std::string& part : split(value)) choice.without.insert(part);
    } else {
      std::fputs(kUsage, stderr);
      return 2;
    }
  }
  const std::string wrong = run_here(choice, nullptr, trace);
  std::printf("%s\n", wrong.empty() ? "it passes" : ("FAIL: " + wrong).c_str());
  return wrong.empty() ? 0 : 1;
}

// ----------------------------------------------------------------------------------- mutants

struct Bug {
  int number;
  const char* what;
  const char* found_by = nullptr;  // a test case of the C++ tests, where the simulation cannot
};

constexpr Bug kBugs[] = {
    {1, "an append is acknowledged before those in front of it"},
    {2, "\"exists\" is taken as mine, unread"},
    {3, "a fence behind a crashed owner is deleted"},
    {4, "an opener does not list the checkpoints again behind its fence"},
    {5, "the digest of the slot before is not compared",
     "a slot that does not fit the chain changes nothing"},
    {6, "a body is changed between two tries"},
    {7, "the view has a slot before it is stored"},
    {8, "LSNs begin again when all was truncated"},
    {9, "what is dead is deleted before any checkpoint says so"},
    {10, "what is dead is deleted when only the newest checkpoint says so"},
    {11, "the grace is ignored"},
    {12, "a follower does not list the checkpoints behind a fence",
     "a leftover fence on reclaimed ground does not lead a follower astray"},
    {13, "a segment is published before it is stored"},
    {14, "compaction forgets the last entry of a run"},
    {15, "what still holds entries counts as dead"},
    {16, "the sweep takes segments of its own epoch"},
    {17, "one object too many is forgotten"},
    {18, "truncation takes one entry too many"},
    {19, "the id of a dropped log is given again"},
    {20, "a cursor's last commit is lost at close"},
    {21, "retention does not ask the cursors"},
    {22, "a put without an answer is taken as stored"},
    {23, "an old view is preferred to a newer checkpoint"},
    {24, "an epoch's name lacks its owner"},
    {25, "a batch is split over several fragments"},
    {26, "a directory is not synced behind a new name",
     "a put reaches the disk before it has a name and the name before it is acknowledged"},
    {27, "a fenced owner acknowledges what is in line"},
    {28, "an opener takes another's slot for its own fence"},
    {29, "a flush does not wait for what is under way"},
    {30, "a follower that slept takes what is absent for the tail"},
    {31, "a checkpoint lacks retentions and cursors"},
    {32, "compaction is planned on a view that lacks what was published"},
};
constexpr uint64_t kMutantSeedsMax = 2'000;
constexpr double kMutantSecondsMax = 300;

struct Found {
  std::string seed, what;
  bool yes() const { return !what.empty(); }
};

Found find_by_simulation() {
  Found found;
  Tally tally;
  const auto begin = Clock::now();
  run_side_by_side(
      1, 1 + kMutantSeedsMax, tally,
      [&](uint64_t seed, const std::string& what) {
        if (found.yes()) return;
        found = {std::to_string(seed), what};
      },
      [&] { return found.yes() || seconds_since(begin) > kMutantSecondsMax; });
  return found;
}

// A test that fails without the bug finds nothing.
Found find_by_test(const Bug& bug) {
  const std::string tests =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "mutant_tests";
  const std::string command = tests + " -tc=\"" + bug.found_by + "\" >/dev/null 2>&1";
  const auto exit_code = [](int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; };
  const bool with_it = exit_code(std::system(command.c_str())) == 1;
  const bool without_it = exit_code(std::system(("WP_BUG=0 " + command).c_str())) == 0;
  if (!with_it || !without_it) return {};
  return {"-", std::string("test \"") + bug.found_by + "\""};
}

// A table that goes into docs/PROOF.md as it is.
int mutants(const std::vector<std::string>& only) {
#ifndef WP_BUGS
  std::fputs("this program was built without them: make mutants\n", stderr);
  return 2;
#endif
  uint64_t passed = 0, failed = 0;
  std::printf(
      "| bug | what it does | first seed | seconds | what was said |\n|---|---|---|---|---|\n");
  for (const Bug& bug : kBugs) {
    const std::string number = std::to_string(bug.number);
    if (!only.empty() && std::find(only.begin(), only.end(), number) == only.end()) continue;
    setenv("WP_BUG", number.c_str(), 1);
    const auto begin = Clock::now();
    const Found found = bug.found_by == nullptr ? find_by_simulation() : find_by_test(bug);
    ++(found.yes() ? passed : failed);
    std::string said = found.yes() ? found.what : "NOT FOUND";
    if (said.size() > 110) said = said.substr(0, 107) + "...";
    std::replace(said.begin(), said.end(), '|', '/');
    std::printf("| %d | %s | %s | %.1f | %s |\n", bug.number, bug.what, found.seed.c_str(),
                seconds_since(begin), said.c_str());
    std::fflush(stdout);
  }
  unsetenv("WP_BUG");
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(passed),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}

int main_of(const std::vector<std::string>& words) {
  const auto number = [&](size_t i, uint64_t otherwise) {
    return words.size() > i ? std::stoull(words[i]) : otherwise;
  };
  const std::string verb = words.empty() ? "" : words[0];
  if (verb == "run" && words.size() > 1) return run(number(1, 0), number(2, 1));
  if (verb == "for" && words.size() > 1) {
    std::random_device chance;
    return soak(std::stod(words[1]), number(2, chance()));
  }
  if (verb == "replay" && words.size() > 1) {
    return replay(number(1, 1), {words.begin() + 2, words.end()});
  }
  if (verb == "minimize" && words.size() > 1) return minimize(number(1, 1));
  if (verb == "mutants") return mutants({words.begin() + 1, words.end()});
  std::fputs(kUsage, stderr);
  return 2;
}

}  // namespace
}  // namespace wp

int main(int argc, char** argv) {
  return wp::main_of({argv + 1, argv + argc});
}
