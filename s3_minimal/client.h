// One bucket: requests signed, sent, understood, and set right where the client itself can do it.
// Keys are whole keys of the bucket, of any bytes that S3 takes; nothing here knows of a root.
//
// What it sets right, each at most once or a few times in a request, and remembers for all later
// ones: a clock that is off, credentials that ran out, a bucket in another region or at another
// address. Reads that were cut are gone on with. It never repeats what might have been applied.
//
// Callbacks run on the transport's thread, or inside the call.
#ifndef WP_S3_MINIMAL_CLIENT_H_
#define WP_S3_MINIMAL_CLIENT_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sync.h"
#include "s3_minimal/answers.h"
#include "s3_minimal/config.h"
#include "s3_minimal/credentials.h"
#include "s3_minimal/messages.h"
#include "s3_minimal/signer.h"
#include "s3_minimal/transport.h"
#include "stores/object_store.h"

namespace wp::s3 {

struct Reply {
  StoreStatus status;
  HttpAnswer http;
  ErrorDocument error;
};

class S3Client {
 public:
  using StatusDone = std::function<void(StoreStatus)>;
  using GetDone = std::function<void(GetResult)>;
  using ListDone = std::function<void(ListResult)>;
  using ReplyDone = std::function<void(Reply)>;

  S3Client(S3Config config, Meter& meter);
  ~S3Client();  // shutdown()

  // Hashes the body in the calling thread. kOk: stored. kExists only with `create_only`.
  void put(std::string key, Body body, bool create_only, Cause cause, StatusDone done);
  void get(std::string key, ByteRange range, Cause cause, GetDone done);
  // kOk with object_bytes, or kNotFound.
  void head(std::string key, Cause cause, GetDone done);
  // A page of the bucket; keys are whole.
  void list(std::string prefix, std::string after, uint32_t count_max, Cause cause, ListDone done);
  // Any number of keys; in batches where the store takes them.
  void remove(std::vector<std::string> keys, Cause cause, StatusDone done);
  // With "Enabled", "Suspended", or "" where versions were never kept.
  void versioning(Cause cause, std::function<void(StoreStatus, std::string)> done);
  // The rules that take objects away, of the whole bucket; none where there are no rules at all.
  void lifecycle(Cause cause, std::function<void(StoreStatus, std::vector<LifecycleRule>)> done);

  void shutdown();

  const S3Config& config() const { return config_; }
  Transport& transport() { return transport_; }
  CredentialProvider& credentials() { return credentials_; }
  // How far the server's clock is ahead of ours, as far as it was learned.
  std::chrono::milliseconds clock_offset() const;
  // "s3://bucket/key", printable.
  std::string name_of(std::string_view key) const;
  // Sees every answer before it is judged: times and headers, for the doctor.
  void set_observer(std::function<void(const HttpAnswer&)> observer);

 private:
  // A setting of the bucket, by the name of its sub-resource.
  template <class T>
  void look_at(const std::string& what, Cause cause, std::optional<T> (*parse)(std::string_view),
               std::function<void(StoreStatus, T)> done);
  struct Call;
  struct Read;
  struct Removal;
  struct Place {
    Url endpoint;
    bool path_style = false;
    std::string region;
  };
  struct Judged {
    Verdict verdict;
    std::string words;
    ErrorDocument error;
  };
  using CallPtr = std::shared_ptr<Call>;

  CallPtr make_call(Verb verb, std::string method, std::string tried, std::string key, Cause cause);
  void start(CallPtr call);
  void send(const CallPtr& call, const Credentials& credentials);
  static Judged judge_answer(const Call& call, const HttpAnswer& http);
  void answered(const CallPtr& call, HttpAnswer http);
  bool heal(const CallPtr& call, const Verdict& verdict, const HttpAnswer& http,
            const ErrorDocument& error);
  bool heal_clock(const CallPtr& call, const HttpAnswer& http, const ErrorDocument& error);
  bool heal_region(const CallPtr& call, const HttpAnswer& http, const ErrorDocument& error);
  void go_to(const Url& target, Place& place) const;
  void finish(const CallPtr& call, const Verdict& verdict, Reply reply);
  StoreStatus explain(const Call& call, Answer answer, std::string_view what, std::string_view todo,
                      const HttpAnswer* http, const ErrorDocument* error);
  Place place() const;
  int64_t server_now_ms() const;

  void read_on(const std::shared_ptr<Read>& read);
  void read_answered(const std::shared_ptr<Read>& read, Reply reply);
  std::string take_piece(Read& read, HttpAnswer& http);
  void read_behind_end(const std::shared_ptr<Read>& read, const Reply& reply);
  void remove_on(const std::shared_ptr<Removal>& removal);
  void remove_batch(const std::shared_ptr<Removal>& removal, std::vector<std::string> keys);
  void remove_singly(const std::shared_ptr<Removal>& removal, std::vector<std::string> keys);

  const S3Config config_;
  Meter& meter_;
  const bool google_;
  Signer signer_;
  Backoff backoff_;
  std::atomic<bool> batch_delete_{true};
  std::atomic<bool> closed_{false};
  mutable Mutex mutex_;
  // guarded by mutex_: what was learned
  Place place_ WP_GUARDED_BY(mutex_);
  int64_t clock_offset_ms_ WP_GUARDED_BY(mutex_) = 0;
  std::function<void(const HttpAnswer&)> observer_ WP_GUARDED_BY(mutex_);
  // The credentials' fetches run on the transport, which ends first: see shutdown().
  Transport transport_;
  CredentialProvider credentials_;
};

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_CLIENT_H_
