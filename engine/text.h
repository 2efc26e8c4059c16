// Texts that people wrote, in names and messages.
#ifndef WP_ENGINE_TEXT_H_
#define WP_ENGINE_TEXT_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace wp {

// The least number of insertions, deletions, replacements and swaps of neighbours that make one
// text into the other. Takes time in proportion to the product of both sizes.
size_t typing_errors(std::string_view a, std::string_view b);
// The word that is the fewest typing errors away, or "" where none is near enough to be meant.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

bool is_utf8(std::string_view text);  // well-formed as in RFC 3629
// For messages: control characters and bytes that are no UTF-8 as '?', and not longer than a line.
std::string printable(std::string_view text);

}  // namespace wp

#endif  // WP_ENGINE_TEXT_H_
