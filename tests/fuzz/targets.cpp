#include "tests/fuzz/targets.h"

#include <algorithm>

namespace wp::fuzz {
namespace {

constexpr Target kTargets[] = {
    {"block", block},
    {"checkpoint", checkpoint},
    {"checkpoint_rows", checkpoint_rows},
    {"entries", entries},
    {"index", index},
    {"ini", ini},
    {"json", json},
    {"names", names},
    {"options", options},
    {"root", root},
    {"slot", slot},
    {"text", text},
    {"url", url},
    {"view", view},
    {"xml", xml},
};

}  // namespace

std::span<const Target> targets() {
  return kTargets;
}

const Target* find_target(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTargets), std::end(kTargets),
                                   [name](const Target& each) { return each.name == name; });
  return found == std::end(kTargets) ? nullptr : found;
}

}  // namespace wp::fuzz
