// Which keys the small stores hold: the same ones in memory and in a directory, so that what works
// on one works on the other.
#ifndef WP_STORES_KEYS_H_
#define WP_STORES_KEYS_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace wp {

inline constexpr size_t kKeyBytesMax = 1000;
inline constexpr size_t kKeyPartBytesMax = 255;  // a file's name on every usual file system

// 1 to 1,000 bytes; parts between '/' of 1 to 255 bytes that are not "." or ".."; no NUL. So a key
// can neither be absolute nor leave the root.
inline bool key_is_plain(std::string_view key) {
  if (key.empty() || key.size() > kKeyBytesMax) return false;
  if (key.find('\0') != std::string_view::npos) return false;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view part = key.substr(begin, end - begin);
    if (part.empty() || part.size() > kKeyPartBytesMax || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

// For messages: what is not printable ASCII as \xNN, and not without end.
inline std::string printable_key(std::string_view key) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : key.substr(0, 200)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  if (key.size() > 200) out += "...";
  return out;
}

}  // namespace wp

#endif  // WP_STORES_KEYS_H_
