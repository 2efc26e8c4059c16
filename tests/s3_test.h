// What the tests of the S3 client share: a client on a stub server, and ways to ask it and wait.
#ifndef WP_TESTS_S3_TEST_H_
#define WP_TESTS_S3_TEST_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "s3_minimal/client.h"
#include "s3_minimal/config.h"
#include "s3_minimal/s3_store.h"
#include "tests/s3_stub.h"
#include "tests/store_contract.h"

namespace wp::s3_test {

using s3_stub::End;
using s3_stub::Fault;
using s3_stub::Server;
using store_test::make_body;

// Environment, files and clock of a test's own. Shared with all copies of its surroundings.
class World {
 public:
  void set(const std::string& variable, const std::string& value);
  void unset(const std::string& variable);
  void file(const std::string& path, const std::string& text);
  void advance(std::chrono::milliseconds by);
  s3::Surroundings surroundings() const;

 private:
  struct State;
  std::shared_ptr<State> state_ = make_state();
  static std::shared_ptr<State> make_state();
};

// Messages as they come.
class Messages {
 public:
  std::function<void(Level, std::string_view)> listener() const;
  std::vector<std::string> all() const;
  bool mention(std::string_view part) const;

 private:
  struct State;
  std::shared_ptr<State> state_ = make_state();
  static std::shared_ptr<State> make_state();
};

// The stub's bucket, with its credentials, and an environment that is empty.
s3::S3Config config_of(const Server& server);
s3::Credentials credentials_of(Server& server);

StoreStatus put(s3::S3Client& client, std::string key, Body body, bool create_only = true);
GetResult get(s3::S3Client& client, std::string key, ByteRange range = {});
GetResult head(s3::S3Client& client, std::string key);
ListResult list(s3::S3Client& client, std::string prefix = "", std::string after = "",
                uint32_t count_max = 0);
StoreStatus remove(s3::S3Client& client, std::vector<std::string> keys);

// A server and a client of it.
struct Bench {
  explicit Bench(Server::Tls tls = Server::Tls::kOff) : server(tls) {}
  Server server;
  Meter meter;
  s3::S3Config config = config_of(server);
  std::unique_ptr<s3::S3Client> made;
  // Made when it is first asked for: until then `config` can be changed.
  s3::S3Client& client();
  void new_client() { made.reset(); }
  uint64_t sent(Operation operation) const {
    return meter.count(operation, Cause::kFlush).requests;
  }
};

std::string text_of(const std::vector<std::byte>& bytes);
bool mentions(const StoreStatus& status, std::string_view part);

}  // namespace wp::s3_test

#endif  // WP_TESTS_S3_TEST_H_
