// What the stub server says as a store: objects in memory, S3's answers, and a check of Signature
// Version 4 that was written from its specification and shares no line with s3_minimal's signer.
// Knows nothing of sockets.
#ifndef WP_TESTS_S3_STUB_BUCKET_H_
#define WP_TESTS_S3_STUB_BUCKET_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/sync.h"

namespace wp::s3_stub {

struct Request {
  std::string method, target;                  // as they came
  std::string path, raw_query;                 // the two halves of the target, encoded as they came
  std::string key;                             // decoded; empty for the bucket itself
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  uint64_t connection = 0;  // counts up from 1
  size_t bytes = 0;         // of head and body
  bool tls = false;

  std::string header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? std::string() : it->second;
  }
};

struct Answer {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  // How it is put on the wire.
  bool chunked = false, odd_case = false;
  bool without_length = false;  // it ends where the connection ends
  bool close_after = false;     // and nothing said so before
  bool head_only = false;       // to HEAD

  void set(std::string_view name, std::string value);
};

Answer error(int status, std::string_view code, std::string_view more = "");

// How it takes the condition of a creation.
enum class Conditional { kHonoured, kUnsupported, kInvalid, kIgnored, kRacy };

struct Settings {
  std::string bucket = "bucket", region = "us-east-1";
  std::string access_key = "AKSTUB", secret_key = "secret/of+the=stub";
  std::string session_token;       // asked for where it is not empty
  std::string expired_access_key;  // known, and refused as expired
  int64_t clock_ahead_ms = 0;      // of this machine's clock
  Conditional conditional = Conditional::kHonoured;
  std::string condition = "if-none-match";  // the header it goes by, with any value
  int exists_status = 412;
  std::string exists_code = "PreconditionFailed";
  std::string versioning;    // "Enabled"
  std::string lifecycle;     // its rules; empty: none were ever set
  size_t page_max = 1000;    // keys in a list
  bool url_encoding = true;  // of listed keys, where that was asked for
  bool stale_lists = false;  // shows nothing
  bool batch_delete = true;
  bool deletes = true;      // else they are denied
  bool keep_bodies = true;  // else an object has only its size
};

class Bucket {
 public:
  Answer handle(const Request& request);

  Settings settings() const;
  void set(const Settings& settings);

  // Behind the server's back.
  std::vector<std::string> keys() const;
  std::optional<std::string> object(const std::string& key) const;
  void put(const std::string& key, std::string bytes);
  void erase(const std::string& key);

 private:
  struct Object {
    std::shared_ptr<const std::string> bytes;
    size_t size = 0;
    std::string etag;
    size_t puts = 0;
  };

  std::optional<Answer> refuse(const Request& request) const;
  Answer put_object(const Request& request);
  Answer get_object(const Request& request);
  Answer list(const Request& request);
  Answer remove(const Request& request);
  Answer remove_many(const Request& request);

  mutable Mutex mutex_;
  Settings settings_ WP_GUARDED_BY(mutex_);
  std::map<std::string, Object> objects_ WP_GUARDED_BY(mutex_);
  uint64_t etags_ WP_GUARDED_BY(mutex_) = 0;
};

// Percent-decoding, '+' left alone; nothing where it is no encoding.
std::optional<std::string> decode(std::string_view text);
// Encoded as signatures want it.
std::string encode(std::string_view text, bool keep_slash = false);
int64_t now_ms();

}  // namespace wp::s3_stub

#endif  // WP_TESTS_S3_STUB_BUCKET_H_
