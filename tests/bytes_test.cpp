// The smallest parts: bytes, texts.
#include "engine/bytes.h"

#include <doctest/doctest.h>

#include <array>
#include <limits>

#include "engine/text.h"
#include "tests/test_root.h"

namespace wp {
namespace {

ByteVector from_hex(std::string_view hex) {
  ByteVector out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    uint64_t byte = 0;
    REQUIRE(parse_hex_number(hex.substr(i, 2), &byte));
    out.push_back(static_cast<std::byte>(byte));
  }
  return out;
}

// Bit by bit, as the standard describes it.
uint32_t crc32c_slowly(Bytes bytes) {
  uint32_t crc = ~0u;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<uint32_t>(byte);
    for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

}  // namespace

TEST_CASE("crc32c gives the vectors of RFC 3720") {
  ByteVector bytes(32, std::byte{0});
  CHECK(crc32c(bytes) == 0x8a9136aa);
  bytes.assign(32, std::byte{0xff});
  CHECK(crc32c(bytes) == 0x62a8ab43);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(i);
  CHECK(crc32c(bytes) == 0x46dd794e);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(31 - i);
  CHECK(crc32c(bytes) == 0x113fdb5c);
  CHECK(crc32c(from_hex("01c00000000000000000000000000000"
                        "14000000000004000000001400000018"
                        "28000000000000000200000000000000")) == 0xd9963a56);
  CHECK(crc32c(as_bytes("123456789")) == 0xe3069283);
  CHECK(crc32c({}) == 0);
}

TEST_CASE("crc32c is the same at every length and alignment") {
  const std::string text = noise(3, 80);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t bytes = 0; begin + bytes <= text.size(); ++bytes) {
      const Bytes part = as_bytes(std::string_view(text).substr(begin, bytes));
      if (crc32c(part) != crc32c_slowly(part)) FAIL(begin << " " << bytes);
      if (crc32c_portable(part) != crc32c_slowly(part)) FAIL("portable " << begin << " " << bytes);
    }
  }
}

