// The transport: one thread, few connections, a deadline for everything, and TLS that is verified.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "tests/s3_test.h"

namespace wp {
namespace {

using namespace s3_test;
using s3_stub::refusal;
using std::chrono::milliseconds;
using std::chrono::seconds;
using store_test::Answers;
using Clock = std::chrono::steady_clock;

size_t process_threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

Fault held(int times = -1, std::string part = "") {
  Fault fault;
  fault.hold = true;
  fault.times = times;
  fault.part = std::move(part);
  return fault;
}

// A port that takes no connection: its queue is full, so that what comes waits without an answer.
class FullPort {
 public:
  FullPort() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(bind(listener_, generic, length) == 0);
    REQUIRE(listen(listener_, 0) == 0);
    REQUIRE(getsockname(listener_, generic, &length) == 0);
    port_ = ntohs(address.sin_port);
    for (int& fd : waiting_) {
      fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      connect(fd, generic, length);
    }
  }
  ~FullPort() {
    for (const int fd : waiting_) close(fd);
    close(listener_);
  }
  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  int listener_;
  uint16_t port_ = 0;
  int waiting_[4] = {};
};

void set_endpoint(Bench& bench, const std::string& endpoint) {
  bench.config.endpoint = *s3::parse_url(endpoint);
}

}  // namespace

TEST_CASE("a hundred puts of 4 MiB at once take one thread and a handful of connections") {
  Bench bench;
  bench.server.set([](auto& settings) { settings.keep_bodies = false; });
  const size_t threads_before = process_threads() - bench.server.threads();
  bench.server.script(held());
  const Body body = make_body(4 << 20, 1);
  Answers<StoreStatus> puts;
  for (int i = 0; i < 100; ++i) {
    bench.client().put("k" + std::to_string(i), body, true, Cause::kFlush, puts.done());
  }
  bench.server.wait_held(bench.config.in_flight_max);
  CHECK(process_threads() - bench.server.threads() <= threads_before + 1);
  bench.server.release();
  for (const StoreStatus& status : puts.wait(100)) CHECK_MESSAGE(status.ok(), status.message);
  CHECK(bench.server.held_most() <= bench.config.in_flight_max);
  CHECK(bench.server.connections() <= bench.config.in_flight_max);
  CHECK(bench.server.bucket().keys().size() == 100);
  // The bodies were shared, not copied, and nobody holds on to them.
  bench.client().shutdown();
  CHECK(body.use_count() == 1);
}

TEST_CASE("nothing is started before there is something to ask") {
  const size_t threads = process_threads();
  Meter meter;
  s3::S3Config config;
  config.bucket = "bucket";
  config.endpoint = *s3::parse_url("http://127.0.0.1:9");
  config.surroundings = World().surroundings();
  const s3::S3Client client(config, meter);
  CHECK(process_threads() == threads);
}

TEST_CASE("the number in flight shrinks when the server complains, and a burst counts once") {
  Bench bench;
  Fault slow = refusal(503, "SlowDown", 16);
  slow.hold = true;
  bench.server.script(slow);
  Answers<StoreStatus> first, second;
  for (int i = 0; i < 16; ++i) {
    bench.client().put("a" + std::to_string(i), make_body("x"), true, Cause::kFlush, first.done());
  }
  bench.server.wait_held(16);
  bench.server.release();
  for (const StoreStatus& status : first.wait(16)) CHECK(status.answer == Answer::kThrottled);

  bench.server.hold_again();
  bench.server.script(held());
  for (int i = 0; i < 100; ++i) {
    bench.client().put("b" + std::to_string(i), make_body("x"), true, Cause::kFlush, second.done());
  }
  bench.server.wait_held(8);
  CHECK(bench.server.held_most() == 8);
  bench.server.release();
  for (const StoreStatus& status : second.wait(100)) CHECK_MESSAGE(status.ok(), status.message);
  CHECK(bench.server.connections() == 16);
}

