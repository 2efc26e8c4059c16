#include "engine/filter.h"

#include <algorithm>

namespace wp {

PropertyFilter::PropertyFilter(const Filter& filter) : wanted_(filter.properties) {
  for (const auto& [key, value] : wanted_) hashes_.push_back(property_hash(key, value));
}

// An entry may have a key more than once.
bool PropertyFilter::matches(Bytes properties) const {
  return std::all_of(wanted_.begin(), wanted_.end(), [properties](const auto& wanted) {
    ByteParser in(properties);
    while (!in.done()) {
      const std::string_view key = in.text();
      const std::string_view value = in.text();
      if (!in.ok()) return false;
      if (key == wanted.first && value == wanted.second) return true;
    }
    return false;
  });
}

}  // namespace wp
