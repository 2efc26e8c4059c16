#include "stores/directory_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "engine/bug.h"
#include "stores/keys.h"

namespace wp {
namespace {

constexpr int kDirFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr size_t kDirsRemembered = 16;
constexpr size_t kIoBytesMax = 1u << 30;
// A put meets a directory that another takes away because it is empty: again, but not for ever.
constexpr int kAttemptsMax = 50;
// A name's time is taken a moment before the name is there, from a clock with ticks of up to 10 ms.
constexpr int64_t kCoverMarginNs = 100'000'000;
constexpr int64_t kSecondNs = 1'000'000'000;
constexpr char kUnsyncedName[] = "unsynced";

int64_t nanoseconds(const timespec& t) {
  return int64_t{t.tv_sec} * kSecondNs + t.tv_nsec;
}

// A change at this time; where the file system counts in whole seconds, at the end of that one.
int64_t change_ns(const timespec& t) {
  return nanoseconds(t) + (t.tv_nsec == 0 ? kSecondNs : 0);
}

std::string error_text(int code) {
  char buffer[256];
  return strerror_r(code, buffer, sizeof buffer);  // GNU's, which may not use the buffer
}

template <class Call>
auto again_if_interrupted(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

Fd open_at(int dir, const char* name, int flags, mode_t mode = 0) {
  return Fd(again_if_interrupted([&] { return ::openat(dir, name, flags, mode); }));
}

int sync_dir_fd(int fd) {
  if (again_if_interrupted([&] { return ::fsync(fd); }) == 0) return 0;
  // Not every file system syncs directories by themselves; a read-only one has nothing to sync.
  return errno == EINVAL || errno == EROFS ? 0 : errno;
}

std::string_view parent_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

std::string last_part(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

bool is_reserved_dir(std::string_view name) {
  return name == "tmp" || name == "lost+found";
}

// Of the root's own things: never objects.
bool is_reserved(std::string_view key) {
  return is_reserved_dir(key.substr(0, key.find('/'))) || key == "wp.lock" ||
         key.starts_with("wp.sqlite");
}

bool is_dots(const char* name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

// Reads a directory from its beginning, through a descriptor of its own.
class DirReader {
 public:
  explicit DirReader(int dir) {
    Fd fd = open_at(dir, ".", kDirFlags);
    if (!fd.valid()) {
      error_ = errno;
      return;
    }
    stream_ = ::fdopendir(fd.get());
    if (stream_ == nullptr) {
      error_ = errno;
    } else {
      fd.release();
    }
  }
  ~DirReader() {
    if (stream_ != nullptr) ::closedir(stream_);
  }
  DirReader(const DirReader&) = delete;
  DirReader& operator=(const DirReader&) = delete;
  // Null at the end, and where error() is set.
  const dirent* next() {
    if (stream_ == nullptr) return nullptr;
    const dirent* entry;
    do {
      errno = 0;
      entry = ::readdir(stream_);
    } while (entry != nullptr && is_dots(entry->d_name));
    if (entry == nullptr) error_ = errno;
    return entry;
  }
  int error() const { return error_; }

 private:
  DIR* stream_ = nullptr;
  int error_ = 0;
};

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

// ---------------------------------------------------------------------------------------- opening

namespace {

// File systems whose locks and links are another machine's, or a program's, word.
const char* network_name(long type) {
  switch (static_cast<uint32_t>(type)) {
    case 0x00006969:
      return "NFS";
    case 0x0000517b:
    case 0xff534d42:
    case 0xfe534d42:
      return "SMB";
    case 0x01021997:
      return "9p";
    case 0x65735546:
      return "FUSE";
    case 0x00c36400:
      return "Ceph";
    case 0x5346414f:
    case 0x6b414653:
      return "AFS";
    case 0x73757245:
      return "Coda";
    case 0x0bd00bd0:
      return "Lustre";
    case 0x47504653:
      return "GPFS";
    case 0x786f4256:
      return "VirtualBox's shared folders";
    default:
      return nullptr;
  }
}

Status opening_error(const std::string& path, int error) {
  const std::string tried = "open " + path + ": ";
  switch (error) {
    case ENOENT:
      return Status(Code::kNotFound,
                    tried + "there is no such directory; check the path, or open with create");
    case ENOTDIR:
    case EEXIST:
      return Status(Code::kInvalid, tried + "is not a directory; name a directory");
    case ENAMETOOLONG:
    case ELOOP:
      return Status(Code::kInvalid, tried + error_text(error) + "; name another directory");
    case EROFS:
      return Status(Code::kDenied,
                    tried + "the file system is read-only; open with read_only, or remount it");
    case EACCES:
    case EPERM:
      return Status(Code::kDenied, tried + error_text(error) + "; give this user the permission");
    case ENOSPC:
    case EDQUOT:
      return Status(Code::kNoSpace, tried + error_text(error) + "; free space there");
    default:
      return Status(Code::kUnavailable, tried + error_text(error) + "; look at the disk");
  }
}

// Makes the directory and those above it that are missing. 0, or errno.
int make_dirs(const std::string& path) {
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0777) == 0 || errno == EEXIST) continue;
    // "Read-only" and "no permission" are also said of directories that are there.
    const int error = errno;
    struct stat st;
    if (::stat(part.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return error;
  }
  return 0;
}

// Writes the names of the directory, and of all above it on the same file system, to the disk: they
// may be newly made, by us or by an opening that crashed. 0, or errno.
int sync_dirs_above(int dir) {
  struct stat st, above;
  if (::fstat(dir, &st) != 0) return errno;
  Fd fd;
  for (int at = dir;; at = fd.get(), st = above) {
    Fd next = open_at(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // What we may not read we have not made either.
    if (!next.valid()) return errno == EACCES ? 0 : errno;
    if (::fstat(next.get(), &above) != 0) return errno;
    if (above.st_dev != st.st_dev || above.st_ino == st.st_ino) return 0;
    if (const int error = sync_dir_fd(next.get()); error != 0) return error;
    fd = std::move(next);
  }
}

// A file that says that the directory is somebody else's; empty: none.
std::string foreign_name(int dir) {
  DirReader reader(dir);
  while (const dirent* entry = reader.next()) {
    const std::string_view name = entry->d_name;
    if (name != "j" && name != "s" && name != "c" && !is_reserved(name)) return entry->d_name;
  }
  return "";
}

}  // namespace

Result<std::unique_ptr<DirectoryFiles>> DirectoryFiles::open(const std::string& path,
                                                             const DirectoryOptions& options) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Status(Code::kInvalid, "open a directory: the path is empty or holds a NUL; name one");
  }
  const bool create = options.create && !options.read_only;
  if (create) {
    if (const int error = make_dirs(path); error != 0) return opening_error(path, error);
  }
  Fd root = open_at(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!root.valid()) return opening_error(path, errno);
  struct statfs fs;
  if (::fstatfs(root.get(), &fs) != 0) return opening_error(path, errno);
  const char* network = network_name(static_cast<long>(fs.f_type));
  if (network != nullptr && !options.allow_network) {
    return Status(Code::kUnsupported, "open " + path + ": it is on " + network +
                                          ", where locks and links cannot be trusted; use a "
                                          "local disk, or set allow_network");
  }
  if (!options.read_only && ::faccessat(root.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    return opening_error(path, errno);
  }
  struct stat st;
  if (create && ::fstatat(root.get(), "root", &st, AT_SYMLINK_NOFOLLOW) != 0) {
    const std::string foreign = foreign_name(root.get());
    if (!foreign.empty()) {
      return Status(Code::kInvalid, "open " + path + ": is not empty and holds no wp root [" +
                                        printable_key(foreign) + "]; name an empty directory");
    }
    if (options.sync) {
      if (const int error = sync_dirs_above(root.get()); error != 0) {
        return opening_error(path, error);
      }
    }
  }
  std::unique_ptr<char, decltype(&::free)> absolute(::realpath(path.c_str(), nullptr), &::free);
  return std::unique_ptr<DirectoryFiles>(
      new DirectoryFiles(absolute ? absolute.get() : path, options, std::move(root)));
}

DirectoryFiles::DirectoryFiles(std::string path, const DirectoryOptions& options, Fd root)
    : path_(std::move(path)), options_(options), root_(std::make_shared<Dir>()) {
  root_->fd = std::move(root);
  named_ = options_.named_files;
}

StoreStatus DirectoryFiles::status(std::string_view tried, std::string_view key,
                                   const Error& error) const {
  Answer answer = Answer::kUnknown;
  const char* advice = "";
  switch (error.code) {
    case 0:
      return {};
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      answer = Answer::kNoSpace;
      advice = "; free space there";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      answer = Answer::kDenied;
      advice = "; give this user the permission";
      break;
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case EILSEQ:
      answer = Answer::kInvalid;
      break;
    default:
      break;
  }
  std::string message(tried);
  message += ' ';
  message += printable_key(key);
  message += ": ";
  message += error.call;
  message += ": ";
  message += error_text(error.code);
  message += " [" + path_ + "]";
  message += advice;
  return {answer, std::move(message), {}};
}

// ------------------------------------------------------------------------------------ directories

DirectoryFiles::DirPtr DirectoryFiles::recall(std::string_view path) {
  MutexLock lock(cache_mutex_);
  for (auto it = cache_.begin(); it != cache_.end(); ++it) {
    if ((*it)->path != path) continue;
    std::rotate(cache_.begin(), it, it + 1);
    return cache_.front();
  }
  return nullptr;
}

void DirectoryFiles::remember(const DirPtr& dir) {
  DirPtr dropped;  // closed behind the lock
  MutexLock lock(cache_mutex_);
  auto it = std::find_if(cache_.begin(), cache_.end(),
                         [&](const DirPtr& other) { return other->path == dir->path; });
  if (it == cache_.end() && cache_.size() == kDirsRemembered) --it;
  if (it != cache_.end()) {
    dropped = std::move(*it);
    cache_.erase(it);
  }
  cache_.insert(cache_.begin(), dir);
}

void DirectoryFiles::forget(std::string_view path) {
  DirPtr dropped;
  MutexLock lock(cache_mutex_);
  const auto it = std::find_if(cache_.begin(), cache_.end(),
                               [&](const DirPtr& dir) { return dir->path == path; });
  if (it == cache_.end()) return;
  dropped = std::move(*it);
  cache_.erase(it);
}

DirectoryFiles::Error DirectoryFiles::open_dir(std::string_view path, bool make, Way way,
                                               DirPtr& dir) {
  if (path.empty()) {
    dir = root_;
    return {};
  }
  dir = recall(path);
  if (dir != nullptr && way == Way::kRemembered) return {};
  DirPtr parent;
  if (const Error error = open_dir(parent_of(path), make, way, parent)) return error;
  const std::string name = last_part(path);
  Fd fd = open_at(parent->fd.get(), name.c_str(), kDirFlags);
  if (!fd.valid() && errno == ENOENT && make) {
    if (::mkdirat(parent->fd.get(), name.c_str(), 0777) != 0 && errno != EEXIST) {
      return {errno, "mkdir"};
    }
    fd = open_at(parent->fd.get(), name.c_str(), kDirFlags);
  }
  if (!fd.valid()) return {errno, "open the directory"};
  // What is open keeps its number, so that no other directory can have it.
  struct stat st, known;
  if (dir != nullptr && ::fstat(fd.get(), &st) == 0 && ::fstat(dir->fd.get(), &known) == 0 &&
      st.st_ino == known.st_ino && st.st_dev == known.st_dev) {
    return {};
  }
  // Whoever made it may not have come to write its name to the disk.
  if (::fstat(parent->fd.get(), &st) != 0) return {errno, "fstat"};
  if (const Error error = cover(*parent, change_ns(st.st_mtim))) return error;
  dir = std::make_shared<Dir>();
  dir->path = path;
  dir->fd = std::move(fd);
  remember(dir);
  return {};
}

DirectoryFiles::Error DirectoryFiles::sync_dir(Dir& dir) {
  if (!options_.sync) return {};
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (WP_BUG(26)) return {};
  if (const int code = sync_dir_fd(dir.fd.get()); code != 0) return {code, "fsync the directory"};
  const int64_t covered = nanoseconds(now) - kCoverMarginNs;
  int64_t before = dir.covered_ns.load(std::memory_order_relaxed);
  while (before < covered && !dir.covered_ns.compare_exchange_weak(before, covered)) {
  }
  return {};
}

// Makes sure that what was named in the directory at `changed_ns` is on the disk.
DirectoryFiles::Error DirectoryFiles::cover(Dir& dir, int64_t changed_ns) {
  if (changed_ns < dir.covered_ns.load(std::memory_order_acquire)) return {};
  return sync_dir(dir);
}

// --------------------------------------------------------------------------------------- writing

// Before the first put of this opening.
DirectoryFiles::Error DirectoryFiles::prepare() {
  if (prepared_.load(std::memory_order_acquire)) return {};
  MutexLock lock(prepare_mutex_);
  if (prepared_.load(std::memory_order_acquire)) return {};
  const int root = root_->fd.get();
  {
    const Fd tmp = open_at(root, "tmp", kDirFlags);
    if (!tmp.valid() && errno != ENOENT) return {errno, "open tmp/"};
    if (tmp.valid()) {
      if (const Error error = clear_tmp(tmp.get())) return error;
      ::unlinkat(root, "tmp", AT_REMOVEDIR);  // only tidy: stays where it is not empty
    }
  }
  if (!options_.sync) {
    // Need not reach the disk: after a loss of power, what is there is on the disk.
    if (::mkdirat(root, "tmp", 0777) != 0 && errno != EEXIST) return {errno, "mkdir tmp/"};
    const std::string mark = std::string("tmp/") + kUnsyncedName;
    if (!open_at(root, mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666).valid()) {
      return {errno, "mark as unsynced"};
    }
  }
  prepared_.store(true, std::memory_order_release);
  return {};
}

DirectoryFiles::Error DirectoryFiles::clear_tmp(int tmp) {
  DirReader reader(tmp);
  bool unsynced = false;
  std::vector<std::string> names;
  while (const dirent* entry = reader.next()) {
    if (strcmp(entry->d_name, kUnsyncedName) == 0) {
      unsynced = true;
    } else {
      names.push_back(entry->d_name);
    }
  }
  if (reader.error() != 0) return {reader.error(), "read tmp/"};
  for (const std::string& name : names) ::unlinkat(tmp, name.c_str(), 0);
  if (!unsynced || !options_.sync) return {};
  if (::syncfs(tmp) != 0) return {errno, "syncfs"};
  if (::unlinkat(tmp, kUnsyncedName, 0) != 0 && errno != ENOENT) return {errno, "unlink the mark"};
  return {};
}

StoreStatus DirectoryFiles::put_if_absent(const std::string& key, Bytes body) {
  if (!key_is_plain(key) || is_reserved(key)) {
    return {Answer::kInvalid, "put " + printable_key(key) + ": not a key for an object", {}};
  }
  if (options_.read_only) return status("put", key, {EROFS, "the root was opened read-only"});
  Error error = prepare();
  for (int attempt = 0; !error && attempt < kAttemptsMax; ++attempt) {
    error = put_once(key, attempt == 0 ? Way::kRemembered : Way::kFresh, body);
    if (error.code != ENOENT || attempt + 1 == kAttemptsMax) break;
    // The directory went, being empty; or an open file cannot be named, here and now.
    error = {};
    if (attempt == 2) named_ = true;
  }
  if (error.code != EEXIST) return status("put", key, error);
  return {Answer::kExists, "put " + printable_key(key) + ": the key is taken", {}};
}

DirectoryFiles::Error DirectoryFiles::put_once(const std::string& key, Way way, Bytes body) {
  DirPtr dir;
  if (const Error error = open_dir(parent_of(key), true, way, dir)) return error;
  const std::string name = last_part(key);
  Error put = named_ ? put_named(*dir, name, body) : put_unnamed(*dir, name, body);
  if (put.code == EOPNOTSUPP && !named_) {
    named_ = true;
    put = put_named(*dir, name, body);
  }
  if (put && put.code != EEXIST) return put;
  if (put) {
    struct stat st;
    if (::fstatat(dir->fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno == ENOENT ? Error{EAGAIN, "the object went meanwhile"} : Error{errno, "fstat"};
    }
    if (!S_ISREG(st.st_mode)) return {EISDIR, "the name is taken by what is no object"};
  }
  // Also where a rival was faster: its name may not be on the disk yet.
  if (const Error error = sync_dir(*dir)) return error;
  return put;
}

DirectoryFiles::Error DirectoryFiles::write_file(int file, Bytes body) const {
  for (size_t done = 0; done < body.size();) {
    const size_t count = std::min(body.size() - done, kIoBytesMax);
    const ssize_t written = again_if_interrupted(
        [&] { return ::pwrite(file, body.data() + done, count, static_cast<off_t>(done)); });
    if (written < 0) return {errno, "write"};
    done += static_cast<size_t>(written);
  }
  if (!options_.sync) return {};
  if (again_if_interrupted([&] { return ::fdatasync(file); }) != 0) return {errno, "fdatasync"};
  return {};
}

DirectoryFiles::Error DirectoryFiles::put_unnamed(Dir& dir, const std::string& name, Bytes body) {
  const int at = dir.fd.get();
  const Fd file = open_at(at, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (!file.valid()) {
    // ext4 says EPERM where the directory was taken away.
    const int code = errno;
    struct stat st;
    if (code == EPERM && ::fstat(at, &st) == 0 && st.st_nlink == 0) return {ENOENT, "open"};
    // The ways to say that the file system, or the kernel, has no such files.
    const bool lacking = code == EOPNOTSUPP || code == EISDIR || code == EINVAL;
    return {lacking ? EOPNOTSUPP : code, "open a file without a name"};
  }
  if (const Error error = write_file(file.get(), body)) return error;
  if (!by_proc_) {
    if (::linkat(file.get(), "", at, name.c_str(), AT_EMPTY_PATH) == 0) return {};
    if (errno != ENOENT) return {errno, "linkat"};
  }
  // ENOENT: older kernels ask for a capability for that.
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file.get());
  if (::linkat(AT_FDCWD, path, at, name.c_str(), AT_SYMLINK_FOLLOW) != 0) return {errno, "linkat"};
  by_proc_ = true;
  return {};
}

DirectoryFiles::Error DirectoryFiles::put_named(Dir& dir, const std::string& name, Bytes body) {
  DirPtr tmp;
  if (const Error error = open_dir("tmp", true, Way::kFresh, tmp)) return error;
  // O_EXCL: a leftover may be the second name of an object, and must never be written to.
  static std::atomic<uint64_t> next{0};
  std::string tmp_name;
  Fd file;
  do {
    tmp_name = std::to_string(::getpid()) + "-" + std::to_string(next.fetch_add(1));
    file = open_at(tmp->fd.get(), tmp_name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (!file.valid() && errno == EEXIST);
  if (!file.valid()) return {errno, "open a file in tmp/"};
  Error error = write_file(file.get(), body);
  if (!error && ::linkat(tmp->fd.get(), tmp_name.c_str(), dir.fd.get(), name.c_str(), 0) != 0) {
    error = {errno, "linkat"};
  }
  ::unlinkat(tmp->fd.get(), tmp_name.c_str(), 0);
  return error;
}

// --------------------------------------------------------------------------------------- reading

GetResult DirectoryFiles::get(const std::string& key, ByteRange range) {
  GetResult result;
  if (!key_is_plain(key) || is_reserved(key)) {
    result.status = {
        Answer::kInvalid, "get " + printable_key(key) + ": not a key for an object", {}};
    return result;
  }
  Error error = get_once(key, range, Way::kRemembered, result);
  if (error.code == ENOENT) error = get_once(key, range, Way::kFresh, result);
  if (error.code == 0 || !result.status.ok()) return result;
  result.bytes.clear();
  switch (error.code) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENXIO:  // a socket
      result.status = {
          Answer::kNotFound, "get " + printable_key(key) + ": no such object [" + path_ + "]", {}};
      break;
    default:
      result.status = status("get", key, error);
  }
  return result;
}

DirectoryFiles::Error DirectoryFiles::get_once(const std::string& key, ByteRange range, Way way,
                                               GetResult& result) {
  DirPtr dir;
  if (const Error error = open_dir(parent_of(key), false, way, dir)) return error;
  // O_NONBLOCK: what is not a file must not hold us up.
  const Fd file = open_at(dir->fd.get(), last_part(key).c_str(),
                          O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (!file.valid()) return {errno, "open"};
  struct stat st;
  if (::fstat(file.get(), &st) != 0) return {errno, "fstat"};
  if (!S_ISREG(st.st_mode)) return {ENOENT, "open"};
  if (const Error error = cover(*dir, change_ns(st.st_ctim))) return error;

  result.object_bytes = static_cast<uint64_t>(st.st_size);
  const uint64_t offset = std::min(range.offset, result.object_bytes);
  const uint64_t length = std::min(range.length, result.object_bytes - offset);
  try {
    result.bytes.resize(length);
  } catch (const std::exception&) {
    return {ENOMEM, "read"};
  }
  for (size_t done = 0; done < length;) {
    const size_t count = std::min<size_t>(length - done, kIoBytesMax);
    const ssize_t got = again_if_interrupted([&] {
      return ::pread(file.get(), result.bytes.data() + done, count,
                     static_cast<off_t>(offset + done));
    });
    if (got < 0) return {errno, "read"};
    if (got == 0) {
      result.status = {Answer::kCorrupt,
                       "get " + printable_key(key) +
                           ": the file became shorter while it was read [" + path_ + "]",
                       {}};
      result.bytes.clear();
      return {};
    }
    done += static_cast<size_t>(got);
  }
  return {};
}

// --------------------------------------------------------------------------------------- deleting

StoreStatus DirectoryFiles::remove(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    if (!key_is_plain(key) || is_reserved(key)) {
      return {Answer::kInvalid, "delete " + printable_key(key) + ": not a key for an object", {}};
    }
  }
  StoreStatus first_failure;
  if (keys.empty()) return first_failure;
  if (options_.read_only) {
    return status("delete", keys.front(), {EROFS, "the root was opened read-only"});
  }
  std::vector<DirPtr> touched;
  for (const std::string& key : keys) {
    Error error = remove_once(key, Way::kRemembered, touched);
    if (error.code == ENOENT) error = remove_once(key, Way::kFresh, touched);
    const bool absent = error.code == ENOENT || error.code == ENOTDIR || error.code == EISDIR ||
                        error.code == ELOOP;
    if (error && !absent && first_failure.ok()) first_failure = status("delete", key, error);
  }
  for (const DirPtr& dir : touched) {
    const Error error = sync_dir(*dir);
    if (error && first_failure.ok()) first_failure = status("delete", dir->path, error);
    prune(dir->path);
  }
  return first_failure;
}

DirectoryFiles::Error DirectoryFiles::remove_once(const std::string& key, Way way,
                                                  std::vector<DirPtr>& touched) {
  DirPtr dir;
  if (const Error error = open_dir(parent_of(key), false, way, dir)) return error;
  if (::unlinkat(dir->fd.get(), last_part(key).c_str(), 0) != 0) return {errno, "unlink"};
  if (std::find(touched.begin(), touched.end(), dir) == touched.end()) touched.push_back(dir);
  return {};
}

// Takes away directories that became empty: on other stores there are none. A put that is about to
// use one finds it gone and makes it anew.
void DirectoryFiles::prune(std::string_view path) {
  for (; !path.empty(); path = parent_of(path)) {
    DirPtr parent;
    if (open_dir(parent_of(path), false, Way::kRemembered, parent)) return;
    if (::unlinkat(parent->fd.get(), last_part(path).c_str(), AT_REMOVEDIR) != 0) return;
    forget(path);
  }
}

// ---------------------------------------------------------------------------------------- listing

namespace {

// Walks the tree in byte order of the keys, and holds in memory little more than what it gives.
class Lister {
 public:
  Lister(std::string_view prefix, std::string_view after, size_t limit)
      : prefix_(prefix), after_(after), limit_(limit) {}

  // The directory whose keys all begin with `base`, which is empty or ends with '/'. 0, or errno.
  int walk(int dir, const std::string& base) {
    std::string last;  // of those visited
    for (;;) {
      std::vector<std::string> keys;
      bool cut = false;
      if (const int error = read(dir, base, last, keys, cut); error != 0) return error;
      for (const std::string& key : keys) {
        if (const int error = visit(dir, base, key); error != 0) return error;
        if (more) return 0;
      }
      if (!cut) return 0;
      last = keys.back();
    }
  }

  std::vector<ListedObject> objects;
  bool more = false;

 private:
  // The first keys of this directory that may belong to the answer, in order; directories end with
  // '/'. `cut`: there are more.
  int read(int dir, const std::string& base, const std::string& last,
           std::vector<std::string>& keys, bool& cut) const {
    const size_t keep = limit_ - objects.size() + 1;
    DirReader reader(dir);
    while (const dirent* entry = reader.next()) {
      unsigned char type = entry->d_type;
      if (type == DT_UNKNOWN) {
        struct stat st;
        if (::fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        type = S_ISREG(st.st_mode) ? DT_REG : S_ISDIR(st.st_mode) ? DT_DIR : DT_LNK;
      }
      if (type != DT_REG && type != DT_DIR) continue;
      std::string key = base + entry->d_name;
      if (key.size() > kKeyBytesMax || (base.empty() && is_reserved(key))) continue;
      if (type == DT_DIR) key += '/';
      if (key <= last || !wanted(key)) continue;
      keys.push_back(std::move(key));
      if (keys.size() >= 2 * keep + 1000) {
        std::nth_element(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(keep), keys.end());
        keys.resize(keep);
        cut = true;
      }
    }
    std::sort(keys.begin(), keys.end());
    // Between those behind the first `keep` some may have been left out.
    if (cut) keys.resize(keep);
    return reader.error();
  }

  bool wanted(const std::string& key) const {
    if (key.back() != '/') return key > after_ && key.starts_with(prefix_);
    return (key > after_ || after_.starts_with(key)) &&
           (key.starts_with(prefix_) || prefix_.starts_with(key));
  }

  int visit(int dir, const std::string& base, const std::string& key) {
    std::string name = key.substr(base.size());
    if (name.back() == '/') {
      name.pop_back();
      const Fd child = open_at(dir, name.c_str(), kDirFlags);
      // It went meanwhile.
      if (!child.valid()) return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
      return walk(child.get(), key);
    }
    struct stat st;
    if (::fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno == ENOENT ? 0 : errno;
    }
    if (!S_ISREG(st.st_mode)) return 0;
    if (objects.size() == limit_) {
      more = true;
    } else {
      objects.push_back({key, static_cast<uint64_t>(st.st_size)});
    }
    return 0;
  }

  const std::string_view prefix_, after_;
  const size_t limit_;
};

constexpr size_t kListCountMax = 10'000;

}  // namespace

ListResult DirectoryFiles::list(const std::string& prefix, const std::string& after,
                                uint32_t count_max) {
  ListResult result;
  // Straight to the last directory that the prefix names.
  const size_t slash = prefix.rfind('/');
  const std::string base = slash == std::string::npos ? "" : prefix.substr(0, slash + 1);
  const std::string_view path = parent_of(prefix);
  // No object can be there.
  if (!base.empty() && (!key_is_plain(path) || is_reserved(path))) return result;
  Fd dir = open_at(root_->fd.get(), ".", kDirFlags);
  int error = dir.valid() ? 0 : errno;
  for (size_t begin = 0; error == 0 && begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    Fd child = open_at(dir.get(), std::string(path.substr(begin, end - begin)).c_str(), kDirFlags);
    if (!child.valid()) error = errno;
    dir = std::move(child);
    begin = end + 1;
  }
  if (error == ENOENT || error == ENOTDIR) return result;
  const size_t limit = count_max == 0 ? kListCountMax : std::min<size_t>(count_max, kListCountMax);
  Lister lister(prefix, after, limit);
  if (error == 0) error = lister.walk(dir.get(), base);
  if (error != 0) {
    result.status = status("list", prefix, {error, "read the directory"});
    return result;
  }
  result.objects = std::move(lister.objects);
  result.more = lister.more;
  return result;
}

}  // namespace wp
