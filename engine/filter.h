// Which entries a reader wants, by their properties.
#ifndef WP_ENGINE_FILTER_H_
#define WP_ENGINE_FILTER_H_

#include <string>
#include <utility>
#include <vector>

#include "wp.h"

namespace wp {

class PropertyFilter {
 public:
  explicit PropertyFilter(const Filter& filter) : wanted_(filter.properties) {}

  bool matches(const Entry& entry) const { return matches(entry.properties_); }
  // `properties` are an entry's, as encoded.
  bool matches(Bytes properties) const;

 private:
  const std::vector<std::pair<std::string, std::string>> wanted_;
};

}  // namespace wp

#endif  // WP_ENGINE_FILTER_H_
