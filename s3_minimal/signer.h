// Signature Version 4 as S3 wants it: every request is signed in its headers. Time is an argument;
// nothing here reads a clock, an environment or a file.
//
// S3's own rules, which differ from those of other services: the path is encoded once, by the
// caller (encode_path), and is never normalized; the digest of the body is always a signed header.
//
// Google's stores take the same scheme under other names, and take their own headers only then.
#ifndef WP_S3_MINIMAL_SIGNER_H_
#define WP_S3_MINIMAL_SIGNER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sync.h"
#include "s3_minimal/hash.h"

namespace wp::s3 {

struct Header {
  std::string name, value;
};
using Headers = std::vector<Header>;

struct Credentials {
  std::string access_key, secret_key, session_token;
  int64_t expiry_ms = 0;  // since 1970; 0: they do not expire
  std::string source;     // where they came from, for messages: "environment"
};

struct SigningNames {
  std::string_view algorithm = "AWS4-HMAC-SHA256";
  std::string_view key_prefix = "AWS4";
  std::string_view terminator = "aws4_request";
  std::string_view header_prefix = "x-amz-";
};
inline constexpr SigningNames kAwsNames{};
inline constexpr SigningNames kGoogleNames{"GOOG4-HMAC-SHA256", "GOOG4", "goog4_request",
                                           "x-goog-"};

inline constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";
inline constexpr std::string_view kEmptyPayload =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct SigningScope {
  std::string region, service;
};

// What is signed of a request.
struct SignInput {
  std::string_view method;
  std::string_view path;             // encoded, as it is sent
  std::string_view query;            // canonical_query(), as it is sent
  const Headers* headers = nullptr;  // all of them are signed
  std::string_view payload_hash;
};

std::string amz_date(int64_t time_ms);  // "20130524T000000Z"

std::string signed_headers(const Headers& headers);  // "host;x-amz-date"
std::string canonical_request(const SignInput& input);
std::string string_to_sign(const SignInput& input, std::string_view date, const SigningScope& scope,
                           const SigningNames& names = kAwsNames);
Sha256 signing_key(const Credentials& credentials, std::string_view day, const SigningScope& scope,
                   const SigningNames& names = kAwsNames);

// Signs requests of one place. The day's key is kept. Any thread.
class Signer {
 public:
  explicit Signer(const SigningNames& names = kAwsNames) : names_(names) {}

  // Adds date, payload digest, session token and Authorization to `headers`, which must hold Host
  // and all others that shall be signed.
  void sign(const Credentials& credentials, const SigningScope& scope, int64_t time_ms,
            std::string_view method, std::string_view path, std::string_view query,
            std::string_view payload_hash, Headers& headers);

 private:
  Sha256 key(const Credentials& credentials, std::string_view day, const SigningScope& scope);

  const SigningNames names_;
  Mutex mutex_;
  // of the key that is kept: whatever it was made from, so that a change of any makes a new one
  std::string kept_for_ WP_GUARDED_BY(mutex_);
  Sha256 kept_ WP_GUARDED_BY(mutex_){};
};

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_SIGNER_H_