TEST_CASE("D13 a server that takes a request and never answers is given up in time") {
  Bench bench;
  bench.config.deadlines.first_byte = milliseconds(150);
  bench.server.script(held());
  const auto begin = Clock::now();
  const StoreStatus status = put(bench.client(), "k", make_body("x"));
  CHECK(status.answer == Answer::kUnknown);
  CHECK(mentions(status, "no answer began in time"));
  CHECK(Clock::now() - begin >= milliseconds(150));
  CHECK(get(bench.client(), "k").status.answer == Answer::kUnknown);
  CHECK(list(bench.client()).status.answer == Answer::kUnknown);
  CHECK(remove(bench.client(), {"k"}).answer == Answer::kUnknown);
  CHECK(Clock::now() - begin < seconds(10));
}

TEST_CASE("D13 an answer that stands still is given up, and a get goes on elsewhere") {
  Bench bench;
  bench.config.deadlines.stall = milliseconds(150);
  const std::string text = text_of(*make_body(5000, 1));
  bench.server.bucket().put("k", text);
  Fault hang;
  hang.body_bytes = 1000;
  hang.end = End::kHang;
  bench.server.script(hang);
  CHECK(text_of(get(bench.client(), "k").bytes) == text);
  CHECK(bench.server.log().back().header("range") == "bytes=1000-");

  hang.body_bytes.reset();
  hang.answer_bytes = 30;
  bench.server.script(hang);
  const StoreStatus status = put(bench.client(), "p", make_body("x"));
  CHECK(status.answer == Answer::kUnknown);
  CHECK(mentions(status, "nothing moved any more"));
}

TEST_CASE("D13 a server that stops reading is given up") {
  Bench bench;
  bench.config.deadlines.stall = milliseconds(150);
  bench.config.deadlines.bytes_per_second = 100'000'000;
  Fault stop;
  stop.request_bytes = 1000;
  stop.end = End::kHang;
  bench.server.script(stop);
  const StoreStatus status = put(bench.client(), "k", make_body(32 << 20, 1));
  CHECK(status.answer == Answer::kUnknown);
  CHECK(mentions(status, "nothing moved any more"));
}

TEST_CASE("D13 an answer that trickles without end is given up as a whole") {
  Bench bench;
  bench.config.deadlines.total = milliseconds(200);
  Fault slow;
  slow.trickle = milliseconds(5);
  bench.server.script(slow);
  const StoreStatus status = put(bench.client(), "k", make_body("x"));
  CHECK(status.answer == Answer::kUnknown);
  CHECK(mentions(status, "too long as a whole"));
}

TEST_CASE("a name, a port or a network that is not there is unknown, and says what to check") {
  Bench bench;
  bench.config.deadlines.connect = milliseconds(200);
  const auto begin = Clock::now();
  SUBCASE("nobody listens") {
    {
      Server gone;
      set_endpoint(bench, gone.endpoint());
    }
    const StoreStatus status = put(bench.client(), "k", make_body("x"));
    CHECK(status.answer == Answer::kUnknown);
    CHECK(mentions(status, "check the endpoint"));
    CHECK(bench.meter.requests() == 0);  // nothing was sent, so nothing is paid
  }
  SUBCASE("nobody answers") {
    const FullPort full;
    set_endpoint(bench, full.endpoint());
    CHECK(put(bench.client(), "k", make_body("x")).answer == Answer::kUnknown);
    CHECK(bench.meter.requests() == 0);
  }
  SUBCASE("no such name") {
    set_endpoint(bench, "http://none.invalid");
    CHECK(put(bench.client(), "k", make_body("x")).answer == Answer::kUnknown);
  }
  CHECK(Clock::now() - begin < seconds(5));
}

TEST_CASE("D12 connections are kept, and given up before they grow old") {
  Bench bench;
  bench.config.deadlines.idle = seconds(0);
  for (int i = 0; i < 10; ++i) {
    CHECK(put(bench.client(), std::to_string(i), make_body("x")).ok());
  }
  CHECK(bench.server.connections() == 1);
  // libcurl counts whole seconds by its own clock.
  std::this_thread::sleep_for(milliseconds(1100));
  CHECK(put(bench.client(), "later", make_body("x")).ok());
  CHECK(bench.server.connections() == 2);
}

