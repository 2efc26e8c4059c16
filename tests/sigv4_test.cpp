// The signer against published cases: those of AWS's own suites that hold under S3's rules, and the
// worked examples of S3's documentation.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "s3_minimal/signer.h"
#include "s3_minimal/url.h"

namespace wp::s3 {
namespace {

struct Case {
  std::string_view name, method, path, query, headers, payload_hash, date, region, service,
      access_key, secret_key, canonical_request, string_to_sign, signature;
  bool same;
};

constexpr Case kCases[] = {
#include "tests/sigv4_cases.inc"
};

Headers parse_headers(std::string_view text) {
  Headers headers;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t colon = line.find(':');
    headers.push_back({std::string(line.substr(0, colon)), std::string(line.substr(colon + 1))});
  }
  return headers;
}

// The time in milliseconds of "20150830T123600Z".
int64_t parse_date(std::string_view date) {
  tm parts{};
  REQUIRE(sscanf(std::string(date).c_str(), "%4d%2d%2dT%2d%2d%2dZ", &parts.tm_year, &parts.tm_mon,
                 &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &parts.tm_sec) == 6);
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return static_cast<int64_t>(timegm(&parts)) * 1000;
}

std::string header_of(const Headers& headers, std::string_view name) {
  for (const Header& header : headers) {
    if (header.name == name) return header.value;
  }
  return {};
}

constexpr int64_t kNoon = 1440938160000;  // 20150830T123600Z

}  // namespace

TEST_CASE("requests are signed as published cases say, where S3's rules are theirs") {
  size_t same = 0, own_rules = 0, from_s3 = 0;
  for (const Case& row : kCases) {
    CAPTURE(row.name);
    const Headers headers = parse_headers(row.headers);
    const std::string path = encode_path(row.path);
    const auto pairs = parse_query(row.query);
    REQUIRE(pairs.has_value());
    const std::string query = canonical_query(*pairs);
    const SignInput input{row.method, path, query, &headers, row.payload_hash};
    const SigningScope scope{std::string(row.region), std::string(row.service)};
    const Credentials credentials{std::string(row.access_key), std::string(row.secret_key), "", 0,
                                  ""};
    const std::string canonical = canonical_request(input);
    const std::string to_sign = string_to_sign(input, row.date, scope);
    const Sha256 key = signing_key(credentials, row.date.substr(0, 8), scope);
    const std::string signature = hex(hmac_sha256(view(key), to_sign));
    if (row.same) {
      ++same;
      if (row.name.starts_with("s3:")) ++from_s3;
      CHECK(canonical == row.canonical_request);
      CHECK(to_sign == row.string_to_sign);
      CHECK(signature == row.signature);
    } else {
      ++own_rules;
      // A generic signer would fold the path; an object's key is not a path.
      CHECK(canonical.find("\n" + path + "\n") != std::string::npos);
      CHECK(path == encode_path(row.path));
      CHECK(canonical != row.canonical_request);
      CHECK(signature != row.signature);
    }
  }
  CHECK(same == 66);
  CHECK(from_s3 == 6);
  CHECK(own_rules == 12);
}

TEST_CASE("a signed request carries date, digest, token and authorization") {
  Signer signer;
  const Credentials credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                "", 0, ""};
  Headers headers = {{"Host", "examplebucket.s3.amazonaws.com"}, {"Range", "bytes=0-9"}};
  signer.sign(credentials, {"us-east-1", "s3"}, parse_date("20130524T000000Z"), "GET", "/test.txt",
              "", kEmptyPayload, headers);
  CHECK(header_of(headers, "x-amz-date") == "20130524T000000Z");
  CHECK(header_of(headers, "x-amz-content-sha256") == kEmptyPayload);
  CHECK(header_of(headers, "Authorization") ==
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_CASE("a session token is sent and signed") {
  Signer signer;
  const Credentials credentials{"AK", "secret", "the token", 0, ""};
  Headers headers = {{"Host", "h"}};
  signer.sign(credentials, {"r", "s3"}, kNoon, "GET", "/", "", kUnsignedPayload, headers);
  CHECK(header_of(headers, "x-amz-security-token") == "the token");
  CHECK(header_of(headers, "Authorization").find(";x-amz-security-token,") != std::string::npos);
  CHECK(header_of(headers, "Authorization").find("secret") == std::string::npos);
}

TEST_CASE("the kept key of a day is made anew when the day, region or credentials change") {
  Signer one;
  const auto sign = [](Signer& signer, const char* secret, const char* region, int64_t time) {
    Headers headers = {{"Host", "h"}};
    signer.sign({"AK", secret, "", 0, ""}, {region, "s3"}, time, "GET", "/", "", kEmptyPayload,
                headers);
    return header_of(headers, "Authorization");
  };
  const int64_t day = 86'400'000;
  for (const char* secret : {"a", "b", "a"}) {
    for (const char* region : {"r", "q", "r"}) {
      for (const int64_t time : {kNoon, kNoon, kNoon + day, kNoon}) {
        Signer fresh;
        CHECK(sign(one, secret, region, time) == sign(fresh, secret, region, time));
      }
    }
  }
}

TEST_CASE("Google's names replace Amazon's in a request for Google") {
  Signer signer(kGoogleNames);
  Headers headers = {{"Host", "storage.googleapis.com"}, {"x-goog-if-generation-match", "0"}};
  signer.sign({"GOOG1E", "secret", "", 0, ""}, {"auto", "storage"}, kNoon, "PUT", "/b/k", "",
              kEmptyPayload, headers);
  CHECK(header_of(headers, "Authorization")
            .starts_with("GOOG4-HMAC-SHA256 Credential=GOOG1E/20150830/auto/storage/goog4_request,"
                         "SignedHeaders=host;x-goog-content-sha256;x-goog-date;"
                         "x-goog-if-generation-match,Signature="));
  for (const Header& header : headers) CHECK(!header.name.starts_with("x-amz-"));
}

TEST_CASE("a date before 1970 and one far ahead are written, not refused") {
  CHECK(amz_date(0) == "19700101T000000Z");
  CHECK(amz_date(-1000) == "19691231T235959Z");
  CHECK(amz_date(4102444800000) == "21000101T000000Z");
}

}  // namespace wp::s3
