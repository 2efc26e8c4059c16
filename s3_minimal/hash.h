// The digests and text forms of bytes that S3 asks for. Pure functions, any thread.
#ifndef WP_S3_MINIMAL_HASH_H_
#define WP_S3_MINIMAL_HASH_H_

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace wp::s3 {

using Sha256 = std::array<unsigned char, 32>;

Sha256 sha256(std::span<const std::byte> bytes);
Sha256 sha256(std::string_view text);
Sha256 hmac_sha256(std::string_view key, std::string_view text);

std::string hex(std::span<const unsigned char> bytes);  // lower case
std::string base64(std::string_view bytes);

// Content-MD5 of a body; empty where the crypto library refuses MD5 (FIPS).
std::string md5_base64(std::string_view bytes);

inline std::string_view view(const Sha256& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_HASH_H_