TEST_CASE("requests carry what is signed, and nothing that S3 or a proxy could stumble over") {
  Bench bench;
  CHECK(put(bench.client(), "k", make_body("text")).ok());
  CHECK(get(bench.client(), "k", {1, 2}).status.ok());
  CHECK(remove(bench.client(), {"k", "l"}).ok());
  for (const s3_stub::Request& request : bench.server.log()) {
    for (const char* name : {"expect", "transfer-encoding", "accept-encoding"}) {
      CHECK(request.header(name).empty());
    }
    CHECK(!request.header("x-amz-content-sha256").empty());
  }
  CHECK(bench.server.log()[0].header("if-none-match") == "*");
  CHECK(bench.server.log()[0].header("content-length") == "4");
  CHECK(bench.server.log()[1].header("range") == "bytes=1-2");
}

TEST_CASE("whoever observes a client sees each answer as it came") {
  Bench bench;
  Mutex mutex;
  std::vector<int> seen;
  bench.client().set_observer([&](const s3::HttpAnswer& answer) {
    MutexLock lock(mutex);
    seen.push_back(answer.status);
  });
  CHECK(get(bench.client(), "k").status.answer == Answer::kNotFound);
  CHECK(put(bench.client(), "k", make_body("text")).ok());
  CHECK(put(bench.client(), "k", make_body("text")).answer == Answer::kExists);
  bench.client().set_observer(nullptr);
  CHECK(get(bench.client(), "k").status.ok());
  MutexLock lock(mutex);
  CHECK(seen == std::vector<int>{404, 200, 412});
}

TEST_CASE("keys of every kind are stored, listed, read and deleted as they are") {
  Bench bench;
  std::vector<std::string> keys = {"a b",
                                   "a+b",
                                   "a=b&c",
                                   "a%20b",
                                   "%",
                                   "a//b",
                                   "//",
                                   "a/../b",
                                   "../a",
                                   ".",
                                   "..",
                                   "./a/.",
                                   "a/",
                                   "?x=y#z",
                                   "\"'<>&",
                                   "\xc3\xa4",
                                   "\xe2\x82\xac",
                                   "\xff\xfe",
                                   "a\nb",
                                   "~!@$^*()",
                                   "back\\sl",
                                   "\x01\x7f",
                                   std::string(1000, 'k')};
  std::sort(keys.begin(), keys.end());
  SUBCASE("in the path") {}
  SUBCASE("with the bucket in the host") {
    set_endpoint(bench, bench.server.endpoint("localhost"));
    bench.config.path_style = false;
  }
  SUBCASE("where keys are listed as XML") {
    bench.server.set([](auto& settings) { settings.url_encoding = false; });
    std::erase_if(keys, [](const std::string& key) {  // XML has no words for these
      return key == "\xff\xfe" || key == "\x01\x7f";
    });
  }
  for (const std::string& key : keys) {
    CAPTURE(key);
    const StoreStatus status = put(bench.client(), key, make_body(key));
    CHECK_MESSAGE(status.ok(), status.message);
    CHECK(text_of(get(bench.client(), key).bytes) == key);
    CHECK(head(bench.client(), key).object_bytes == key.size());
  }
  CHECK(bench.server.bucket().keys() == keys);
  std::vector<std::string> listed;
  for (std::string after;;) {
    const ListResult page = list(bench.client(), "", after, 5);
    REQUIRE_MESSAGE(page.status.ok(), page.status.message);
    for (const ListedObject& object : page.objects) listed.push_back(object.key);
    if (!page.more) break;
    after = listed.back();
  }
  CHECK(listed == keys);
  CHECK(remove(bench.client(), keys).ok());
  CHECK(bench.server.bucket().keys().empty());
}

