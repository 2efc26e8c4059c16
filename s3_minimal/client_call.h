// The state of one request of the client, from its making to its answer. Not for others.
#ifndef WP_S3_MINIMAL_CLIENT_CALL_H_
#define WP_S3_MINIMAL_CLIENT_CALL_H_

#include <optional>
#include <string>

#include "s3_minimal/client.h"

namespace wp::s3 {

struct S3Client::Call {
  // what is asked for
  Verb verb = Verb::kAny;
  std::string method, tried, key;
  Query query;
  Headers headers;
  Body body;
  std::string payload_hash;
  uint64_t answer_bytes_max = 4 << 20;
  bool fresh_connection = false;
  Cause cause{};
  // Whether a success is one: captive portals say 200 to everything. Empty: nobody asks here.
  std::function<bool(const HttpAnswer&)> sound;
  ReplyDone done;

  // how the last try was sent
  Credentials credentials;
  Place used;
  int64_t signed_ms = 0;
  uint32_t failures_before = 0;

  // what was tried to set it right
  int hops = 0;
  bool clock_tried = false, credentials_tried = false;
  std::optional<Place> redirect;       // where this request goes, and only this
  std::optional<Credentials> refused;  // others are wanted,
  Verdict refusal;                     // and this is the answer where there are none
  Reply refused_reply;

  Operation operation() const {
    switch (verb) {
      case Verb::kPut:
        return Operation::kPut;
      case Verb::kList:
        return Operation::kList;
      case Verb::kDelete:
        return Operation::kDelete;
      default:
        return Operation::kGet;
    }
  }
};

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_CLIENT_CALL_H_
