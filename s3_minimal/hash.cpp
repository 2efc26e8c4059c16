// Thin, checked calls of OpenSSL.
#include "s3_minimal/hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstdlib>

namespace wp::s3 {
namespace {

Sha256 digest(const void* data, size_t size) {
  Sha256 out{};
  unsigned int length = 0;
  // SHA-256 cannot fail but for want of memory, and then nothing that follows would be right.
  if (EVP_Digest(data, size, out.data(), &length, EVP_sha256(), nullptr) != 1) std::abort();
  return out;
}

}  // namespace

Sha256 sha256(std::span<const std::byte> bytes) {
  return digest(bytes.data(), bytes.size());
}

Sha256 sha256(std::string_view text) {
  return digest(text.data(), text.size());
}

Sha256 hmac_sha256(std::string_view key, std::string_view text) {
  Sha256 out{};
  unsigned int length = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes, text.size(), out.data(),
           &length) == nullptr) {
    std::abort();
  }
  return out;
}

std::string hex(std::span<const unsigned char> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends it with a NUL
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(length));
  return out;
}

std::string md5_base64(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), out.data(), &length, EVP_md5(), nullptr) != 1) {
    return {};
  }
  return base64({reinterpret_cast<const char*>(out.data()), length});
}

}  // namespace wp::s3
