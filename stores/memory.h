// Objects in memory, for tests and for logs that need not outlive the process. The data is a
// MemoryBucket; a MemoryStore is one opening of it. So a root can be closed, or abandoned, and
// opened again: a bucket with a name lives as long as the process. (A child of fork() begins with
// none.)
//
// Operations complete inside the submitting call. Bodies are shared with their writer, not copied.
#ifndef WP_STORES_MEMORY_H_
#define WP_STORES_MEMORY_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sync.h"
#include "stores/object_store.h"

namespace wp {

class MemoryBucket {
 public:
  bool put_if_absent(const std::string& key, Body body);
  Body get(std::string_view key) const;  // null: no such object
  bool erase(std::string_view key);      // false: it was not there
  ListResult list(std::string_view prefix, std::string_view after, uint32_t count_max) const;

  // What no store allows, for tests of what the engine makes of it.
  void overwrite(const std::string& key, std::vector<std::byte> bytes);
  std::vector<std::string> keys() const;
  std::shared_ptr<MemoryBucket> copy() const;  // as it stands now; bodies are shared

 private:
  mutable Mutex mutex_;
  std::map<std::string, Body, std::less<>> objects_ WP_GUARDED_BY(mutex_);
};

// The bucket of this name in this process; null where there is none and `create` is false.
std::shared_ptr<MemoryBucket> memory_bucket(std::string_view name, bool create);

class MemoryStore : public ObjectStore {
 public:
  explicit MemoryStore(std::shared_ptr<MemoryBucket> bucket, std::string name = "");
  ~MemoryStore() override;

  void put_if_absent(std::string key, Body body, Cause cause, PutDone done) override;
  void get(std::string key, ByteRange range, Cause cause, GetDone done) override;
  void list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
            ListDone done) override;
  void remove(std::vector<std::string> keys, Cause cause, RemoveDone done) override;
  void shutdown() override;
  std::string description() const override;
  std::chrono::milliseconds linger_default() const override;

  const std::shared_ptr<MemoryBucket>& bucket() const { return bucket_; }

 private:
  class Entered;

  const std::shared_ptr<MemoryBucket> bucket_;
  const std::string name_;
  Mutex mutex_;
  CondVar idle_;
  bool closed_ WP_GUARDED_BY(mutex_) = false;
  uint64_t under_way_ WP_GUARDED_BY(mutex_) = 0;
};

}  // namespace wp

#endif  // WP_STORES_MEMORY_H_
