// As whom requests are signed. The first of these that is set up decides: given by the program ·
// a profile named by option · environment · web identity · profile files · container · the
// machine's own role (IMDSv2). A source that is set up but fails is an error, not a reason to try
// as somebody else.
//
// What expires is fetched again before it does, when the next request comes by: without a timer.
// Secrets never stand in a message.
#ifndef WP_S3_MINIMAL_CREDENTIALS_H_
#define WP_S3_MINIMAL_CREDENTIALS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/sync.h"
#include "s3_minimal/config.h"
#include "s3_minimal/transport.h"

namespace wp::s3 {

class CredentialProvider {
 public:
  using Fetch = std::function<void(HttpRequest, Transport::Done)>;
  using Got = std::function<void(Result<Credentials>)>;

  // `fetch` must answer everything before this object goes.
  CredentialProvider(const S3Config& config, Fetch fetch);

  // Calls `got` with credentials that are good at `now_ms`: inside the call where there are any,
  // else on the thread that answers the fetch. With `refused`: those the store did not take; others
  // are fetched, unless there are others already. kDenied: none to be had; the message says where
  // was looked. kUnavailable: whoever gives them does not answer.
  void get(int64_t now_ms, const Credentials* refused, Got got);

  // The last that were given, for messages and for keeping their secrets out of them.
  Credentials last() const;

 private:
  void start_fetch();
  void finish_fetch(Result<Credentials> result);

  const S3Config config_;
  const Fetch fetch_;
  mutable Mutex mutex_;
  // guarded by mutex_
  std::optional<Credentials> current_ WP_GUARDED_BY(mutex_);
  std::vector<Got> waiting_ WP_GUARDED_BY(mutex_);
  bool fetching_ WP_GUARDED_BY(mutex_) = false;
  int64_t early_try_ms_ WP_GUARDED_BY(mutex_) = INT64_MIN;
};

// Looks through all sources once. For CredentialProvider, and the doctor.
void fetch_credentials(const S3Config& config, const CredentialProvider::Fetch& fetch,
                       CredentialProvider::Got got);

// Takes every secret of the credentials out of a text that somebody else wrote.
std::string redact(std::string text, const Credentials& credentials);

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_CREDENTIALS_H_
