// The corpus of tests/fuzz, replayed: what was once found stays mended, and the targets still run.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/fuzz/targets.h"

namespace wp {
namespace {

namespace fs = std::filesystem;

// Beside this file, also where the tests are started from another place.
fs::path corpus() {
  const fs::path here = fs::path(__FILE__).parent_path() / "fuzz" / "corpus";
  return fs::exists(here) ? here : fs::path("tests/fuzz/corpus");
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("every input of the fuzzers' corpus keeps the promises of its decoder") {
  for (const fuzz::Target& target : fuzz::targets()) {
    size_t inputs = 0;
    for (const auto& file : fs::directory_iterator(corpus() / target.name)) {
      INFO(file.path().string());
      const std::string input = read_file(file.path());
      CHECK_NOTHROW(target.run(as_bytes(input)));
      // And cut, and with each byte changed: a fuzzer's first steps, as far as they take no time.
      for (size_t at = 0; at < std::min<size_t>(input.size(), 400); ++at) {
        CHECK_NOTHROW(target.run(as_bytes(std::string_view(input).substr(0, at))));
        std::string changed = input;
        changed[at] = static_cast<char>(changed[at] ^ 0x80);
        CHECK_NOTHROW(target.run(as_bytes(changed)));
      }
      ++inputs;
    }
    INFO("no corpus of " << target.name);
    CHECK(inputs > 0);
  }
}

TEST_CASE("there is no corpus of a target that is gone") {
  for (const auto& folder : fs::directory_iterator(corpus())) {
    const std::string name = folder.path().filename().string();
    INFO(name);
    CHECK(fuzz::find_target(name) != nullptr);
  }
}

}  // namespace wp
