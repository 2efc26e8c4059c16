// Crashes of a process and of a machine at every system call of a fixed script, on a directory:
//
//   crash power DIR    the script runs once and its calls are recorded. For each of them, what the
//                      disk may hold if the machine loses power right before is laid out in several
//                      variants, and each is opened, checked, and written to; for some the power
//                      goes again meanwhile
//   crash kill DIR     each opening of the script runs again and again, and its process is killed
//                      before another call each time
//   crash proof DIR    what the check is worth: with syncs that do nothing it must find losses
//
//   --seed=N           of what is left to chance; the order of threads is not repeated
//   --every=N          only every so many calls (power 1, kill 8, proof 40)
//   --all              every variant of each disk, not some of them in turn
//   --keep=DIR         where the disks that fail after a loss of power are left
//
// Each ends with a line that sums it up, and with status 1 if anything was lost.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/crash/work.h"

namespace wp::crash {
namespace {

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
    if (words[0] == "power") return lose_power(every(1));
    if (words[0] == "kill") return kill_processes(every(8));
    if (words[0] == "proof") return prove_check(every(40));
  }
  std::printf("usage: crash power|kill|proof DIR [--seed=N] [--every=N] [--all] [--keep=DIR]\n");
  return 2;
}

}  // namespace
}  // namespace wp::crash

int main(int argc, char** argv) {
  return wp::crash::run(argc, argv);
}
