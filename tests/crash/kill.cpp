// The process dies: it is killed before each call of an opening, and what was acknowledged until
// then comes through a pipe.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <sstream>
#include <vector>

#include "tests/crash/check.h"
#include "tests/crash/disk.h"
#include "tests/crash/known.h"
#include "tests/crash/recorder.h"
#include "tests/crash/script.h"
#include "tests/crash/work.h"

namespace wp::crash {
namespace {

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
    if (call.kind != Call::Kind::kNote) continue;
    known.told(call.name);
    if (call.name.starts_with("opening ")) out.push_back({disk.image(Loss::kNone, 0), known});
  }
  return out;
}

// No opening takes so long, unless it hangs.
constexpr unsigned kSecondsMax = 60;

// False: the opening came to its end before that call, or to a bad one.
bool kill_at(const std::string& dir, const Beginning& from, int opening, uint64_t number,
             uint64_t chance, std::string& wrong) {
  lay_out(from.image, dir);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    ::alarm(kSecondsMax);
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
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  wrong = check_root(dir + "/root", known, chance);
  if (!killed && status != 0) wrong = "the script fails, status " + std::to_string(status);
  return killed;
}

}  // namespace

int kill_processes(const Choice& choice) {
  const std::vector<Beginning> beginnings = beginnings_of(recorded_script(choice.dir + "/script"));
  for_each_worker([&](size_t worker, size_t workers) {
    const std::string dir = choice.dir + "/killed" + std::to_string(worker);
    for (int opening = 0; opening < kOpenings; ++opening) {
      const Beginning& from = beginnings[static_cast<size_t>(opening)];
      bool killed = true;
      const uint64_t first = 1 + choice.seed % choice.every + choice.every * worker;
      for (uint64_t n = first; killed; n += choice.every * workers) {
        std::string wrong;
        killed = kill_at(dir, from, opening, n, choice.seed + n / choice.every, wrong);
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
  return tally().wrong == 0 && tally().lost_workers == 0 ? 0 : 1;
}

}  // namespace wp::crash
