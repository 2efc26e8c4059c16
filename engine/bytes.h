// Bytes on disk: little-endian integers, varints, CRC32C and SHA-256. Encoding appends to a vector;
// decoding goes through ByteParser, which never reads past its end and remembers that it had to
// stop.
#ifndef WP_ENGINE_BYTES_H_
#define WP_ENGINE_BYTES_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ids.h"
#include "wp.h"

namespace wp {

using ByteVector = std::vector<std::byte>;

uint32_t crc32c(Bytes bytes);           // Castagnoli, as in RFC 3720
uint32_t crc32c_portable(Bytes bytes);  // the same, where the processor has no instruction for it
Digest sha256(Bytes bytes);             // FIPS 180-4
std::string to_hex(Bytes bytes);
std::string hex_number(uint64_t value, int digits);  // lower case, zero-padded
// Exactly `text.size()` lower-case hex digits; false for anything else.
bool parse_hex_number(std::string_view text, uint64_t* value);

template <class T>
void put_fixed(ByteVector& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i)));
  }
}
template <class T>
void store_fixed(std::byte* at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    at[i] = static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i));
  }
}
inline void put_bytes(ByteVector& out, Bytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

inline constexpr size_t kVarintBytesMax = 10;
// LEB128. Returns one past the last byte written; `at` has room for kVarintBytesMax.
inline std::byte* store_varint(std::byte* at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<std::byte>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<std::byte>(value);
  return at;
}
inline size_t varint_bytes(uint64_t value) {
  size_t n = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++n;
  }
  return n;
}
inline void put_varint(ByteVector& out, uint64_t value) {
  std::byte buffer[kVarintBytesMax];
  out.insert(out.end(), buffer, store_varint(buffer, value));
}
inline void put_text(ByteVector& out, std::string_view text) {
  put_varint(out, text.size());
  put_bytes(out, as_bytes(text));
}
// Signed differences as small unsigned numbers: 0, -1, 1, -2, ...
inline uint64_t zigzag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}
inline int64_t unzigzag(uint64_t v) {
  return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
}

class ByteParser {
 public:
  explicit ByteParser(Bytes bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool ok() const { return ok_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  bool done() const { return ok_ && at_ == end_; }
  const std::byte* at() const { return at_; }

  template <class T>
  T fixed() {
    if (left() < sizeof(T)) return fail<T>();
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<uint64_t>(at_[i]) << (8 * i);
    at_ += sizeof(T);
    return static_cast<T>(value);
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) return fail<uint64_t>();
      const auto byte = static_cast<uint64_t>(*at_++);
      if (shift == 63 && byte > 1) return fail<uint64_t>();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return fail<uint64_t>();
  }
  Bytes bytes(uint64_t count) {
    if (count > left()) {
      fail<int>();
      return {};
    }
    const Bytes out{at_, static_cast<size_t>(count)};
    at_ += count;
    return out;
  }
  std::string_view text() { return as_text(bytes(varint())); }
  template <size_t N>
  std::array<std::byte, N> array() {
    std::array<std::byte, N> out{};
    const Bytes b = bytes(N);
    if (b.size() == N) std::memcpy(out.data(), b.data(), N);
    return out;
  }

 private:
  template <class T>
  T fail() {
    ok_ = false;
    at_ = end_;
    return T{};
  }
  const std::byte* at_;
  const std::byte* end_;
  bool ok_ = true;
};

}  // namespace wp

#endif  // WP_ENGINE_BYTES_H_
