// bench [--quick] [--dir DIR] [--list] [SUBJECT ...]: measures what is named, or all.
#include <sys/vfs.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "bench/bench.h"

namespace {

using bench::Settings;

struct Subject {
  const char* name;
  const char* what;
  void (*run)(const Settings&);
};

constexpr Subject kSubjects[] = {
    {"append", "asynchronous appends of 100 bytes from one thread, into memory",
     bench::bench_append},
    {"durable", "a lone durable append of 1 KiB, in a directory", bench::bench_durable},
    {"crowd", "durable appends of 1 KiB by 32 threads, in a directory", bench::bench_crowd},
    {"read", "catching up on entries of 100 bytes", bench::bench_read},
    {"open", "opening a root with many fragments", bench::bench_open},
    {"subscribe", "from an append to its entry in a subscriber of the process",
     bench::bench_subscribe},
    {"logs", "a root of 10,000 logs", bench::bench_logs},
    {"space", "compaction, truncation and 100,000 logs", bench::bench_space},
    {"s3_client", "the S3 client's CPU, against curl's",
     [](const Settings&) {
       if (wp::bench_s3_client() != 0) bench::die("s3_client: more than the limit, or it failed");
     }},
};

std::vector<Subject> subjects() {
  return {std::begin(kSubjects), std::end(kSubjects)};
}

int usage() {
  std::fprintf(stderr,
               "usage: bench [--quick] [--dir DIR] [--list] [SUBJECT ...]\n"
               "  --quick     less of everything, to see that it works\n"
               "  --dir DIR   where roots and files are made (default TMPDIR, or /var/tmp)\n"
               "  --list      the subjects\n");
  return 2;
}

void print_machine(const Settings& settings) {
  struct statfs fs {};
  bench::check_call(statfs(settings.dir.c_str(), &fs) == 0, settings.dir.c_str());
  constexpr long kTmpfs = 0x01021994;
  double load = 0;
  (void)getloadavg(&load, 1);
  std::printf("wp %s, %u cores, load %.1f, files in %s%s, %zu rounds%s\n",
              std::string(wp::version()).c_str(), std::thread::hardware_concurrency(), load,
              settings.dir.c_str(),
              fs.f_type == kTmpfs ? " (which is RAM: what is durable there says nothing)" : "",
              settings.rounds(), settings.quick ? " (quick: the figures mean little)" : "");
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  const char* tmp = std::getenv("TMPDIR");
  settings.dir = tmp != nullptr && *tmp != '\0' ? tmp : "/var/tmp";
  const std::vector<Subject> all = subjects();
  std::vector<Subject> chosen;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      settings.quick = true;
    } else if (std::strcmp(argv[i], "--dir") == 0 && i + 1 < argc) {
      settings.dir = argv[++i];
    } else if (std::strcmp(argv[i], "--list") == 0) {
      for (const Subject& subject : all) std::printf("%-10s %s\n", subject.name, subject.what);
      return 0;
    } else {
      const auto found = std::find_if(all.begin(), all.end(), [&](const Subject& subject) {
        return std::strcmp(subject.name, argv[i]) == 0;
      });
      if (found == all.end()) return usage();
      chosen.push_back(*found);
    }
  }
  print_machine(settings);
  for (const Subject& subject : chosen.empty() ? all : chosen) {
    std::printf("\n%s: %s\n", subject.name, subject.what);
    std::fflush(stdout);
    subject.run(settings);
  }
}
