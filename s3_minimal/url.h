// URLs in the pieces that S3 needs: percent-encoding by its rules, queries in their canonical
// order, and where a request goes. Pure functions, any thread.
#ifndef WP_S3_MINIMAL_URL_H_
#define WP_S3_MINIMAL_URL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wp::s3 {

// Every byte but A-Z a-z 0-9 - . _ ~ becomes %XX.
std::string percent_encode(std::string_view text);
// The same, but '/' stays. Nothing is normalized: "//", "." and ".." are parts of a key like
// others.
std::string encode_path(std::string_view path);
// %XX become bytes; '+' becomes a space only if asked. Nothing where a '%' is not followed by two
// digits.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space = false);

// Names and values as they are meant, not yet encoded.
using Query = std::vector<std::pair<std::string, std::string>>;
// Encoded and in the order that signatures want; sent like this too, so that what is signed is what
// is sent. A name without value gets its '='.
std::string canonical_query(const Query& query);
// Takes apart what stands behind a '?'.
std::optional<Query> parse_query(std::string_view text);

struct Url {
  std::string scheme;     // lower case, without "://"
  std::string user_info;  // what stood before '@', if anything
  std::string host;       // lower case; an IPv6 address without its brackets
  uint16_t port = 0;      // 0: the scheme's own
  std::string path;       // with its leading '/', encoded as it came; may be empty
  std::string query;      // behind the '?', as it came

  // Host and port as in a Host header: the port only where it is not the scheme's own.
  std::string authority() const;
  std::string origin() const;  // "https://host:8443"
};
std::optional<Url> parse_url(std::string_view text);

bool is_ip_address(std::string_view host);

std::string lower(std::string_view text);
std::string_view trim(std::string_view text);  // of spaces, tabs and line ends

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_URL_H_