TEST_CASE("sha256 gives the vectors of FIPS 180") {
  CHECK(to_hex(sha256({})) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(to_hex(sha256(as_bytes("abc"))) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(to_hex(sha256(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(to_hex(sha256(as_bytes(std::string(1'000'000, 'a')))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("numbers in hex: what is written is read, what is none is refused") {
  CHECK(hex_number(0, 8) == "00000000");
  CHECK(hex_number(0x1ab, 4) == "01ab");
  CHECK(hex_number(UINT64_MAX, 16) == "ffffffffffffffff");
  uint64_t value = 1;
  CHECK(parse_hex_number("0", &value));
  CHECK(value == 0);
  CHECK(parse_hex_number("ffffffffffffffff", &value));
  CHECK(value == UINT64_MAX);
  for (const char* none : {"", "10000000000000000", "g", "A", " 1", "1 ", "0x1", "+1", "-1"}) {
    CAPTURE(none);
    CHECK_FALSE(parse_hex_number(none, &value));
  }
}

TEST_CASE("fixed numbers are little-endian and come back") {
  ByteVector out;
  put_fixed<uint16_t>(out, 0x1234);
  put_fixed<uint32_t>(out, 0x89abcdef);
  put_fixed<uint64_t>(out, 0x0123456789abcdef);
  put_fixed<int64_t>(out, -2);
  CHECK(to_hex(out) == "3412efcdab89efcdab8967452301feffffffffffffff");
  ByteParser in(out);
  CHECK(in.fixed<uint16_t>() == 0x1234);
  CHECK(in.fixed<uint32_t>() == 0x89abcdef);
  CHECK(in.fixed<uint64_t>() == 0x0123456789abcdef);
  CHECK(in.fixed<int64_t>() == -2);
  CHECK(in.done());
  std::array<std::byte, 8> stored{};
  store_fixed<uint64_t>(stored.data(), 0x0123456789abcdef);
  CHECK(to_hex(stored) == "efcdab8967452301");
}

TEST_CASE("varints of every length come back, and take as many bytes as is said") {
  std::vector<uint64_t> values = {0, 1, UINT64_MAX};
  for (int bit = 1; bit < 64; ++bit) {
    const uint64_t power = uint64_t{1} << bit;
    values.insert(values.end(), {power - 1, power, power + 1});
  }
  for (const uint64_t value : values) {
    CAPTURE(value);
    ByteVector out;
    put_varint(out, value);
    CHECK(out.size() == varint_bytes(value));
    CHECK(out.size() <= kVarintBytesMax);
    ByteParser in(out);
    CHECK(in.varint() == value);
    CHECK(in.done());
    for (size_t cut = 0; cut < out.size(); ++cut) {
      ByteParser short_in(Bytes(out).first(cut));
      CHECK(short_in.varint() == 0);
      CHECK_FALSE(short_in.ok());
    }
  }
  ByteVector out;
  put_varint(out, 300);
  CHECK(to_hex(out) == "ac02");
}

TEST_CASE("a varint past 64 bits is refused, one with idle bytes is not") {
  for (const char* wrong : {"ffffffffffffffffff02", "ffffffffffffffffff7f", "80808080808080808002",
                            "ffffffffffffffffffff01", "8080808080808080808000"}) {
    CAPTURE(wrong);
    const ByteVector bytes = from_hex(wrong);
    ByteParser in(bytes);
    CHECK(in.varint() == 0);
    CHECK_FALSE(in.ok());
  }
  const ByteVector idle = from_hex("808000");
  ByteParser in(idle);
  CHECK(in.varint() == 0);
  CHECK(in.done());
}

TEST_CASE("zigzag keeps small numbers small, and every number") {
  CHECK(zigzag(0) == 0);
  CHECK(zigzag(-1) == 1);
  CHECK(zigzag(1) == 2);
  CHECK(zigzag(-2) == 3);
  for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1}, INT64_MIN, INT64_MIN + 1,
                              INT64_MAX, int64_t{1'700'000'000'000}}) {
    CHECK(unzigzag(zigzag(value)) == value);
  }
}

TEST_CASE("a parser stops at its first error and reads nothing behind it") {
  const ByteVector bytes = from_hex("0102030405060708");
  ByteParser in(bytes);
  CHECK(in.fixed<uint32_t>() == 0x04030201);
  CHECK(in.bytes(5).empty());  // there are four
  CHECK_FALSE(in.ok());
  CHECK_FALSE(in.done());
  CHECK(in.left() == 0);
  CHECK(in.fixed<uint8_t>() == 0);
  CHECK(in.varint() == 0);
  CHECK(in.text().empty());
  CHECK(in.array<4>() == std::array<std::byte, 4>{});

  ByteParser huge(bytes);
  CHECK(huge.bytes(UINT64_MAX).empty());
  CHECK_FALSE(huge.ok());
  ByteParser nothing({});
  CHECK(nothing.done());
  CHECK(nothing.bytes(0).empty());
  CHECK(nothing.ok());
  CHECK(nothing.array<1>() == std::array<std::byte, 1>{});
  CHECK_FALSE(nothing.ok());
}

// ------------------------------------------------------------------------------------------ texts

TEST_CASE("typing errors are counted") {
  CHECK(typing_errors("", "") == 0);
  CHECK(typing_errors("abc", "abc") == 0);
  CHECK(typing_errors("", "abc") == 3);
  CHECK(typing_errors("abc", "") == 3);
  CHECK(typing_errors("linger", "lingre") == 1);  // two neighbours changed places
  CHECK(typing_errors("append", "apend") == 1);
  CHECK(typing_errors("kitten", "sitting") == 3);
}

TEST_CASE("the nearest word is the one that was meant, or none") {
  const std::string_view known[] = {"append", "cat", "tail", "truncate", "verify"};
  CHECK(nearest("apend", known) == "append");
  CHECK(nearest("trunc", known) == "truncate");  // cut short
  CHECK(nearest("cta", known) == "cat");
  CHECK(nearest("zzzzzz", known).empty());
  CHECK(nearest("", known).empty());
  CHECK(nearest(std::string(65, 'a'), known).empty());
  CHECK(nearest("append", {}).empty());
}

TEST_CASE("UTF-8 is what RFC 3629 says") {
  for (const char* right :
       {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "z\xc3\xbcrich"}) {
    CAPTURE(right);
    CHECK(is_utf8(right));
  }
  for (const char* wrong :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x80\x80", "\xe0\x9f\xbf",
        "\xe1\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
        "\xf1\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xff"}) {
    CAPTURE(wrong);
    CHECK_FALSE(is_utf8(wrong));
  }
  CHECK(is_utf8(std::string_view("\0", 1)));
}

TEST_CASE("what is printed of somebody's text is one line, and not a long one") {
  CHECK(printable("plain") == "plain");
  CHECK(printable("a\nb\x7f\x1b[0m") == "a?b??[0m");
  CHECK(printable("z\xc3\xbcrich") == "z\xc3\xbcrich");
  CHECK(printable("z\xfcrich") == "z?rich");
  CHECK(printable(std::string(80, 'a')) == std::string(80, 'a'));
  CHECK(printable(std::string(81, 'a')) == std::string(80, 'a') + "...");
  // A character is not cut in two.
  CHECK(printable(std::string(79, 'a') + "\xc3\xbc\xc3\xbc") == std::string(79, 'a') + "...");
}

}  // namespace wp