TEST_CASE("2,500 keys are listed completely, and deleted in batches") {
  Bench bench;
  std::vector<std::string> keys;
  for (int i = 0; i < 2500; ++i) {
    keys.push_back("k/" + std::to_string(10'000 + i));
    bench.server.bucket().put(keys.back(), "x");
  }
  std::vector<std::string> listed;
  for (std::string after;;) {
    const ListResult page = list(bench.client(), "k/", after);
    REQUIRE(page.status.ok());
    for (const ListedObject& object : page.objects) listed.push_back(object.key);
    if (!page.more) break;
    after = listed.back();
  }
  CHECK(listed == keys);
  CHECK(bench.server.requests() == 3);
  CHECK(remove(bench.client(), keys).ok());
  CHECK(bench.server.requests("POST") == 10);
  CHECK(bench.server.bucket().keys().empty());
}

TEST_CASE("a server whose certificate nobody vouches for is refused, and works with its CA") {
  Bench bench(Server::Tls::kOn);
  CHECK(put(bench.client(), "k", make_body("text")).ok());
  CHECK(put(bench.client(), "k", make_body("text")).answer == Answer::kExists);
  CHECK(text_of(get(bench.client(), "k").bytes) == "text");
  CHECK(list(bench.client()).objects.size() == 1);
  CHECK(bench.server.connections() == 1);
  const size_t requests = bench.server.requests();

  bench.new_client();
  bench.config.ca_file.clear();
  const StoreStatus status = put(bench.client(), "x", make_body("text"));
  CHECK(status.answer == Answer::kDenied);
  CHECK(mentions(status, "certificate"));
  CHECK(mentions(status, "option ca"));
  bench.new_client();
  bench.config.ca_file = "/none/such.pem";
  CHECK(put(bench.client(), "x", make_body("text")).answer == Answer::kDenied);
  CHECK(bench.server.requests() == requests);
}

TEST_CASE("a certificate of another name is refused") {
  Bench bench(Server::Tls::kOn);
  set_endpoint(bench, bench.server.endpoint("other.localhost"));
  CHECK(put(bench.client(), "k", make_body("text")).answer == Answer::kDenied);
  CHECK(bench.server.requests() == 0);
}

TEST_CASE("over TLS bodies may go unhashed") {
  Bench bench(Server::Tls::kOn);
  bench.config.unsigned_payload = true;
  CHECK(put(bench.client(), "k", make_body("text")).ok());
  CHECK(bench.server.log()[0].header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD");
  CHECK(remove(bench.client(), {"k", "l"}).ok());
}

TEST_CASE("D14 TLS connections that break leave all or nothing as well") {
  Bench bench(Server::Tls::kOn);
  for (const size_t k : {0u, 1u, 100u, 500u, 700u}) {
    for (const End end : {End::kReset, End::kClose}) {
      Fault fault;
      fault.request_bytes = k;
      fault.end = end;
      bench.server.script(fault);
      const std::string key = std::to_string(k) + (end == End::kReset ? "r" : "c");
      const StoreStatus status = put(bench.client(), key, make_body(5000, 1));
      CHECK_MESSAGE((status.ok() || status.answer == Answer::kUnknown), status.message);
      CHECK(put(bench.client(), key, make_body(5000, 1)).ok() != status.ok());
    }
  }
  bench.server.bucket().put("k", "0123456789");
  Fault cut;
  cut.body_bytes = 5;
  cut.end = End::kClose;
  bench.server.script(cut);
  CHECK(text_of(get(bench.client(), "k").bytes) == "0123456789");
}

TEST_CASE("a proxy of the environment is used") {
  Bench bench;
  setenv("http_proxy", bench.server.endpoint().c_str(), 1);
  set_endpoint(bench, "http://store.invalid");
  CHECK(put(bench.client(), "k", make_body("text")).ok());
  CHECK(bench.server.log()[0].header("host") == "store.invalid");
  bench.client().shutdown();
  unsetenv("http_proxy");
}

}  // namespace wp
