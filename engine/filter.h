// Which entries a reader wants, by their properties.
#ifndef WP_ENGINE_FILTER_H_
#define WP_ENGINE_FILTER_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/format.h"
#include "wp.h"

namespace wp {

class PropertyFilter {
 public:
  explicit PropertyFilter(const Filter& filter);

  bool matches(const Entry& entry) const { return matches(entry.properties_); }
  // `properties` are an entry's, as encoded.
  bool matches(Bytes properties) const;
  // Whether an entry of a piece may match.
  bool may_match(const PropertySet& piece) const { return piece.may_hold(hashes_); }

 private:
  const std::vector<std::pair<std::string, std::string>> wanted_;
  std::vector<uint32_t> hashes_;
};

}  // namespace wp

#endif  // WP_ENGINE_FILTER_H_
