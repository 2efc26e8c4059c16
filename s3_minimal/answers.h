// What an answer of S3 means: one table, by HTTP status and S3's own error code. Retryable is a
// property of the answer and is decided here and nowhere else.
#ifndef WP_S3_MINIMAL_ANSWERS_H_
#define WP_S3_MINIMAL_ANSWERS_H_

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

#include "engine/sync.h"
#include "stores/object_store.h"

namespace wp::s3 {

enum class Verb : uint8_t { kAny, kPut, kGet, kHead, kList, kDelete };

// What the client can do about it itself, once, before it gives the answer to anyone.
enum class Heal : uint8_t {
  kNothing,
  kClock,        // learn the server's time, sign again
  kCredentials,  // fetch them anew, sign again
  kRegion,       // the bucket is elsewhere: learn where, sign again
};

struct Verdict {
  Answer answer = Answer::kUnknown;
  Heal heal = Heal::kNothing;
  bool slow_down = false;  // fewer requests at once, please
};

// A row holds for an answer when verb, status and code fit; the first that holds decides.
struct AnswerRow {
  Verb verb = Verb::kAny;
  int status = 0;         // 400; 4: all of 4xx; 0: all
  std::string_view code;  // empty: any
  Verdict verdict;
};
std::span<const AnswerRow> answer_rows();

// What stands for the code of an answer whose body is there, but is no S3 error document.
inline constexpr std::string_view kNoDocument = "(not an S3 answer)";

Verdict judge(Verb verb, int status, std::string_view code);

// How long to wait after failures that pass: full jitter under a cap that doubles, and what the
// server asked for, bounded. Any thread.
class Backoff {
 public:
  static constexpr std::chrono::milliseconds kFirst{50}, kCap{20'000}, kAskedMax{300'000};

  void succeeded();
  // `started`: how many failures there had been when the request began. A burst of requests that
  // fail together counts as one.
  std::chrono::milliseconds failed(uint32_t started, uint64_t random,
                                   std::chrono::milliseconds asked);
  uint32_t failures() const;

 private:
  mutable Mutex mutex_;
  uint32_t failures_ WP_GUARDED_BY(mutex_) = 0;
};

// How many requests may be under way: grows by one a round of successes, halves when the server
// asks for less; a burst of complaints about one round counts as one. Not locked: its owner does.
class InFlightLimit {
 public:
  explicit InFlightLimit(uint32_t max) : max_(max), limit_(max) {}
  uint32_t now() const { return static_cast<uint32_t>(limit_); }
  uint64_t round() const { return round_; }  // to be remembered by a request when it starts
  void succeeded();
  void throttled(uint64_t round_of_request);

 private:
  const double max_;
  double limit_;
  uint64_t round_ = 0;
};

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_ANSWERS_H_
