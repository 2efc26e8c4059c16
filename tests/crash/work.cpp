#include "tests/crash/work.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <thread>
#include <vector>

namespace wp::crash {

Tally& tally() {
  static Tally& shared = *new (::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Tally();
  return shared;
}

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
    ++tally().lost_workers;
  }
}

void empty_dir(const std::string& dir) {
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
}

void lay_out(const Image& image, const std::string& dir) {
  empty_dir(dir);
  if (!image.write_to(dir)) give_up("cannot lay out a disk in " + dir);
}

void give_up(const std::string& why) {
  std::printf("%s\n", why.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

}  // namespace wp::crash
