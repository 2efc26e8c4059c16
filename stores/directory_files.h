// Objects as files under a directory: the blocking part of the directory store, safe against a
// crash of the machine at any point.
//
// How a put is made durable, in this order, each step begun after the one before has succeeded:
//   1. a file without a name is written whole          (O_TMPFILE; else a file in tmp/)
//   2. its bytes reach the disk                        (fdatasync)
//   3. it gets its name, unless the name is taken      (linkat)
//   4. the name reaches the disk                       (fsync of the directory)
// A directory that was newly made, by whomever, has its own name on the disk before an object in it
// is spoken of. So a visible file is always whole; only its name may still be missing on the disk,
// between 3 and 4. For that reason an object that another put there is not spoken of before its
// directory was synced: neither as "exists", nor when it is read.
//
// With sync off nothing reaches the disk in time, and a mark in tmp/ says so: the first put of a
// later opening with sync on writes the whole file system through first, because what it
// acknowledges stands on what was there.
//
// What lies under the root but is no object: tmp/, wp.lock, wp.sqlite* and lost+found.
#ifndef WP_STORES_DIRECTORY_FILES_H_
#define WP_STORES_DIRECTORY_FILES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sync.h"
#include "stores/object_store.h"
#include "wp.h"

namespace wp {

struct DirectoryOptions {
  bool sync = true;            // false: survives a crash of the process, not of the machine
  bool allow_network = false;  // a network file system is refused otherwise
  bool create = false;         // make the directory where there is none
  bool read_only = false;      // write nothing at all
  size_t io_threads = 8;       // operations at once
  bool named_files = false;    // for tests: as on a file system without O_TMPFILE
};

// A descriptor, closed when it goes.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset();

 private:
  int fd_ = -1;
};

// Every method from any thread, side by side.
class DirectoryFiles {
 public:
  // The Status says what is wrong with the directory and what to do about it.
  static Result<std::unique_ptr<DirectoryFiles>> open(const std::string& path,
                                                      const DirectoryOptions& options);

  StoreStatus put_if_absent(const std::string& key, Bytes body);
  GetResult get(const std::string& key, ByteRange range);
  ListResult list(const std::string& prefix, const std::string& after, uint32_t count_max);
  StoreStatus remove(const std::vector<std::string>& keys);

  const std::string& path() const { return path_; }  // absolute

 private:
  struct Dir {
    std::string path;  // relative to the root; the root's is empty
    Fd fd;
    // Names given before this time (of the kernel's clock for files) are on the disk.
    std::atomic<int64_t> covered_ns{INT64_MIN};
  };
  using DirPtr = std::shared_ptr<Dir>;
  // The system call that failed, and errno.
  struct Error {
    int code = 0;
    const char* call = "";
    explicit operator bool() const { return code != 0; }
  };

  DirectoryFiles(std::string path, const DirectoryOptions& options, Fd root);

  // Through the cache, where "not found" may be old news; or by looking at every step.
  enum class Way { kRemembered, kFresh };
  Error open_dir(std::string_view path, bool make, Way way, DirPtr& dir);
  DirPtr recall(std::string_view path);
  void remember(const DirPtr& dir);
  void forget(std::string_view path);

  Error sync_dir(Dir& dir);
  Error cover(Dir& dir, int64_t changed_ns);
  Error prepare();
  Error clear_tmp(int tmp);
  Error put_once(const std::string& key, Way way, Bytes body);
  Error write_file(int file, Bytes body) const;
  Error put_unnamed(Dir& dir, const std::string& name, Bytes body);
  Error put_named(Dir& dir, const std::string& name, Bytes body);
  Error get_once(const std::string& key, ByteRange range, Way way, GetResult& result);
  Error remove_once(const std::string& key, Way way, std::vector<DirPtr>& touched);
  void prune(std::string_view path);
  StoreStatus status(std::string_view tried, std::string_view key, const Error& error) const;

  const std::string path_;
  const DirectoryOptions options_;
  const DirPtr root_;
  std::atomic<bool> named_{false};    // the file system has no files without a name
  std::atomic<bool> by_proc_{false};  // naming an open file goes through /proc

  Mutex prepare_mutex_;
  std::atomic<bool> prepared_{false};  // set under prepare_mutex_

  // The directories used last, newest first: few, since logs cost no descriptor.
  Mutex cache_mutex_;
  std::vector<DirPtr> cache_ WP_GUARDED_BY(cache_mutex_);
};

}  // namespace wp

#endif  // WP_STORES_DIRECTORY_FILES_H_
