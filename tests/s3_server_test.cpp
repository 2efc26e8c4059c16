// The S3 client and its store against a real server, named by the environment as tests/servers/*.sh
// print it. tests/s3_server_test.sh starts the servers and runs this suite on each; without one it
// is skipped.
//
//   WP_TEST_S3_BUCKET        where; endpoint, credentials and region in Amazon's variables
//   WP_TEST_S3_PLAIN=1       the server has no conditional writes
//   WP_TEST_S3_FOREIGN=FILE  what another client wrote: lines of key and body in hexadecimal, the
//                            body behind a '.'
//   WP_TEST_S3_OWN=FILE      the same, to be made, of what is written here
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "engine/bytes.h"
#include "s3_minimal/client.h"
#include "s3_minimal/s3_store.h"
#include "tests/store_contract.h"

namespace wp::store_test {
namespace {

std::string variable(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

bool no_server() {
  return variable("WP_TEST_S3_BUCKET").empty();
}
bool plain_server() {
  return !variable("WP_TEST_S3_PLAIN").empty();
}

std::string new_prefix() {
  static std::atomic<uint64_t> next{1};
  return "t" + std::to_string(getpid()) + "-" + std::to_string(next++);
}

std::string url_of(const std::string& prefix) {
  return "s3://" + variable("WP_TEST_S3_BUCKET") + "/" + prefix;
}

s3::S3Config config_of(const std::string& prefix) {
  auto config = s3::s3_config(url_of(prefix), Options{});
  REQUIRE_MESSAGE(config.ok(), config.status().to_string());
  return std::move(config).value();
}

// What a place's openings learn once.
Opener open_at(const std::string& prefix, bool exclusive) {
  auto known = std::make_shared<std::string>();
  const auto open = [prefix, exclusive, known] {
    Options options;
    options.exclusive = exclusive;
    auto store = S3Store::open(url_of(prefix), options,
                               {*known, [known](std::string text) { *known = text; }});
    REQUIRE_MESSAGE(store.ok(), store.status().to_string());
    return std::move(store).value();
  };
  const auto first = open();
  const StoreStatus stored = put(*first, "probe", make_body(""));
  REQUIRE_MESSAGE(stored.ok(), stored.message);
  REQUIRE(remove(*first, {"probe"}).ok());
  return open;
}

// One client, whose operations are waited for.
struct Client {
  explicit Client(s3::S3Config config) : client(std::move(config), meter) {}

  StoreStatus put(const std::string& key, Body body, bool create_only = false) {
    Answers<StoreStatus> answers;
    client.put(key, std::move(body), create_only, Cause::kFlush, answers.done());
    return answers.wait(1).front();
  }
  GetResult get(const std::string& key, ByteRange range = {}) {
    Answers<GetResult> answers;
    client.get(key, range, Cause::kRead, answers.done());
    return answers.wait(1).front();
  }
  GetResult head(const std::string& key) {
    Answers<GetResult> answers;
    client.head(key, Cause::kRead, answers.done());
    return answers.wait(1).front();
  }
  std::vector<std::string> keys(const std::string& prefix, uint32_t count_max = 0) {
    std::vector<std::string> keys;
    for (;;) {
      Answers<ListResult> answers;
      client.list(prefix, keys.empty() ? "" : keys.back(), count_max, Cause::kRead, answers.done());
      const ListResult page = answers.wait(1).front();
      REQUIRE_MESSAGE(page.status.ok(), page.status.message);
      for (const ListedObject& object : page.objects) keys.push_back(object.key);
      if (!page.more) return keys;
    }
  }
  StoreStatus remove(std::vector<std::string> keys) {
    Answers<StoreStatus> answers;
    client.remove(std::move(keys), Cause::kReclaim, answers.done());
    return answers.wait(1).front();
  }

  Meter meter;
  s3::S3Client client;
};

// Whole keys of the bucket, more of them than a root uses.
std::vector<std::string> odd_keys(const std::string& prefix) {
  std::vector<std::string> keys;
  for (const std::string key : {"a b",
                                " blanks  inside and around ",
                                "plus+plus",
                                "equals=",
                                "percent%",
                                "%41%2f%25",
                                "//two slashes first",
                                "a//b",
                                "a///b",
                                "../up",
                                "a/../b",
                                "a/./b",
                                ".",
                                "..",
                                "a/.",
                                "/",
                                "ends in slash/",
                                "q?a=b&c=d#e",
                                "!'()*;:@$,[]{}|^`\"<>\\~",
                                "umlaut \xc3\xa4",
                                "\xe2\x82\xac/\xf0\x9f\x98\x80",
                                "e\xcc\x81 and \xc3\xa9",
                                "tab\there",
                                "UPPER",
                                "upper"}) {
    keys.push_back(prefix + "/" + key);
  }
  keys.push_back(prefix + "/" + std::string(1000, 'k'));
  std::string euros;
  while (euros.size() + 3 <= 1000) euros += "\xe2\x82\xac";  // each byte of them is escaped
  keys.push_back(prefix + "/" + euros);
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::string unhex(std::string_view text) {
  std::string out;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    out += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  return out;
}

std::string_view view_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

size_t threads() {
  const auto tasks = std::filesystem::directory_iterator("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

// Of this process to anybody.
size_t connections() {
  size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    count += ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
             peer.sin_family == AF_INET;
  }
  return count;
}

}  // namespace

TEST_SUITE_BEGIN("s3 server");

TEST_CASE("a real server keeps the contract of a store" * doctest::skip(no_server())) {
  StoreKind kind;
  kind.odd_keys = false;
  if (plain_server()) kind.many = 1100;  // such servers are slow; it is still more than a page
  kind.new_place = [] { return open_at(new_prefix(), plain_server()); };
  run_store_contract(kind);
}

TEST_CASE("keys of every kind are stored, listed, read and deleted" * doctest::skip(no_server())) {
  const std::string prefix = new_prefix();
  Client client(config_of(prefix));
  const std::vector<std::string> keys = odd_keys(prefix);
  for (const std::string& key : keys) {
    CAPTURE(key);
    const StoreStatus status = client.put(key, make_body("at " + key));
    REQUIRE_MESSAGE(status.ok(), status.message);
  }
  CHECK(client.keys(prefix + "/") == keys);
  CHECK(client.keys(prefix + "/", 3) == keys);
  for (const std::string& key : keys) {
    CAPTURE(key);
    const GetResult got = client.get(key);
    CHECK_MESSAGE(got.status.ok(), got.status.message);
    CHECK(view_of(got.bytes) == "at " + key);
    CHECK(client.head(key).object_bytes == key.size() + 3);
  }
  SUBCASE("one by one") {
    for (const std::string& key : keys) {
      const StoreStatus status = client.remove({key});
      CHECK_MESSAGE(status.ok(), status.message);
      CHECK(client.get(key).status.answer == Answer::kNotFound);
    }
  }
  SUBCASE("all in one request") {
    const StoreStatus status = client.remove(keys);
    CHECK_MESSAGE(status.ok(), status.message);
  }
  CHECK(client.keys(prefix + "/").empty());
}

TEST_CASE("a store without conditional create is refused for writing, and says so" *
          doctest::skip(no_server() || !plain_server())) {
  Options options;
  std::string verdict;
  auto store = S3Store::open(url_of(new_prefix()), options,
                             {"", [&](std::string text) { verdict = std::move(text); }});
  REQUIRE(store.ok());
  const StoreStatus refused = put(**store, "root", make_body("x"));
  CHECK(refused.answer == Answer::kUnsupported);
  INFO(refused.message);
  CHECK(refused.message.find("If-None-Match") != std::string::npos);
  CHECK(refused.message.find("exclusive=1") != std::string::npos);
  CHECK(verdict.starts_with("missing"));
  CHECK(list_all(**store, "").empty());
}

TEST_CASE("a wrong secret is denied, and no secret is told" * doctest::skip(no_server())) {
  s3::S3Config config = config_of(new_prefix());
  s3::Credentials credentials;
  credentials.access_key = variable("AWS_ACCESS_KEY_ID");
  credentials.secret_key = "another-secret-that-is-wrong";
  config.credentials = credentials;
  Client client(std::move(config));
  const StoreStatus denied = client.put("k", make_body("x"));
  CHECK(denied.answer == Answer::kDenied);
  INFO(denied.message);
  CHECK(denied.message.find("SignatureDoesNotMatch") != std::string::npos);
  CHECK(denied.message.find("another-secret") == std::string::npos);
  CHECK(client.get("k").status.answer == Answer::kDenied);
  CHECK(client.head("k").status.answer == Answer::kDenied);
}

TEST_CASE("a bucket that is not there is no empty one" * doctest::skip(no_server())) {
  s3::S3Config config = config_of(new_prefix());
  config.bucket = "wp-no-such-bucket";
  Client client(std::move(config));
  CHECK(client.put("k", make_body("x")).answer != Answer::kOk);
  CHECK(client.get("k").status.answer != Answer::kNotFound);
  Answers<ListResult> answers;
  client.client.list("", "", 0, Cause::kRead, answers.done());
  const ListResult listed = answers.wait(1).front();
  CHECK(!listed.status.ok());
  CHECK(listed.status.message.find("NoSuchBucket") != std::string::npos);
}

TEST_CASE("a clock that is off by an hour, or a day, is learned from the server" *
          doctest::skip(no_server())) {
  for (const int64_t hours : {-1, 1, -24, 24}) {
    CAPTURE(hours);
    const std::string prefix = new_prefix();
    s3::S3Config config = config_of(prefix);
    const auto wall = config.surroundings.wall_ms;
    config.surroundings.wall_ms = [wall, hours] { return wall() + hours * 3'600'000; };
    Client client(std::move(config));
    const StoreStatus stored = client.put(prefix + "/k", make_body("x"));
    CHECK_MESSAGE(stored.ok(), stored.message);
    CHECK(std::abs(client.client.clock_offset().count() + hours * 3'600'000) < 10'000);
    CHECK(client.remove({prefix + "/k"}).ok());
  }
}

TEST_CASE("a hundred puts of 4 MiB take one thread and a handful of connections" *
          doctest::skip(no_server() || plain_server())) {
  const std::string prefix = new_prefix();
  Client client(config_of(prefix));
  REQUIRE(client.put(prefix + "/first", make_body("x")).ok());
  const size_t threads_before = threads(), connections_before = connections();
  const Body body = make_body(4 << 20, 1);
  std::vector<std::string> keys;
  Answers<StoreStatus> answers;
  std::atomic<size_t> threads_most{0}, connections_most{0};
  for (int i = 0; i < 100; ++i) {
    keys.push_back(prefix + "/" + std::to_string(i));
    client.client.put(keys.back(), body, true, Cause::kFlush,
                      [&, done = answers.done()](StoreStatus status) {
                        threads_most = std::max(threads_most.load(), threads());
                        connections_most = std::max(connections_most.load(), connections());
                        done(std::move(status));
                      });
  }
  for (const StoreStatus& status : answers.wait(keys.size())) {
    CHECK_MESSAGE(status.ok(), status.message);
  }
  CHECK(threads_most <= threads_before);
  CHECK(connections_most <= connections_before + client.client.config().in_flight_max);
  MESSAGE("threads " << threads_most - threads_before + 1 << ", connections "
                     << connections_most.load());
  CHECK(client.get(keys[42]).bytes == *body);
  keys.push_back(prefix + "/first");
  CHECK(client.remove(keys).ok());
}

TEST_CASE("what another client wrote is listed and read" *
          doctest::skip(variable("WP_TEST_S3_FOREIGN").empty())) {
  Client client(config_of(""));
  std::ifstream file(variable("WP_TEST_S3_FOREIGN"));
  std::set<std::string> keys;
  std::string key, body;
  while (file >> key >> body) {
    key = unhex(key);
    keys.insert(key);
    CAPTURE(key);
    const GetResult got = client.get(key);
    CHECK_MESSAGE(got.status.ok(), got.status.message);
    CHECK(view_of(got.bytes) == unhex(body.substr(1)));
  }
  REQUIRE(!keys.empty());
  const std::string prefix = keys.begin()->substr(0, keys.begin()->find('/') + 1);
  const auto listed = client.keys(prefix);
  CHECK(std::vector<std::string>(keys.begin(), keys.end()) == listed);
  CHECK(client.remove(listed).ok());
}

// It leaves its objects there.
TEST_CASE("what another client is to read is written" *
          doctest::skip(variable("WP_TEST_S3_OWN").empty())) {
  const std::string prefix = new_prefix();
  Client client(config_of(prefix));
  std::ofstream file(variable("WP_TEST_S3_OWN"));
  size_t size = 0;
  for (const std::string& key : odd_keys(prefix)) {
    const Body body = make_body(size, size);
    size = size * 2 + 1;
    if (size > 2'000'000) size = 7;
    REQUIRE(client.put(key, body, !plain_server()).ok());
    file << hex(key) << " ." << hex(view_of(*body)) << "\n";
  }
  REQUIRE(file.good());
}

TEST_SUITE_END();

}  // namespace wp::store_test
