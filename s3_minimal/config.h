// Where the bucket is and how to speak to it: an S3 URL, the options and the environment in, one
// S3Config out. Reads the environment and files only through `Surroundings`, so tests bring their
// own.
#ifndef WP_S3_MINIMAL_CONFIG_H_
#define WP_S3_MINIMAL_CONFIG_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "s3_minimal/signer.h"
#include "s3_minimal/url.h"
#include "wp.h"

namespace wp::s3 {

// The world as far as configuration looks at it.
struct Surroundings {
  std::function<std::optional<std::string>(std::string_view name)> variable;  // never empty text
  std::function<std::optional<std::string>(const std::string& path)> read_file;
  std::function<int64_t()> wall_ms;
  std::function<uint64_t()> random;
};
Surroundings real_surroundings();

// In which words a store is asked to create and never to overwrite.
enum class Dialect : uint8_t { kIfNoneMatch, kGoogle, kAlibaba, kTencent };
Dialect dialect_of(std::string_view host);
Header create_only(Dialect dialect);
std::string_view dialect_name(Dialect dialect);  // "If-None-Match: *"

struct Deadlines {
  std::chrono::milliseconds connect{5'000};      // name, TCP and TLS
  std::chrono::milliseconds first_byte{20'000};  // after the request was sent
  std::chrono::milliseconds stall{20'000};       // without a byte either way
  std::chrono::milliseconds total{60'000};       // and more for large bodies, see bytes_per_second
  uint64_t bytes_per_second = 100'000;           // slower than this is given up
  // Kept connections are given up after so much rest: servers do it, too, Amazon's after about
  // twenty seconds, and a request that meets that moment is lost.
  std::chrono::seconds idle{15};
};

struct S3Config {
  std::string bucket;
  std::string prefix;                 // empty, or ends with '/'
  Url endpoint;                       // without bucket and path
  bool endpoint_from_region = false;  // Amazon's own, so another region has another host
  std::string region = "us-east-1";
  std::string region_source;    // for messages: "AWS_REGION"
  std::string ca_file;          // empty: the system's
  std::string profile;          // empty: "default"
  bool profile_chosen = false;  // by option: then nothing else is looked at
  bool path_style = false;
  bool unsigned_payload = false;
  bool exclusive = false;
  Dialect dialect = Dialect::kIfNoneMatch;
  std::optional<Credentials> credentials;  // given by the program itself
  uint32_t in_flight_max = 16;
  Deadlines deadlines;
  // Told about what is worth a line in a log: a versioned bucket, a clock that is off. Any thread.
  std::function<void(Level, std::string_view)> on_message;
  Surroundings surroundings;
};

// "s3://bucket/prefix", its query already in `options`. kInvalid says what is wrong and never
// repeats what might be a secret.
Result<S3Config> s3_config(std::string_view url, const Options& options,
                           const Surroundings& surroundings = real_surroundings());

// Amazon's endpoint of a region.
std::string amazon_endpoint(std::string_view region);
// "eu-west-1" of "s3.eu-west-1.amazonaws.com"; empty where the host names none.
std::string region_of_host(std::string_view host);
bool is_amazon_host(std::string_view host);

// Whether what was meant for `from` may be sent, signed, to `to`: to the same site, over a
// connection that is as safe.
bool same_site(const Url& from, const Url& to);

// A file in the form of Amazon's credentials and config: sections of names and values.
using IniFile = std::map<std::string, std::map<std::string, std::string>>;
IniFile parse_ini(std::string_view text);
// Settings of one profile from both files; what stands in the credentials file wins.
std::map<std::string, std::string> profile_settings(std::string_view profile,
                                                    const Surroundings& surroundings);

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_CONFIG_H_
