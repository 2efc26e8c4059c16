#include "stores/memory.h"

#include <algorithm>
#include <utility>

#include "platform/fork.h"
#include "stores/keys.h"

namespace wp {
namespace {

// As many as S3 gives at once, so that tests in memory page as production does.
constexpr uint32_t kListCountMax = 1000;

StoreStatus failed(Answer answer, std::string_view tried, std::string_view key,
                   std::string_view what) {
  std::string message(tried);
  message += ' ';
  message += printable_key(key);
  message += ": ";
  message += what;
  return {answer, std::move(message), {}};
}

StoreStatus closed(std::string_view tried, std::string_view key) {
  return failed(Answer::kCancelled, tried, key, "the store was shut down");
}

StoreStatus not_plain(std::string_view tried, std::string_view key) {
  return failed(Answer::kInvalid, tried, key, "not a key that a store can hold");
}

}  // namespace

// ------------------------------------------------------------------------------------- the bucket

bool MemoryBucket::put_if_absent(const std::string& key, Body body) {
  MutexLock lock(mutex_);
  return objects_.try_emplace(key, std::move(body)).second;
}

Body MemoryBucket::get(std::string_view key) const {
  MutexLock lock(mutex_);
  const auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : it->second;
}

bool MemoryBucket::erase(std::string_view key) {
  Body body;  // freed behind the lock
  MutexLock lock(mutex_);
  const auto it = objects_.find(key);
  if (it == objects_.end()) return false;
  body = std::move(it->second);
  objects_.erase(it);
  return true;
}

ListResult MemoryBucket::list(std::string_view prefix, std::string_view after,
                              uint32_t count_max) const {
  ListResult result;
  const size_t limit = count_max == 0 ? kListCountMax : std::min(count_max, kListCountMax);
  MutexLock lock(mutex_);
  auto it = after < prefix ? objects_.lower_bound(prefix) : objects_.upper_bound(after);
  for (; it != objects_.end() && it->first.starts_with(prefix); ++it) {
    if (result.objects.size() == limit) {
      result.more = true;
      break;
    }
    result.objects.push_back({it->first, it->second->size()});
  }
  return result;
}

void MemoryBucket::overwrite(const std::string& key, std::vector<std::byte> bytes) {
  auto body = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  MutexLock lock(mutex_);
  objects_[key] = std::move(body);
}

std::vector<std::string> MemoryBucket::keys() const {
  std::vector<std::string> keys;
  MutexLock lock(mutex_);
  keys.reserve(objects_.size());
  for (const auto& [key, body] : objects_) keys.push_back(key);
  return keys;
}

std::shared_ptr<MemoryBucket> MemoryBucket::copy() const {
  auto copy = std::make_shared<MemoryBucket>();
  MutexLock lock(mutex_);
  MutexLock copy_lock(copy->mutex_);
  copy->objects_ = objects_;
  return copy;
}

namespace {

struct Buckets {
  Mutex mutex;
  std::map<std::string, std::shared_ptr<MemoryBucket>, std::less<>> by_name WP_GUARDED_BY(mutex);
};

}  // namespace

std::shared_ptr<MemoryBucket> memory_bucket(std::string_view name, bool create) {
  auto& buckets = of_this_process<Buckets>();
  MutexLock lock(buckets.mutex);
  const auto it = buckets.by_name.find(name);
  if (it != buckets.by_name.end()) return it->second;
  if (!create) return nullptr;
  auto bucket = std::make_shared<MemoryBucket>();
  buckets.by_name.emplace(name, bucket);
  return bucket;
}

// -------------------------------------------------------------------------------------- an opening

// Counts an operation as under way, its completion included, unless the store is closed.
class MemoryStore::Entered {
 public:
  explicit Entered(MemoryStore& store) : store_(store) {
    MutexLock lock(store_.mutex_);
    open_ = !store_.closed_;
    if (open_) ++store_.under_way_;
  }
  ~Entered() {
    if (!open_) return;
    MutexLock lock(store_.mutex_);
    if (--store_.under_way_ == 0 && store_.closed_) store_.idle_.notify_all();
  }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;
  bool open() const { return open_; }

 private:
  MemoryStore& store_;
  bool open_ = false;
};

MemoryStore::MemoryStore(std::shared_ptr<MemoryBucket> bucket, std::string name)
    : bucket_(std::move(bucket)), name_(std::move(name)) {}

MemoryStore::~MemoryStore() {
  shutdown();
}

void MemoryStore::put_if_absent(std::string key, Body body, Cause cause, PutDone done) {
  const Entered entered(*this);
  if (!entered.open()) return done(closed("put", key));
  const uint64_t bytes = body->size();
  StoreStatus status;
  if (!key_is_plain(key)) {
    status = not_plain("put", key);
  } else if (!bucket_->put_if_absent(key, std::move(body))) {
    status = failed(Answer::kExists, "put", key, "the key is taken");
  }
  meter().add(Operation::kPut, cause, status.answer, bytes);
  done(std::move(status));
}

void MemoryStore::get(std::string key, ByteRange range, Cause cause, GetDone done) {
  const Entered entered(*this);
  GetResult result;
  if (!entered.open()) {
    result.status = closed("get", key);
    return done(std::move(result));
  }
  const Body body = bucket_->get(key);
  if (!key_is_plain(key)) {
    result.status = not_plain("get", key);
  } else if (body == nullptr) {
    result.status = failed(Answer::kNotFound, "get", key, "no such object");
  } else {
    result.object_bytes = body->size();
    const uint64_t offset = std::min<uint64_t>(range.offset, body->size());
    const uint64_t length = std::min<uint64_t>(range.length, body->size() - offset);
    const auto begin = body->begin() + static_cast<ptrdiff_t>(offset);
    result.bytes.assign(begin, begin + static_cast<ptrdiff_t>(length));
  }
  meter().add(Operation::kGet, cause, result.status.answer, result.bytes.size());
  done(std::move(result));
}

void MemoryStore::list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                       ListDone done) {
  const Entered entered(*this);
  ListResult result;
  if (!entered.open()) {
    result.status = closed("list", prefix);
    return done(std::move(result));
  }
  result = bucket_->list(prefix, after, count_max);
  meter().add(Operation::kList, cause, result.status.answer, 0);
  done(std::move(result));
}

void MemoryStore::remove(std::vector<std::string> keys, Cause cause, RemoveDone done) {
  const Entered entered(*this);
  if (!entered.open()) return done(closed("delete", keys.empty() ? "" : keys.front()));
  StoreStatus status;
  const auto bad = std::find_if_not(keys.begin(), keys.end(),
                                    [](const std::string& key) { return key_is_plain(key); });
  if (bad != keys.end()) {
    status = not_plain("delete", *bad);
  } else {
    for (const std::string& key : keys) bucket_->erase(key);
  }
  meter().add(Operation::kDelete, cause, status.answer, 0);
  done(std::move(status));
}

void MemoryStore::shutdown() {
  MutexLock lock(mutex_);
  closed_ = true;
  while (under_way_ != 0) idle_.native().wait(lock);
}

std::string MemoryStore::description() const {
  return "mem://" + name_;
}

std::chrono::milliseconds MemoryStore::linger_default() const {
  return std::chrono::milliseconds{0};
}

}  // namespace wp
