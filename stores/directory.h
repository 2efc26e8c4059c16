// The store in a directory: DirectoryFiles behind a few threads, so that no caller waits for a
// disk. Threads start on demand; an opening that is idle does nothing at all.
//
// Two openings of one directory may not harm each other as stores (puts race, one wins), but
// leftovers in tmp/ are cleared at the first put of an opening: so whoever writes holds the root's
// process lock.
#ifndef WP_STORES_DIRECTORY_H_
#define WP_STORES_DIRECTORY_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "platform/thread_pool.h"
#include "stores/directory_files.h"
#include "stores/object_store.h"
#include "wp.h"

namespace wp {

class DirectoryStore final : public ObjectStore {
 public:
  // kNotFound: no such directory, and create is false. kInvalid: not a directory, or one that holds
  // other things. kDenied: not ours to read, or to write. kUnsupported: a network file system.
  static Result<std::unique_ptr<ObjectStore>> open(const std::string& path,
                                                   const DirectoryOptions& options);
  ~DirectoryStore() override;

  void put_if_absent(std::string key, Body body, Cause cause, PutDone done) override;
  void get(std::string key, ByteRange range, Cause cause, GetDone done) override;
  void list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
            ListDone done) override;
  void remove(std::vector<std::string> keys, Cause cause, RemoveDone done) override;
  void shutdown() override;
  std::string description() const override;
  std::chrono::milliseconds linger_default() const override;

 private:
  DirectoryStore(std::unique_ptr<DirectoryFiles> files, size_t io_threads);
  void start(ThreadPool::Task task);
  StoreStatus cancelled(Operation operation, std::string_view key) const;

  const std::unique_ptr<DirectoryFiles> files_;
  std::atomic<bool> closed_{false};
  ThreadPool pool_;
};

}  // namespace wp

#endif  // WP_STORES_DIRECTORY_H_
