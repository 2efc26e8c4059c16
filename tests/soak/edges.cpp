#include "tests/soak/edges.h"

#include <span>

namespace {

std::span<uint8_t> counters;

}  // namespace

// Called by each object file with the bounds of all their counters together, before main().
// https://clang.llvm.org/docs/SanitizerCoverage.html#inline-8bit-counters
extern "C" void __sanitizer_cov_8bit_counters_init(char* begin, char* end);
void __sanitizer_cov_8bit_counters_init(char* begin, char* end) {
  counters = {reinterpret_cast<uint8_t*>(begin), reinterpret_cast<uint8_t*>(end)};
}

namespace wp {

uint64_t edges_in_all() {
  return counters.size();
}

std::vector<uint64_t> new_edges() {
  static std::vector<bool> known(counters.size());
  std::vector<uint64_t> found;
  for (size_t i = 0; i < counters.size(); ++i) {
    if (counters[i] == 0 || known[i]) continue;
    known[i] = true;
    found.push_back(i);
  }
  return found;
}

}  // namespace wp
