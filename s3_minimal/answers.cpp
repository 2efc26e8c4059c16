#include "s3_minimal/answers.h"

#include <algorithm>

namespace wp::s3 {
namespace {

constexpr Verdict is(Answer answer, Heal heal = Heal::kNothing) {
  return {answer, heal, false};
}
constexpr Verdict slow(Answer answer) {
  return {answer, Heal::kNothing, true};
}

constexpr Verb kAny = Verb::kAny, kPut = Verb::kPut, kGet = Verb::kGet, kHead = Verb::kHead,
               kList = Verb::kList;

constexpr AnswerRow kRows[] = {
    // The clock.
    {kAny, 403, "RequestTimeTooSkewed", is(Answer::kDenied, Heal::kClock)},
    {kAny, 403, "RequestExpired", is(Answer::kDenied, Heal::kClock)},
    {kAny, 400, "RequestTimeTooSkewed", is(Answer::kDenied, Heal::kClock)},

    // Credentials that ran out, or were replaced.
    {kAny, 4, "ExpiredToken", is(Answer::kDenied, Heal::kCredentials)},
    {kAny, 4, "ExpiredTokenException", is(Answer::kDenied, Heal::kCredentials)},
    {kAny, 4, "TokenRefreshRequired", is(Answer::kDenied, Heal::kCredentials)},
    {kAny, 4, "InvalidToken", is(Answer::kDenied, Heal::kCredentials)},
    {kAny, 4, "InvalidAccessKeyId", is(Answer::kDenied, Heal::kCredentials)},
    {kAny, 4, "SignatureDoesNotMatch", is(Answer::kDenied)},

    // The bucket is elsewhere.
    {kAny, 400, "AuthorizationHeaderMalformed", is(Answer::kDenied, Heal::kRegion)},
    {kAny, 400, "IllegalLocationConstraintException", is(Answer::kDenied, Heal::kRegion)},
    {kAny, 3, "", is(Answer::kInvalid, Heal::kRegion)},

    // No room.
    {kAny, 4, "QuotaExceeded", is(Answer::kNoSpace)},
    {kAny, 4, "XMinioAdminBucketQuotaExceeded", is(Answer::kNoSpace)},
    {kAny, 4, "XMinioStorageFull", is(Answer::kNoSpace)},
    {kAny, 5, "XMinioStorageFull", is(Answer::kNoSpace)},
    {kAny, 507, "", is(Answer::kNoSpace)},

    // The key is taken: by If-None-Match, and in the words of stores with headers of their own.
    {kPut, 412, "", is(Answer::kExists)},
    {kPut, 409, "FileAlreadyExists", is(Answer::kExists)},
    {kPut, 409, "ObjectAlreadyExists", is(Answer::kExists)},
    {kPut, 409, "KeyAlreadyExists", is(Answer::kExists)},
    {kPut, 409, "", is(Answer::kConflict)},

    // Slower, please. Without S3's word for it a proxy may have answered for a server that did it.
    {kAny, 503, "SlowDown", slow(Answer::kThrottled)},
    {kAny, 503, "ServiceUnavailable", slow(Answer::kThrottled)},
    {kAny, 503, "Throttling", slow(Answer::kThrottled)},
    {kAny, 503, "ThrottlingException", slow(Answer::kThrottled)},
    {kAny, 503, "RequestLimitExceeded", slow(Answer::kThrottled)},
    {kAny, 503, "RequestThrottled", slow(Answer::kThrottled)},
    {kAny, 503, "SlowDownRead", slow(Answer::kThrottled)},
    {kAny, 503, "SlowDownWrite", slow(Answer::kThrottled)},
    {kAny, 503, "TooManyRequests", slow(Answer::kThrottled)},
    {kAny, 503, "Busy", slow(Answer::kThrottled)},
    {kAny, 429, "", slow(Answer::kThrottled)},
    {kAny, 503, "", slow(Answer::kUnknown)},

    // Nothing of it landed, or nobody can say: look again.
    {kAny, 400, "RequestTimeout", is(Answer::kUnknown)},
    {kAny, 400, "IncompleteBody", is(Answer::kUnknown)},
    {kAny, 400, "BadDigest", is(Answer::kUnknown)},
    {kAny, 400, "XAmzContentSHA256Mismatch", is(Answer::kUnknown)},
    {kAny, 400, "InvalidDigest", is(Answer::kUnknown)},
    {kAny, 400, "RequestIsNotMultiPartContent", is(Answer::kUnknown)},
    {kAny, 408, "", is(Answer::kUnknown)},
    {kAny, 499, "", is(Answer::kUnknown)},

    // Not there. A bucket that is gone must not look like an object that never was.
    {kList, 404, "NoSuchBucket", is(Answer::kNotFound)},
    {kList, 404, "NoSuchLifecycleConfiguration", is(Answer::kNotFound)},
    {kAny, 404, "NoSuchBucket", is(Answer::kDenied)},
    {kGet, 404, "NoSuchKey", is(Answer::kNotFound)},
    {kGet, 404, "NoSuchVersion", is(Answer::kNotFound)},
    {kHead, 404, "", is(Answer::kNotFound)},
    {kAny, 404, kNoDocument, is(Answer::kUnknown)},
    {kGet, 404, "", is(Answer::kNotFound)},
    {kAny, 404, "", is(Answer::kUnknown)},

    // A range behind the object's end: nothing is there.
    {kGet, 416, "", is(Answer::kNotFound)},

    // What the store has not.
    {kAny, 501, "", is(Answer::kUnsupported)},
    {kAny, 405, "", is(Answer::kUnsupported)},
    {kAny, 403, "InvalidObjectState", is(Answer::kUnsupported)},
    {kAny, 400, "NotImplemented", is(Answer::kUnsupported)},

    // Refused. A 400 without S3's words is a proxy's, and may pass.
    {kAny, 401, "", is(Answer::kDenied, Heal::kCredentials)},
    {kAny, 403, "", is(Answer::kDenied)},
    {kAny, 407, "", is(Answer::kDenied)},
    {kAny, 400, kNoDocument, is(Answer::kUnknown)},
    {kAny, 409, "", is(Answer::kConflict)},
    {kAny, 4, "", is(Answer::kInvalid)},

    // All else that failed on the server's side, and what is no answer at all.
    {kAny, 5, "", is(Answer::kUnknown)},
    {kAny, 0, "", is(Answer::kUnknown)},
};

bool holds(const AnswerRow& row, Verb verb, int status, std::string_view code) {
  const bool status_fits =
      row.status == 0 || (row.status < 10 ? status / 100 == row.status : status == row.status);
  return status_fits && (row.verb == Verb::kAny || row.verb == verb) &&
         (row.code.empty() || row.code == code);
}

}  // namespace

std::span<const AnswerRow> answer_rows() {
  return kRows;
}

Verdict judge(Verb verb, int status, std::string_view code) {
  for (const AnswerRow& row : kRows) {
    if (holds(row, verb, status, code)) return row.verdict;
  }
  return {};
}

void Backoff::succeeded() {
  MutexLock lock(mutex_);
  failures_ = 0;
}

uint32_t Backoff::failures() const {
  MutexLock lock(mutex_);
  return failures_;
}

std::chrono::milliseconds Backoff::failed(uint32_t started, uint64_t random,
                                          std::chrono::milliseconds asked) {
  uint32_t failures = 0;
  {
    MutexLock lock(mutex_);
    if (failures_ <= started) ++failures_;
    failures = failures_;
  }
  const int64_t ceiling =
      std::min<int64_t>(kCap.count(), kFirst.count() << std::min<uint32_t>(failures, 20));
  const std::chrono::milliseconds jitter(
      static_cast<int64_t>(random % static_cast<uint64_t>(ceiling + 1)));
  // What the server asked for is a least, with the jitter on top, so that a crowd does not return
  // in one moment.
  return std::clamp(asked, std::chrono::milliseconds{0}, kAskedMax) + jitter;
}

void InFlightLimit::succeeded() {
  limit_ = std::min(max_, limit_ + 1 / limit_);
}

void InFlightLimit::throttled(uint64_t round_of_request) {
  if (round_of_request < round_) return;
  ++round_;
  limit_ = std::max(1.0, limit_ / 2);
}

}  // namespace wp::s3
