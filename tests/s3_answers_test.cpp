// What answers mean: one check for each row of the table, and how often and how many to ask.
#include <doctest/doctest.h>

#include <set>

#include "s3_minimal/answers.h"

namespace wp::s3 {
namespace {

using std::chrono::milliseconds;

struct Row {
  Verb verb;
  int status;
  const char* code;
  Answer answer;
  Heal heal = Heal::kNothing;
  bool slow_down = false;
};

constexpr bool kSlow = true;
constexpr const char* kNone = "(not an S3 answer)";

// In the order of the table; what stands for several verbs or statuses is asked with one of them.
const Row kExpected[] = {
    {Verb::kPut, 403, "RequestTimeTooSkewed", Answer::kDenied, Heal::kClock},
    {Verb::kGet, 403, "RequestExpired", Answer::kDenied, Heal::kClock},
    {Verb::kGet, 400, "RequestTimeTooSkewed", Answer::kDenied, Heal::kClock},

    {Verb::kPut, 400, "ExpiredToken", Answer::kDenied, Heal::kCredentials},
    {Verb::kGet, 400, "ExpiredTokenException", Answer::kDenied, Heal::kCredentials},
    {Verb::kGet, 400, "TokenRefreshRequired", Answer::kDenied, Heal::kCredentials},
    {Verb::kGet, 400, "InvalidToken", Answer::kDenied, Heal::kCredentials},
    {Verb::kGet, 403, "InvalidAccessKeyId", Answer::kDenied, Heal::kCredentials},
    {Verb::kGet, 403, "SignatureDoesNotMatch", Answer::kDenied},

    {Verb::kGet, 400, "AuthorizationHeaderMalformed", Answer::kDenied, Heal::kRegion},
    {Verb::kPut, 400, "IllegalLocationConstraintException", Answer::kDenied, Heal::kRegion},
    {Verb::kGet, 301, "PermanentRedirect", Answer::kInvalid, Heal::kRegion},

    {Verb::kPut, 403, "QuotaExceeded", Answer::kNoSpace},
    {Verb::kPut, 400, "XMinioAdminBucketQuotaExceeded", Answer::kNoSpace},
    {Verb::kPut, 403, "XMinioStorageFull", Answer::kNoSpace},
    {Verb::kPut, 507, "XMinioStorageFull", Answer::kNoSpace},
    {Verb::kPut, 507, "", Answer::kNoSpace},

    {Verb::kPut, 412, "PreconditionFailed", Answer::kExists},
    {Verb::kPut, 409, "FileAlreadyExists", Answer::kExists},
    {Verb::kPut, 409, "ObjectAlreadyExists", Answer::kExists},
    {Verb::kPut, 409, "KeyAlreadyExists", Answer::kExists},
    {Verb::kPut, 409, "ConditionalRequestConflict", Answer::kConflict},

    {Verb::kPut, 503, "SlowDown", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, "ServiceUnavailable", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, "Throttling", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, "ThrottlingException", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, "RequestLimitExceeded", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, "RequestThrottled", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kGet, 503, "SlowDownRead", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, "SlowDownWrite", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, "TooManyRequests", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, "Busy", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 429, "", Answer::kThrottled, Heal::kNothing, kSlow},
    {Verb::kPut, 503, kNone, Answer::kUnknown, Heal::kNothing, kSlow},

    {Verb::kPut, 400, "RequestTimeout", Answer::kUnknown},
    {Verb::kPut, 400, "IncompleteBody", Answer::kUnknown},
    {Verb::kPut, 400, "BadDigest", Answer::kUnknown},
    {Verb::kPut, 400, "XAmzContentSHA256Mismatch", Answer::kUnknown},
    {Verb::kPut, 400, "InvalidDigest", Answer::kUnknown},
    {Verb::kPut, 400, "RequestIsNotMultiPartContent", Answer::kUnknown},
    {Verb::kPut, 408, "", Answer::kUnknown},
    {Verb::kPut, 499, "", Answer::kUnknown},

    {Verb::kList, 404, "NoSuchBucket", Answer::kNotFound},
    {Verb::kList, 404, "NoSuchLifecycleConfiguration", Answer::kNotFound},
    {Verb::kGet, 404, "NoSuchBucket", Answer::kDenied},
    {Verb::kGet, 404, "NoSuchKey", Answer::kNotFound},
    {Verb::kGet, 404, "NoSuchVersion", Answer::kNotFound},
    {Verb::kHead, 404, "", Answer::kNotFound},
    {Verb::kGet, 404, kNone, Answer::kUnknown},
    {Verb::kGet, 404, "NotFound", Answer::kNotFound},
    {Verb::kPut, 404, "NoSuchUpload", Answer::kUnknown},

    {Verb::kGet, 416, "InvalidRange", Answer::kNotFound},

    {Verb::kPut, 501, "NotImplemented", Answer::kUnsupported},
    {Verb::kPut, 405, "MethodNotAllowed", Answer::kUnsupported},
    {Verb::kGet, 403, "InvalidObjectState", Answer::kUnsupported},
    {Verb::kPut, 400, "NotImplemented", Answer::kUnsupported},

    {Verb::kGet, 401, "", Answer::kDenied, Heal::kCredentials},
    {Verb::kPut, 403, "AccessDenied", Answer::kDenied},
    {Verb::kPut, 407, "", Answer::kDenied},
    {Verb::kPut, 400, kNone, Answer::kUnknown},
    {Verb::kGet, 409, "OperationAborted", Answer::kConflict},
    {Verb::kPut, 400, "InvalidArgument", Answer::kInvalid},

    {Verb::kPut, 500, "InternalError", Answer::kUnknown},
    {Verb::kPut, 100, "", Answer::kUnknown},
};

}  // namespace

TEST_CASE("every answer means what the table says, and every row of it is needed") {
  std::set<size_t> used;
  const auto rows = answer_rows();
  for (const Row& row : kExpected) {
    CAPTURE(row.status);
    CAPTURE(row.code);
    const Verdict verdict = judge(row.verb, row.status, row.code);
    CHECK(answer_name(verdict.answer) == answer_name(row.answer));
    CHECK(verdict.heal == row.heal);
    CHECK(verdict.slow_down == row.slow_down);
  }
  CHECK(std::size(kExpected) == rows.size());
  // Row by row: the one that is meant is the one that decides.
  for (size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(i);
    const Row& row = kExpected[i];
    CHECK((rows[i].verb == Verb::kAny || rows[i].verb == row.verb));
    CHECK((rows[i].status == 0 || rows[i].status == row.status ||
           rows[i].status == row.status / 100));
    CHECK((rows[i].code.empty() || rows[i].code == row.code));
    for (size_t earlier = 0; earlier < i; ++earlier) {
      const bool shadowed = (rows[earlier].verb == Verb::kAny || rows[earlier].verb == row.verb) &&
                            (rows[earlier].status == 0 || rows[earlier].status == row.status ||
                             rows[earlier].status == row.status / 100) &&
                            (rows[earlier].code.empty() || rows[earlier].code == row.code);
      CHECK(!shadowed);
    }
  }
}

TEST_CASE("what nobody knows is unknown, by its class") {
  CHECK(judge(Verb::kPut, 599, "Whatever").answer == Answer::kUnknown);
  CHECK(judge(Verb::kPut, 418, "Whatever").answer == Answer::kInvalid);
  CHECK(judge(Verb::kPut, 200, "").answer == Answer::kUnknown);
  CHECK(judge(Verb::kPut, 0, "").answer == Answer::kUnknown);
}

TEST_CASE("pauses grow by doubling to a cap, with full jitter, and start anew after a success") {
  Backoff backoff;
  constexpr uint64_t kMost = 0xffff'ffff'ffff'ffff;
  int64_t ceiling = 0;
  for (int i = 1; i < 20; ++i) {
    ceiling = std::min<int64_t>(Backoff::kCap.count(), Backoff::kFirst.count() << i);
    // The largest random number that gives the ceiling itself.
    const auto random = static_cast<uint64_t>(ceiling);
    CHECK(backoff.failed(backoff.failures(), random, {}) == milliseconds(ceiling));
  }
  CHECK(ceiling == Backoff::kCap.count());
  CHECK(backoff.failed(backoff.failures(), 0, {}) == milliseconds(0));
  CHECK(backoff.failed(backoff.failures(), kMost, {}) <= Backoff::kCap);
  backoff.succeeded();
  CHECK(backoff.failed(backoff.failures(), kMost, {}) <= Backoff::kFirst * 2);
}

TEST_CASE("a burst of requests that fail together counts as one failure") {
  Backoff backoff;
  for (int i = 0; i < 100; ++i) backoff.failed(0, 0, {});
  CHECK(backoff.failures() == 1);
  for (int i = 0; i < 100; ++i) backoff.failed(1, 0, {});
  CHECK(backoff.failures() == 2);
}

TEST_CASE("what a server asks for is a least, within reason") {
  Backoff backoff;
  CHECK(backoff.failed(0, 0, milliseconds(3000)) == milliseconds(3000));
  CHECK(backoff.failed(0, 70, milliseconds(3000)) == milliseconds(3070));
  CHECK(backoff.failed(0, 0, milliseconds(-5)) == milliseconds(0));
  CHECK(backoff.failed(0, 0, std::chrono::hours(24)) == Backoff::kAskedMax);
}

TEST_CASE("the number in flight halves once for each burst of complaints, and grows back") {
  InFlightLimit limit(16);
  CHECK(limit.now() == 16);
  const uint64_t round = limit.round();
  for (int i = 0; i < 16; ++i) limit.throttled(round);
  CHECK(limit.now() == 8);
  for (int i = 0; i < 10; ++i) limit.throttled(limit.round());
  CHECK(limit.now() == 1);
  int successes = 0;
  for (; limit.now() < 16; ++successes) limit.succeeded();
  CHECK(successes > 100);
  CHECK(successes < 200);
  for (int i = 0; i < 100; ++i) limit.succeeded();
  CHECK(limit.now() == 16);
}

}  // namespace wp::s3
