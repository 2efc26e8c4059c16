// libFuzzer's entry: the target is named by WP_FUZZ.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/targets.h"

namespace {

const wp::fuzz::Target* chosen = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  const char* name = std::getenv("WP_FUZZ");
  chosen = name == nullptr ? nullptr : wp::fuzz::find_target(name);
  if (chosen != nullptr) return 0;
  std::fprintf(stderr, "WP_FUZZ must name one of:");
  for (const auto& target : wp::fuzz::targets()) {
    std::fprintf(stderr, " %.*s", static_cast<int>(target.name.size()), target.name.data());
  }
  std::fprintf(stderr, "\n");
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  chosen->run({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
