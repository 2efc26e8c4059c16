// The store in a bucket: keys under a prefix, and the question whether this store can be trusted
// with a commit at all. That is probed at the first put of an opening, unless an earlier opening
// left its verdict; an opening that only reads never probes.
//
// A store without conditional create answers every put with kUnsupported. With Options::exclusive
// it is used all the same: a put looks whether the key is there and then writes, which is right as
// long as there is no second writer, and nothing notices where there is one.
#ifndef WP_S3_MINIMAL_S3_STORE_H_
#define WP_S3_MINIMAL_S3_STORE_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sync.h"
#include "s3_minimal/client.h"
#include "s3_minimal/probe.h"
#include "stores/object_store.h"
#include "wp.h"

namespace wp {

// What openings tell later ones of the same root. The text names the place it holds for, so one
// that was kept for another is as good as none.
struct S3Verdict {
  std::string known;                         // what `learned` was told before; empty: nothing
  std::function<void(std::string)> learned;  // to be kept. Any thread, no lock held
};

class S3Store final : public ObjectStore {
 public:
  // Sends nothing yet. kInvalid: the URL or the options are wrong.
  static Result<std::unique_ptr<ObjectStore>> open(std::string_view url, const Options& options,
                                                   S3Verdict verdict);
  static std::unique_ptr<ObjectStore> open(s3::S3Config config, S3Verdict verdict);
  ~S3Store() override;

  void put_if_absent(std::string key, Body body, Cause cause, PutDone done) override;
  void get(std::string key, ByteRange range, Cause cause, GetDone done) override;
  void list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
            ListDone done) override;
  void remove(std::vector<std::string> keys, Cause cause, RemoveDone done) override;
  void shutdown() override;
  std::string description() const override;
  std::chrono::milliseconds linger_default() const override;

 private:
  enum class Puts : uint8_t { kUnproved, kProbing, kConditional, kExclusive, kRefused };
  struct Put {
    std::string key;
    Body body;
    Cause cause{};
    PutDone done;
  };

  S3Store(s3::S3Config config, S3Verdict verdict);
  void start_probe();
  void probed(s3::ProbeResult result);
  void put(Puts how, Put put);
  void put_unless_seen(Put put);
  std::string verdict_text(std::string_view word) const;
  void say(Level level, const std::string& text) const;
  void say_exclusive(const std::string& lack) const;
  std::string whole(std::string_view key) const {
    return client_.config().prefix + std::string(key);
  }
  bool holds(std::string_view key) const;
  StoreStatus wrong_key(std::string_view tried, std::string_view key) const;

  const std::function<void(std::string)> learned_;
  Mutex mutex_;
  // guarded by mutex_
  Puts puts_ WP_GUARDED_BY(mutex_) = Puts::kUnproved;
  std::vector<Put> waiting_ WP_GUARDED_BY(mutex_);  // for the probe
  std::string lack_ WP_GUARDED_BY(mutex_);
  s3::S3Client client_;
};

}  // namespace wp

#endif  // WP_S3_MINIMAL_S3_STORE_H_
