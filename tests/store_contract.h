// What every store must do, as tests that go only through ObjectStore, so that they hold for
// memory, directories and S3 alike. Also asks a store and waits for the answer, which other tests
// use too.
#ifndef WP_TESTS_STORE_CONTRACT_H_
#define WP_TESTS_STORE_CONTRACT_H_

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/sync.h"
#include "stores/object_store.h"

namespace wp::store_test {

// Waits for answers, and counts them.
template <class T>
class Answers {
 public:
  std::function<void(T)> done() {
    return [this](T answer) {
      MutexLock lock(mutex_);
      answers_.push_back(std::move(answer));
      changed_.notify_all();
    };
  }
  // The answers, once there are `count`. More than that is for the caller to notice.
  std::vector<T> wait(size_t count) {
    MutexLock lock(mutex_);
    while (answers_.size() < count) changed_.native().wait(lock);
    return answers_;
  }
  size_t count() {
    MutexLock lock(mutex_);
    return answers_.size();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<T> answers_ WP_GUARDED_BY(mutex_);
};

Body make_body(std::string_view text);
// Bytes that differ from place to place, and from seed to seed.
Body make_body(size_t size, uint64_t seed);

StoreStatus put(ObjectStore& store, std::string key, Body body, Cause cause = Cause::kFlush);
GetResult get(ObjectStore& store, std::string key, ByteRange range = {},
              Cause cause = Cause::kRead);
ListResult list(ObjectStore& store, std::string prefix, std::string after = "",
                uint32_t count_max = 0);
// All pages, each of at most `count_max`.
std::vector<ListedObject> list_all(ObjectStore& store, const std::string& prefix,
                                   uint32_t count_max = 0);
StoreStatus remove(ObjectStore& store, std::vector<std::string> keys);

// A directory that goes with its contents.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

using Opener = std::function<std::unique_ptr<ObjectStore>()>;

struct StoreKind {
  // Makes a place that holds nothing, and gives what opens it, as often as it is called.
  std::function<Opener()> new_place;
  size_t many = 2500;    // objects, for paging
  bool odd_keys = true;  // takes every key of the small stores
};

// To be called in a TEST_CASE; has SUBCASEs.
void run_store_contract(const StoreKind& kind);

}  // namespace wp::store_test

#endif  // WP_TESTS_STORE_CONTRACT_H_
