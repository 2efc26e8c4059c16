// What networks and servers do to requests, and what the client makes of it. D-numbers are those of
// the ways to lose data on an object store.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/s3_test.h"

namespace wp {
namespace {

using namespace s3_test;
using s3_stub::refusal;
using std::chrono::milliseconds;
using store_test::Answers;

// Whether a put can have no outcome but these, and what is stored is whole.
void check_settled(Bench& bench, const std::string& key, const Body& body,
                   const StoreStatus& first) {
  const std::string text = text_of(*body);
  const auto stored = bench.server.bucket().object(key);
  if (stored) CHECK(*stored == text);
  if (first.ok()) CHECK(stored.has_value());
  CHECK_MESSAGE((first.ok() || first.answer == Answer::kUnknown || first.answer == Answer::kExists),
                first.message);
  // The caller asks again, with the same body, and then looks. A reset may still come behind an
  // answer that was whole, and meet the next request.
  StoreStatus second = put(bench.client(), key, body);
  if (second.answer == Answer::kUnknown) second = put(bench.client(), key, body);
  CHECK_MESSAGE((second.ok() || second.answer == Answer::kExists), second.message);
  CHECK(get(bench.client(), key).bytes == *body);
}

// An answer of the server's own.
Fault answered(int status, std::vector<std::pair<std::string, std::string>> headers,
               std::string body, std::string method = "") {
  Fault fault;
  fault.method = std::move(method);
  fault.apply = false;
  fault.change = [=](const auto&, auto& answer) { answer = {status, headers, body}; };
  return fault;
}

}  // namespace

TEST_CASE("D14 a request that is reset after any of its bytes leaves all or nothing") {
  Bench bench;
  const Body body = make_body("a body of a few bytes");
  REQUIRE(put(bench.client(), "probe", body).ok());
  const size_t request_bytes = bench.server.log().back().bytes;
  REQUIRE(request_bytes > 400);
  for (size_t k = 0; k < request_bytes; ++k) {
    CAPTURE(k);
    Fault fault;
    fault.request_bytes = k;
    bench.server.script(fault);
    const std::string key = "k/" + std::to_string(k);
    check_settled(bench, key, body, put(bench.client(), key, body));
    bench.server.clear_script();
  }
}

TEST_CASE("D14 an answer that is reset after any of its bytes is never taken for more than it is") {
  Bench bench;
  const Body body = make_body("a body of a few bytes");
  size_t lost = 0;
  for (const End end : {End::kReset, End::kClose}) {
    for (size_t k = 0;; ++k) {
      CAPTURE(k);
      Fault fault;
      fault.method = "PUT";
      fault.answer_bytes = k;
      fault.end = end;
      bench.server.script(fault);
      const std::string key = "k/" + std::to_string(k) + (end == End::kReset ? "r" : "c");
      const StoreStatus status = put(bench.client(), key, body);
      bench.server.clear_script();
      check_settled(bench, key, body, status);
      if (status.answer == Answer::kUnknown) ++lost;
      if (status.ok() && end == End::kClose) break;
      if (end == End::kReset && k == 300) break;
    }
  }
  CHECK(lost > 200);
}

TEST_CASE("D16 a get that is cut after any of its bytes is gone on with") {
  Bench bench;
  const std::string text = text_of(*make_body(100, 5));
  bench.server.bucket().put("k", text);
  for (const End end : {End::kReset, End::kClose}) {
    for (size_t k = 0; k < text.size(); ++k) {
      CAPTURE(k);
      Fault fault;
      fault.method = "GET";
      fault.body_bytes = k;
      fault.end = end;
      bench.server.script(fault);
      const ByteRange range = k % 2 == 0 ? ByteRange{} : ByteRange{10, 60};
      const GetResult result = get(bench.client(), "k", range);
      bench.server.clear_script();
      CHECK_MESSAGE(result.status.ok(), result.status.message);
      CHECK(text_of(result.bytes) == text.substr(range.offset, range.length));
      CHECK(result.object_bytes == text.size());
    }
  }
}

TEST_CASE("D16 a get that is cut goes on where it was, on another connection") {
  Bench bench;
  const std::string text = text_of(*make_body(3 << 20, 5));
  bench.server.bucket().put("k", text);
  for (int i = 0; i < 6; ++i) {
    Fault fault;
    fault.body_bytes = 400'000;
    fault.end = End::kClose;  // a reset may take bytes away that came before it
    bench.server.script(fault);
  }
  CHECK(text_of(get(bench.client(), "k").bytes) == text);
  const auto log = bench.server.log();
  REQUIRE(log.size() == 7);
  for (size_t i = 1; i < log.size(); ++i) {
    CHECK(log[i].connection != log[i - 1].connection);
    CHECK(log[i].header("range") == "bytes=" + std::to_string(i * 400'000) + "-");
  }
  CHECK(bench.sent(Operation::kGet) == 7);
}

TEST_CASE("a get that is cut again and again without progress ends with an error") {
  Bench bench;
  bench.server.bucket().put("k", "text");
  Fault fault;
  fault.body_bytes = 0;
  fault.times = -1;
  bench.server.script(fault);
  CHECK(get(bench.client(), "k").status.answer == Answer::kUnknown);
  CHECK(bench.server.requests() == 4);
}

TEST_CASE("D1 a put whose answer is lost is unknown, and found when it is tried again") {
  Bench bench;
  Fault fault;
  fault.answer_bytes = 0;
  bench.server.script(fault);
  const StoreStatus status = put(bench.client(), "k", make_body("text"));
  CHECK(status.answer == Answer::kUnknown);
  CHECK(bench.server.bucket().object("k") == "text");
  CHECK(put(bench.client(), "k", make_body("text")).answer == Answer::kExists);
  CHECK(bench.sent(Operation::kPut) == 2);
}

TEST_CASE("D3 a put that lands after its retry changes nothing") {
  Bench bench;
  Fault fault;
  fault.late = true;
  bench.server.script(fault);
  CHECK(put(bench.client(), "k", make_body("text")).answer == Answer::kUnknown);
  CHECK(!bench.server.bucket().object("k"));
  CHECK(put(bench.client(), "k", make_body("text")).ok());
  const auto etag = get(bench.client(), "k");
  CHECK(bench.server.do_late() == std::vector<int>{412});
  CHECK(bench.server.bucket().object("k") == "text");
}

TEST_CASE("D4 a server that asks for less is throttling, and its Retry-After is a least") {
  Bench bench;
  bench.server.script(refusal(503, "SlowDown", 3));
  milliseconds last{0};
  for (int i = 0; i < 3; ++i) {
    const StoreStatus status = put(bench.client(), "k", make_body("text"));
    CHECK(status.answer == Answer::kThrottled);
    CHECK(mentions(status, "SlowDown"));
    CHECK(status.retry_after <= milliseconds(100 << i));
    last = status.retry_after;
  }
  CHECK(put(bench.client(), "k", make_body("text")).ok());

  bench.server.script(answered(429, {{"Retry-After", "7"}}, ""));
  const StoreStatus asked = put(bench.client(), "x", make_body("text"));
  CHECK(asked.answer == Answer::kThrottled);
  CHECK(asked.retry_after >= milliseconds(7000));
  CHECK(asked.retry_after <= milliseconds(7100));

  bench.server.script(answered(503, {{"Retry-After", "Tue, 01 Jan 2120 00:00:00 GMT"}}, ""));
  const StoreStatus date = put(bench.client(), "x", make_body("text"));
  CHECK(date.answer == Answer::kUnknown);  // a 503 without S3's words may be a proxy's
  CHECK(date.retry_after >= s3::Backoff::kAskedMax);
  CHECK(date.retry_after <= s3::Backoff::kAskedMax + milliseconds(200));
}

TEST_CASE("D5 a conflict is told as one: nothing landed, try again") {
  Bench bench;
  bench.server.script(refusal(409, "ConditionalRequestConflict"));
  const StoreStatus status = put(bench.client(), "k", make_body("text"));
  CHECK(status.answer == Answer::kConflict);
  CHECK(status.passing());
  CHECK(put(bench.client(), "k", make_body("text")).ok());
}

TEST_CASE("D6 a key that a rival took is told as taken") {
  Bench bench;
  bench.server.bucket().put("k", "the rival's");
  const StoreStatus status = put(bench.client(), "k", make_body("text"));
  CHECK(status.answer == Answer::kExists);
  CHECK(status.message == "put s3://bucket/k: exists");
  CHECK(bench.server.bucket().object("k") == "the rival's");
}

TEST_CASE("D15 a 200 is no success by itself") {
  Bench bench;
  const std::string portal = "<html><body>Please log in</body></html>";
  bench.server.bucket().put("there", "text");
  const char* error = "<Error><Code>InternalError</Code></Error>";
  const std::pair<std::string, std::string> etag{"ETag", "\"x\""};
  for (const Fault& fault :
       {answered(200, {}, ""), answered(200, {{"Content-Type", "text/html"}}, portal),
        answered(200, {etag}, portal), answered(200, {etag}, error), answered(200, {}, error),
        answered(302, {{"Location", "http://portal.example/"}}, portal), answered(407, {}, portal),
        answered(511, {}, portal), answered(204, {}, "")}) {
    for (int round = 0; round < 5; ++round) bench.server.script(fault);
    const StoreStatus status = put(bench.client(), "k", make_body("text"));
    CHECK(!status.ok());
    CHECK(status.answer != Answer::kExists);
    // Whoever asks again waits ever longer meanwhile.
    if (status.passing()) CHECK(bench.meter.count(Operation::kPut, Cause::kFlush).failed > 0);
    CHECK(!list(bench.client()).status.ok());
    if (fault.change != nullptr) bench.server.clear_script();
  }
  CHECK(!bench.server.bucket().object("k"));
  CHECK(put(bench.client(), "k", make_body("text")).ok());
}

TEST_CASE(
    "D15 a get that is answered by somebody else is not taken for the object, or its absence") {
  Bench bench;
  bench.server.bucket().put("k", "text");
  const std::string portal = "<html><body>Please log in</body></html>";
  struct Row {
    Fault fault;
    Answer expected;
  };
  for (Row row :
       {Row{answered(200, {}, portal), Answer::kCorrupt},
        Row{answered(404, {}, portal), Answer::kUnknown},
        Row{answered(404, {}, ""), Answer::kUnknown},
        Row{answered(404, {}, "<Error><Code>NoSuchBucket</Code></Error>"), Answer::kDenied},
        Row{answered(400, {}, portal), Answer::kUnknown},
        Row{answered(403, {}, portal), Answer::kDenied}}) {
    row.fault.times = -1;
    bench.server.script(row.fault);
    const GetResult result = get(bench.client(), "k");
    CHECK_MESSAGE(result.status.answer == row.expected, result.status.message);
    CHECK(result.bytes.empty());
    bench.server.clear_script();
  }
}

TEST_CASE("D16 an answer that contradicts itself, or what was asked, is not believed") {
  Bench bench;
  bench.server.bucket().put("k", "0123456789");
  const auto changed = [&](std::function<void(s3_stub::Answer&)> change) {
    Fault fault;
    fault.times = -1;
    fault.change = [change = std::move(change)](const auto&, auto& answer) { change(answer); };
    bench.server.script(fault);
    const GetResult result = get(bench.client(), "k", {2, 3});
    bench.server.clear_script();
    CHECK(bench.server.requests() == 4);  // asked again, in vain
    bench.server.forget_log();
    return result.status;
  };
  const auto range = [&](const char* value) {
    return changed([value](auto& answer) { answer.set("Content-Range", value); });
  };
  for (const char* value : {"bytes 3-5/10", "bytes 2-5/10", "bytes 2-3/10", "bytes 4-2/10",
                            "bytes 2-4/3", "bytes 2-4/*", "bytes */10", "nonsense", ""}) {
    CAPTURE(value);
    CHECK(range(value).answer == Answer::kCorrupt);
  }
  CHECK(changed([](auto& answer) { answer.body = "23"; }).answer == Answer::kCorrupt);
  CHECK(changed([](auto& answer) { answer.body = "2345"; }).answer == Answer::kCorrupt);
  CHECK(changed([](auto& answer) {
          std::erase_if(answer.headers, [](const auto& header) { return header.first == "ETag"; });
        }).answer == Answer::kCorrupt);
  // A body that ends where the connection ends could be cut unseen.
  CHECK(changed([](auto& answer) {
          answer = {200, {{"ETag", "\"x\""}}, "012"};
          answer.without_length = true;
        }).answer == Answer::kCorrupt);
}

TEST_CASE("D16 a range inside an object that is refused as behind its end is not believed") {
  Bench bench;
  bench.server.bucket().put("k", "0123456789");
  const auto refused = [&](const char* total) {
    Fault fault = answered(416, {{"Content-Range", total}}, "");
    bench.server.script(fault);
    return get(bench.client(), "k", {2, 3});
  };
  const GetResult inside = refused("bytes */10");
  CHECK(inside.status.answer == Answer::kCorrupt);
  CHECK(mentions(inside.status, "a range inside the object was refused"));
  const GetResult behind = refused("bytes */2");
  CHECK(behind.status.ok());
  CHECK(behind.bytes.empty());
  CHECK(behind.object_bytes == 2);
}

TEST_CASE("D16 an answer that is wrong once is asked for again") {
  Bench bench;
  bench.server.bucket().put("k", "0123456789");
  Fault fault;
  fault.change = [](const auto&, auto& answer) { answer.set("Content-Range", "bytes 0-2/10"); };
  bench.server.script(fault);
  CHECK(text_of(get(bench.client(), "k", {2, 3}).bytes) == "234");
}

TEST_CASE("D17 an object that changes while it is read is read from the beginning") {
  Bench bench;
  const std::string first(1000, 'a'), second(1000, 'b');
  bench.server.bucket().put("k", first);
  Fault fault;
  fault.body_bytes = 500;
  bench.server.script(fault);
  Fault change;
  change.apply = false;
  change.change = [&](const auto& request, auto& answer) {
    bench.server.bucket().put("k", second);
    answer = bench.server.bucket().handle(request);
  };
  bench.server.script(change);
  CHECK(text_of(get(bench.client(), "k").bytes) == second);
}

TEST_CASE("a server that ignores ranges is understood as long as the object is not too large") {
  Bench bench;
  bench.server.bucket().put("k", "0123456789");
  Fault fault;
  fault.times = -1;
  fault.change = [](const auto&, auto& answer) {
    answer = {200, {{"ETag", "\"x\""}}, "0123456789"};
  };
  bench.server.script(fault);
  CHECK(text_of(get(bench.client(), "k", {2, UINT64_MAX}).bytes) == "23456789");
  CHECK(text_of(get(bench.client(), "k", {0, 10}).bytes) == "0123456789");
  CHECK(text_of(get(bench.client(), "k", {5, 100}).bytes) == "56789");
  CHECK(get(bench.client(), "k", {2, 3}).status.answer == Answer::kCorrupt);
}

TEST_CASE("an answer in chunks, with headers in odd case, is read like any other") {
  Bench bench;
  const std::string text = text_of(*make_body(10'000, 5));
  Fault odd;
  odd.times = -1;
  odd.change = [](const auto&, auto& answer) {
    answer.odd_case = true;
    answer.chunked = !answer.head_only;
  };
  bench.server.script(odd);
  CHECK(put(bench.client(), "k", make_body(10'000, 5)).ok());
  CHECK(put(bench.client(), "k", make_body(10'000, 5)).answer == Answer::kExists);
  CHECK(text_of(get(bench.client(), "k").bytes) == text);
  CHECK(text_of(get(bench.client(), "k", {5000, 100}).bytes) == text.substr(5000, 100));
  CHECK(get(bench.client(), "none").status.answer == Answer::kNotFound);
  CHECK(head(bench.client(), "k").object_bytes == 10'000);
  CHECK(list(bench.client()).objects.size() == 1);
  CHECK(remove(bench.client(), {"k", "none"}).ok());
  CHECK(bench.server.bucket().keys().empty());
}

TEST_CASE("D16 an answer in chunks that is cut is asked for again") {
  Bench bench;
  const std::string text = text_of(*make_body(10'000, 5));
  bench.server.bucket().put("k", text);
  Fault cut;
  cut.body_bytes = 5000;
  cut.end = End::kClose;
  cut.change = [](const auto&, auto& answer) { answer.chunked = true; };
  bench.server.script(cut);
  CHECK(text_of(get(bench.client(), "k").bytes) == text);
  bench.server.script(cut);
  CHECK(text_of(get(bench.client(), "k", {100, 9000}).bytes) == text.substr(100, 9000));
}

TEST_CASE("a list that is cut, or is none, is unknown") {
  Bench bench;
  for (int i = 0; i < 10; ++i) bench.server.bucket().put("k" + std::to_string(i), "x");
  Fault cut;
  cut.body_bytes = 300;
  cut.end = End::kClose;
  bench.server.script(cut);
  CHECK(list(bench.client()).status.answer == Answer::kUnknown);
  cut.change = [](const auto&, auto& answer) { answer.without_length = true; };
  bench.server.script(cut);
  const ListResult result = list(bench.client());
  CHECK(result.status.answer == Answer::kUnknown);
  CHECK(result.objects.empty());
}

TEST_CASE("a list out of order, or that would never end, is not believed") {
  Bench bench;
  const auto listed = [&](std::string contents, bool more) {
    bench.server.script(answered(200, {},
                                 "<ListBucketResult><IsTruncated>" +
                                     std::string(more ? "true" : "false") + "</IsTruncated>" +
                                     contents + "</ListBucketResult>"));
    return list(bench.client(), "k", "k2").status;
  };
  const auto key = [](const char* name) {
    return "<Contents><Key>" + std::string(name) + "</Key><Size>1</Size></Contents>";
  };
  CHECK(listed(key("k3") + key("k4"), true).ok());
  CHECK(listed(key("k4") + key("k3"), false).answer == Answer::kCorrupt);
  CHECK(listed(key("k3") + key("k3"), false).answer == Answer::kCorrupt);
  CHECK(listed(key("k2"), false).answer == Answer::kCorrupt);
  CHECK(listed(key("other"), false).answer == Answer::kCorrupt);
  CHECK(listed("", true).answer == Answer::kCorrupt);
}

TEST_CASE("D9 a clock that is off is learned from the server, and told once") {
  for (const int64_t hours : {-24, -1, 1, 24}) {
    for (const bool by_head : {false, true}) {  // which is refused without words
      CAPTURE(hours);
      CAPTURE(by_head);
      Bench bench;
      Messages messages;
      bench.config.on_message = messages.listener();
      bench.server.set([&](auto& settings) { settings.clock_ahead_ms = hours * 3'600'000; });
      bench.server.bucket().put("k", "text");
      if (by_head) {
        CHECK(head(bench.client(), "k").status.ok());
      } else {
        CHECK(put(bench.client(), "x", make_body("text")).ok());
      }
      CHECK(bench.server.requests() == 2);
      CHECK(std::abs(bench.client().clock_offset().count() - hours * 3'600'000) < 60'000);
      CHECK(get(bench.client(), "k").status.ok());
      CHECK(bench.server.requests() == 3);
      CHECK(messages.all().size() == 1);
      CHECK(messages.mention("set the clock"));
      // Both tries of the first request are paid for.
      CHECK(bench.meter.requests() == 3);
    }
  }
}

TEST_CASE("D9 a clock that is set right later is learned as well") {
  Bench bench;
  World world;
  world.advance(std::chrono::hours(5));
  bench.config.surroundings = world.surroundings();
  CHECK(put(bench.client(), "a", make_body("text")).ok());
  CHECK(bench.server.requests() == 2);
  world.advance(-std::chrono::hours(5));
  CHECK(put(bench.client(), "b", make_body("text")).ok());
  CHECK(bench.server.requests() == 4);
}

TEST_CASE("D9 a clock that cannot be learned is a refusal that says what to do") {
  Bench bench;
  bench.server.script(refusal(403, "RequestTimeTooSkewed"));
  const StoreStatus status = put(bench.client(), "k", make_body("text"));
  CHECK(status.answer == Answer::kDenied);
  CHECK(mentions(status, "set this machine's clock"));
}

TEST_CASE("D11 a bucket in another region is signed for as the server says, once and for all") {
  Bench bench;
  bench.server.set([](auto& settings) { settings.region = "eu-west-1"; });
  CHECK(put(bench.client(), "a", make_body("text")).ok());
  CHECK(bench.server.requests() == 2);
  CHECK(put(bench.client(), "b", make_body("text")).ok());
  CHECK(get(bench.client(), "b").status.ok());
  CHECK(bench.server.requests() == 4);
  CHECK(bench.meter.requests() == 4);
}

TEST_CASE("D11 a HEAD to the wrong region, which is refused without words, finds the right one") {
  Bench bench;
  bench.server.set([](auto& settings) { settings.region = "eu-west-1"; });
  bench.server.bucket().put("k", "text");
  const GetResult result = head(bench.client(), "k");
  CHECK_MESSAGE(result.status.ok(), result.status.message);
  CHECK(result.object_bytes == 4);
}

TEST_CASE("D11 a permanent redirect is followed with a new signature, by all at once") {
  Bench bench;
  Server elsewhere;
  elsewhere.set([](auto& settings) { settings.region = "eu-west-1"; });
  Fault moved = answered(301, {{"x-amz-bucket-region", "eu-west-1"}},
                         "<Error><Code>PermanentRedirect</Code><Endpoint>127.0.0.1:" +
                             std::to_string(elsewhere.port()) + "</Endpoint></Error>");
  moved.times = -1;
  moved.hold = true;
  bench.server.script(moved);
  Answers<StoreStatus> puts;
  for (int i = 0; i < 5; ++i) {
    bench.client().put("k" + std::to_string(i), make_body("text"), true, Cause::kFlush,
                       puts.done());
  }
  bench.server.wait_held(5);
  bench.server.release();
  for (const StoreStatus& status : puts.wait(5)) CHECK_MESSAGE(status.ok(), status.message);
  CHECK(elsewhere.bucket().keys().size() == 5);
  CHECK(put(bench.client(), "later", make_body("text")).ok());
  CHECK(bench.server.requests() == 5);
}

TEST_CASE("D11 a temporary redirect holds for one request, with its whole body") {
  Bench bench;
  Server elsewhere;
  bench.server.script(answered(307, {{"Location", elsewhere.endpoint() + "/bucket/k"}},
                               "<Error><Code>TemporaryRedirect</Code></Error>"));
  CHECK(put(bench.client(), "k", make_body(100'000, 1)).ok());
  CHECK(elsewhere.bucket().object("k") == text_of(*make_body(100'000, 1)));
  CHECK(put(bench.client(), "k", make_body("text")).ok());
  CHECK(bench.server.bucket().object("k") == "text");
}

TEST_CASE("D11 redirects that go round in circles, or to strangers, end") {
  Bench bench;
  size_t hops = 1;
  SUBCASE("in circles") {
    Server other;
    Fault there = answered(307, {{"Location", other.endpoint() + "/bucket/k"}}, "");
    Fault back = answered(307, {{"Location", bench.server.endpoint() + "/bucket/k"}}, "");
    there.times = back.times = -1;
    bench.server.script(there);
    other.script(back);
    const StoreStatus status = put(bench.client(), "k", make_body("text"));
    CHECK(status.answer == Answer::kInvalid);
    CHECK(bench.server.requests() + other.requests() == 4);
    return;
  }
  std::string location;
  SUBCASE("to itself") {
    location = bench.server.endpoint() + "/bucket/k";
  }
  SUBCASE("to another domain") {
    location = "http://stranger.example/bucket/k";
  }
  SUBCASE("to an address") {
    location = "http://10.0.0.1/bucket/k";
  }
  SUBCASE("to what looks like the host") {
    location = "http://127.0.0.1.stranger.example/bucket/k";
  }
  SUBCASE("with credentials in it") {
    location = "http://user@127.0.0.1:9/bucket/k";
  }
  SUBCASE("to nowhere") {
    location = "/bucket/k";
  }
  bench.server.script(answered(301, {{"Location", location}}, ""));
  const StoreStatus status = put(bench.client(), "k", make_body("text"));
  CHECK(status.answer == Answer::kInvalid);
  CHECK(bench.server.requests() == hops);
  CHECK(bench.server.bucket().keys().empty());
}

TEST_CASE("D11 a redirect to the bucket's own name is followed in that style") {
  Bench bench;
  bench.config.endpoint = *s3::parse_url(bench.server.endpoint("localhost"));
  const std::string named = bench.server.endpoint("bucket.localhost");
  bench.server.script(answered(301, {{"Location", named + "/k"}}, ""));
  CHECK(put(bench.client(), "k", make_body("text")).ok());
  CHECK(put(bench.client(), "l", make_body("text")).ok());  // for ever
  CHECK(bench.server.bucket().keys() == std::vector<std::string>{"k", "l"});
  const auto log = bench.server.log();
  REQUIRE(log.size() == 3);
  CHECK(log[0].target == "/bucket/k");
  CHECK(log[1].target == "/k");
  CHECK(log[1].header("host").starts_with("bucket.localhost:"));
  CHECK(log[2].target == "/l");
}

TEST_CASE("D12 a connection that the server closed while it was idle costs nothing") {
  Bench bench;
  CHECK(put(bench.client(), "a", make_body("text")).ok());
  for (int i = 0; i < 5; ++i) {
    bench.server.close_idle();
    const StoreStatus status = put(bench.client(), std::to_string(i), make_body("text"));
    CHECK_MESSAGE(status.ok(), status.message);
  }
  Fault silent;
  silent.times = -1;
  silent.change = [](const auto&, auto& answer) { answer.close_after = true; };
  bench.server.script(silent);
  for (int i = 0; i < 5; ++i) {
    const StoreStatus status = put(bench.client(), "s" + std::to_string(i), make_body("text"));
    CHECK_MESSAGE((status.ok() || status.answer == Answer::kUnknown), status.message);
    CHECK(get(bench.client(), "s" + std::to_string(i)).status.ok() == status.ok());
  }
}

TEST_CASE("D12 S3's own timeout of a request is unknown, not a mistake") {
  Bench bench;
  bench.server.script(refusal(400, "RequestTimeout"));
  CHECK(put(bench.client(), "k", make_body("text")).answer == Answer::kUnknown);
}

TEST_CASE("an error that comes before the body was sent is understood") {
  // The server answers and closes without reading on.
  Bench bench;
  Fault early = refusal(503, "SlowDown");
  early.end = End::kClose;
  early.answer_bytes = 10'000;
  bench.server.script(early);
  CHECK(put(bench.client(), "k", make_body(1 << 20, 1)).answer == Answer::kThrottled);
}

TEST_CASE("a delete of many that fails in part says so") {
  Bench bench;
  bench.server.bucket().put("a", "x");
  bench.server.set([](auto& settings) { settings.deletes = false; });
  CHECK(remove(bench.client(), {"a", "b"}).answer == Answer::kDenied);
  CHECK(remove(bench.client(), {"a"}).answer == Answer::kDenied);
}

TEST_CASE("an error within the answer to a delete of many is told as it would be alone") {
  struct Row {
    const char* code;
    Answer answer;
  };
  for (const Row& row : {Row{"AccessDenied", Answer::kDenied}, Row{"SlowDown", Answer::kThrottled},
                         Row{"ServiceUnavailable", Answer::kThrottled},
                         Row{"NoSuchKey", Answer::kOk}, Row{"InternalError", Answer::kUnknown}}) {
    CAPTURE(std::string(row.code));
    Bench bench;
    bench.server.script(answered(200, {},
                                 std::string("<DeleteResult><Error><Key>a</Key><Code>") + row.code +
                                     "</Code></Error></DeleteResult>",
                                 "POST"));
    const StoreStatus status = remove(bench.client(), {"a", "b"});
    CHECK(answer_name(status.answer) == answer_name(row.answer));
  }
}

TEST_CASE("a store without deletes of many is asked one by one, from then on") {
  Bench bench;
  for (const char* key : {"a", "b", "c", "d"}) bench.server.bucket().put(key, "x");
  bench.server.set([](auto& settings) { settings.batch_delete = false; });
  CHECK(remove(bench.client(), {"a", "b"}).ok());
  CHECK(remove(bench.client(), {"c", "d"}).ok());
  CHECK(bench.server.bucket().keys().empty());
  CHECK(bench.server.requests("POST") == 1);
  CHECK(bench.server.requests("DELETE") == 4);
}

TEST_CASE("a delete of many that is answered by somebody else is unknown") {
  Bench bench;
  bench.server.script(answered(200, {}, "<html></html>", "POST"));
  CHECK(remove(bench.client(), {"a", "b"}).answer == Answer::kUnknown);
  bench.server.script(answered(200, {}, "<Error><Code>InternalError</Code></Error>", "POST"));
  CHECK(remove(bench.client(), {"a", "b"}).answer == Answer::kUnknown);
}

TEST_CASE("what a proxy or a lifecycle rule says is passed on with what to do about it") {
  Bench bench;
  bench.server.bucket().put("k", "text");
  bench.server.script(refusal(403, "InvalidObjectState"));
  const StoreStatus archived = get(bench.client(), "k").status;
  CHECK(archived.answer == Answer::kUnsupported);
  CHECK(mentions(archived, "lifecycle rule"));
  bench.server.script(refusal(404, "NoSuchBucket"));
  const StoreStatus gone = put(bench.client(), "x", make_body("text"));
  CHECK(gone.answer == Answer::kDenied);
  CHECK(mentions(gone, "create the bucket"));
}

}  // namespace wp
