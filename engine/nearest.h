// How far a mistyped word is from a known one.
#ifndef WP_ENGINE_NEAREST_H_
#define WP_ENGINE_NEAREST_H_

#include <cstddef>
#include <string_view>

namespace wp {

// The least number of insertions, deletions, replacements and swaps of neighbours that make one
// text into the other. Takes time in proportion to both sizes.
size_t typing_errors(std::string_view a, std::string_view b);

}  // namespace wp

#endif  // WP_ENGINE_NEAREST_H_
