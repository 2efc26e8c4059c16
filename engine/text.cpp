#include "engine/text.h"

#include <algorithm>
#include <vector>

namespace wp {
size_t typing_errors(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  if (word.empty() || word.size() > 64) return {};
  std::string_view best;
  size_t best_errors = std::max<size_t>(1, (word.size() + 1) / 3) + 1;
  for (const std::string_view candidate : known) {
    // A word cut short is meant, however much is missing.
    const bool prefix = candidate.size() > word.size() && candidate.substr(0, word.size()) == word;
    const size_t errors = prefix ? 1 : typing_errors(word, candidate);
    if (errors < best_errors) {
      best_errors = errors;
      best = candidate;
    }
  }
  return best;
}

bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = at + text.size();
  const auto tail = [&](const unsigned char* p) { return p < end && (*p & 0xc0) == 0x80; };
  while (at < end) {
    const unsigned char c = *at;
    if (c < 0x80) {
      at += 1;
    } else if (c >= 0xc2 && c <= 0xdf) {
      if (!tail(at + 1)) return false;
      at += 2;
    } else if (c >= 0xe0 && c <= 0xef) {
      if (!tail(at + 1) || !tail(at + 2)) return false;
      if (c == 0xe0 && at[1] < 0xa0) return false;  // longer than need be
      if (c == 0xed && at[1] > 0x9f) return false;  // half of a surrogate pair
      at += 3;
    } else if (c >= 0xf0 && c <= 0xf4) {
      if (!tail(at + 1) || !tail(at + 2) || !tail(at + 3)) return false;
      if (c == 0xf0 && at[1] < 0x90) return false;  // longer than need be
      if (c == 0xf4 && at[1] > 0x8f) return false;  // past the last code point
      at += 4;
    } else {
      return false;
    }
  }
  return true;
}

std::string printable(std::string_view text) {
  constexpr size_t kBytesMax = 80;
  const bool cut = text.size() > kBytesMax;
  if (cut) {
    size_t keep = kBytesMax;
    while (keep > 0 && (text[keep] & 0xc0) == 0x80) --keep;  // not within a character
    text = text.substr(0, keep);
  }
  const bool utf8 = is_utf8(text);
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    out += u < 0x20 || u == 0x7f || (u >= 0x80 && !utf8) ? '?' : c;
  }
  return cut ? out + "..." : out;
}

}  // namespace wp
