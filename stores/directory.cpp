#include "stores/directory.h"

#include <utility>

#include "stores/keys.h"

namespace wp {

Result<std::unique_ptr<ObjectStore>> DirectoryStore::open(const std::string& path,
                                                          const DirectoryOptions& options) {
  auto files = DirectoryFiles::open(path, options);
  if (!files.ok()) return files.status();
  return std::unique_ptr<ObjectStore>(
      new DirectoryStore(std::move(files).value(), options.io_threads));
}

DirectoryStore::DirectoryStore(std::unique_ptr<DirectoryFiles> files, size_t io_threads)
    : files_(std::move(files)), pool_("wp-io", io_threads) {}

DirectoryStore::~DirectoryStore() {
  shutdown();
}

// The pool refuses when it was stopped, and then the task finds the store closed; or when no thread
// can be had, and then a caller that waits for the disk is better than one that fails.
void DirectoryStore::start(ThreadPool::Task task) {
  if (!pool_.submit(task)) task();
}

StoreStatus DirectoryStore::cancelled(Operation operation, std::string_view key) const {
  return {Answer::kCancelled,
          std::string(operation_name(operation)) + " " + printable_key(key) +
              ": the store was shut down [" + files_->path() + "]",
          {}};
}

void DirectoryStore::put_if_absent(std::string key, Body body, Cause cause, PutDone done) {
  start([this, key = std::move(key), body = std::move(body), cause, done = std::move(done)] {
    if (closed_) return done(cancelled(Operation::kPut, key));
    StoreStatus status = files_->put_if_absent(key, *body);
    meter().add(Operation::kPut, cause, status.answer, body->size());
    done(std::move(status));
  });
}

void DirectoryStore::get(std::string key, ByteRange range, Cause cause, GetDone done) {
  start([this, key = std::move(key), range, cause, done = std::move(done)] {
    GetResult result;
    if (closed_) {
      result.status = cancelled(Operation::kGet, key);
    } else {
      result = files_->get(key, range);
      meter().add(Operation::kGet, cause, result.status.answer, result.bytes.size());
    }
    done(std::move(result));
  });
}

void DirectoryStore::list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                          ListDone done) {
  start([this, prefix = std::move(prefix), after = std::move(after), count_max, cause,
         done = std::move(done)] {
    ListResult result;
    if (closed_) {
      result.status = cancelled(Operation::kList, prefix);
    } else {
      result = files_->list(prefix, after, count_max);
      meter().add(Operation::kList, cause, result.status.answer, 0);
    }
    done(std::move(result));
  });
}

void DirectoryStore::remove(std::vector<std::string> keys, Cause cause, RemoveDone done) {
  start([this, keys = std::move(keys), cause, done = std::move(done)] {
    if (closed_) return done(cancelled(Operation::kDelete, keys.empty() ? "" : keys.front()));
    StoreStatus status = files_->remove(keys);
    meter().add(Operation::kDelete, cause, status.answer, 0);
    done(std::move(status));
  });
}

void DirectoryStore::shutdown() {
  closed_ = true;
  pool_.stop(ThreadPool::Unbegun::kRun);
}

std::string DirectoryStore::description() const {
  return "file://" + files_->path();
}

std::chrono::milliseconds DirectoryStore::linger_default() const {
  return std::chrono::milliseconds{0};
}

}  // namespace wp
