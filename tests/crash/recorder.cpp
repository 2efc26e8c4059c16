#include "tests/crash/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

namespace wp::crash {
namespace {

using Kind = Call::Kind;

std::atomic<bool> watching{false};  // constant from the start: calls come before main() does

struct State {
  std::mutex mutex;
  std::vector<Call> calls;
  // The kernel's numbers may be given again: a call that makes something overwrites its line.
  std::map<std::pair<dev_t, ino_t>, InodeId> inodes;
  InodeId last = 0;
  uint64_t count = 0, kill_before = 0;
  bool refuse_unnamed = false;
  int notes = -1;
};

State& state() {
  static State& the_one = *new State;
  return the_one;
}

InodeId id_of(const struct stat& st) {
  const auto found = state().inodes.find({st.st_dev, st.st_ino});
  return found == state().inodes.end() ? 0 : found->second;
}

InodeId id_of(int fd) {
  struct stat st;
  return ::fstat(fd, &st) == 0 ? id_of(st) : 0;
}

InodeId id_of(int at, const char* path, int flags) {
  struct stat st;
  return ::fstatat(at, path, &st, flags) == 0 ? id_of(st) : 0;
}

InodeId new_id(const struct stat& st) {
  return state().inodes[{st.st_dev, st.st_ino}] = ++state().last;
}

// A name, and the directory it stands in; 0: not one that is watched.
struct Place {
  InodeId dir;
  std::string name;
};

Place place_of(int at, const char* path) {
  const char* slash = strrchr(path, '/');
  if (slash == nullptr) return {id_of(at, ".", 0), path};
  const std::string dir(path, slash == path ? 1 : slash - path);
  return {id_of(at, dir.c_str(), 0), slash + 1};
}

void about_to_call() {
  State& s = state();
  if (++s.count == s.kill_before) ::kill(::getpid(), SIGKILL);
}

void add(Kind kind, const char* function, InodeId inode, uint64_t offset = 0,
         std::string data = {}) {
  if (state().kill_before != 0) return;
  Call& call = state().calls.emplace_back();
  call.kind = kind;
  call.function = function;
  call.inode = inode;
  call.offset = offset;
  call.data = std::move(data);
}

void add_name(const char* function, const Place& place, InodeId target, bool makes_dir = false) {
  add(Kind::kName, function, place.dir);
  if (state().calls.empty()) return;
  Call& call = state().calls.back();
  call.name = place.name;
  call.target = target;
  call.makes_dir = makes_dir;
}

void add_unname(const char* function, const Place& place) {
  add(Kind::kUnname, function, place.dir);
  if (!state().calls.empty()) state().calls.back().name = place.name;
}

// ---------------------------------------------------------------------------- the calls themselves

// Errors are changed by what is asked of the kernel behind a call.
template <class Record>
long made(long result, Record record) {
  const int error = errno;
  if (result >= 0) record();
  errno = error;
  return result;
}

int open_at(int at, const char* path, int flags, mode_t mode) {
  const auto call = [&] { return ::syscall(SYS_openat, at, path, flags, mode); };
  const bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
  if (!watching || !(unnamed || (flags & (O_CREAT | O_TRUNC)))) return static_cast<int>(call());
  std::lock_guard lock(state().mutex);
  struct stat st;
  if (unnamed) {
    if (state().refuse_unnamed) return errno = EOPNOTSUPP, -1;
    // A file that no crash leaves behind: it becomes one when it is named.
    const long fd = call();
    return static_cast<int>(made(fd, [&] {
      if (id_of(at, path, 0) != 0 && ::fstat(static_cast<int>(fd), &st) == 0) new_id(st);
    }));
  }
  const Place place = place_of(at, path);
  const bool is_there = ::fstatat(at, path, &st, 0) == 0;
  if (place.dir == 0 || (is_there && !(flags & O_TRUNC))) return static_cast<int>(call());
  about_to_call();
  const long fd = call();
  return static_cast<int>(made(fd, [&] {
    if (is_there) return add(Kind::kResize, "open", id_of(st));
    if (::fstat(static_cast<int>(fd), &st) == 0) add_name("open", place, new_id(st));
  }));
}

ssize_t write_at(const char* function, int fd, const void* data, size_t size, off_t offset) {
  const bool at_place = offset < 0;
  const auto call = [&] {
    return at_place ? ::syscall(SYS_write, fd, data, size)
                    : ::syscall(SYS_pwrite64, fd, data, size, offset);
  };
  if (!watching) return call();
  std::lock_guard lock(state().mutex);
  const InodeId inode = id_of(fd);
  if (inode == 0) return call();
  if (at_place) offset = ::lseek(fd, 0, SEEK_CUR);
  about_to_call();
  const long count = call();
  return made(count, [&] {
    add(Kind::kWrite, function, inode, static_cast<uint64_t>(offset),
        std::string(static_cast<const char*>(data), static_cast<size_t>(count)));
  });
}

template <class Make>
int of_fd(Kind kind, const char* function, int fd, uint64_t offset, Make call) {
  if (!watching) return static_cast<int>(call());
  std::lock_guard lock(state().mutex);
  const InodeId inode = id_of(fd);
  if (inode == 0) return static_cast<int>(call());
  about_to_call();
  return static_cast<int>(made(call(), [&] { add(kind, function, inode, offset); }));
}

int make_dir(int at, const char* path, mode_t mode) {
  const auto call = [&] { return ::syscall(SYS_mkdirat, at, path, mode); };
  if (!watching) return static_cast<int>(call());
  std::lock_guard lock(state().mutex);
  const Place place = place_of(at, path);
  if (place.dir == 0) return static_cast<int>(call());
  about_to_call();
  return static_cast<int>(made(call(), [&] {
    struct stat st;
    if (::fstatat(at, path, &st, 0) == 0) add_name("mkdir", place, new_id(st), true);
  }));
}

int link_at(int from_at, const char* from, int at, const char* path, int flags) {
  const auto call = [&] { return ::syscall(SYS_linkat, from_at, from, at, path, flags); };
  if (!watching) return static_cast<int>(call());
  std::lock_guard lock(state().mutex);
  const Place place = place_of(at, path);
  if (place.dir == 0) return static_cast<int>(call());
  about_to_call();
  return static_cast<int>(
      made(call(), [&] { add_name("link", place, id_of(at, path, AT_SYMLINK_NOFOLLOW)); }));
}

int unlink_at(int at, const char* path, int flags) {
  const auto call = [&] { return ::syscall(SYS_unlinkat, at, path, flags); };
  if (!watching) return static_cast<int>(call());
  std::lock_guard lock(state().mutex);
  const Place place = place_of(at, path);
  if (place.dir == 0) return static_cast<int>(call());
  about_to_call();
  const char* function = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
  return static_cast<int>(made(call(), [&] { add_unname(function, place); }));
}

// What is there when a recording begins.
void add_tree(const std::string& path, InodeId dir) {
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    struct stat st;
    if (::lstat(entry.path().c_str(), &st) != 0) continue;
    const InodeId known = id_of(st);  // by another name
    const InodeId id = known != 0 ? known : new_id(st);
    add_name("was there", {dir, entry.path().filename()}, id, entry.is_directory());
    if (entry.is_directory()) add_tree(entry.path(), id);
    if (!entry.is_regular_file() || known != 0 || state().kill_before != 0) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    add(Kind::kWrite, "was there", id, 0, {std::istreambuf_iterator<char>(file), {}});
  }
}

void watch(const std::string& dir, uint64_t kill_before, int notes) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.calls.clear();
  s.inodes.clear();
  s.last = 0;
  s.count = 0;
  s.kill_before = kill_before;
  s.notes = notes;
  struct stat st;
  if (::stat(dir.c_str(), &st) != 0) return;
  new_id(st);
  add_tree(dir, kTop);
  if (!s.calls.empty()) add(Kind::kSyncAll, "was there", kTop);
  watching = true;
}

}  // namespace

void record(const std::string& dir) {
  watch(dir, 0, -1);
}

std::vector<Call> recording_ends() {
  watching = false;
  std::lock_guard lock(state().mutex);
  return std::move(state().calls);
}

void note(const std::string& text) {
  if (!watching) return;
  std::lock_guard lock(state().mutex);
  if (state().notes >= 0) {
    const std::string line = text + "\n";
    [[maybe_unused]] const long written =
        ::syscall(SYS_write, state().notes, line.data(), line.size());
    return;
  }
  add(Kind::kNote, "", 0);
  state().calls.back().name = text;
}

void kill_before(const std::string& dir, uint64_t number, int notes) {
  watch(dir, number, notes);
}

void refuse_unnamed_files(bool refuse) {
  std::lock_guard lock(state().mutex);
  state().refuse_unnamed = refuse;
}

}  // namespace wp::crash

// -------------------------------------------------------------------------- instead of libc's

// Under names of their own, so that what the headers say of the real ones need not be repeated.
#define WP_INSTEAD_OF(name) __asm__(#name)

extern "C" {

int wp_open(const char* path, int flags, ...) WP_INSTEAD_OF(open);
int wp_open64(const char* path, int flags, ...) WP_INSTEAD_OF(open64);
int wp_openat(int at, const char* path, int flags, ...) WP_INSTEAD_OF(openat);
int wp_openat64(int at, const char* path, int flags, ...) WP_INSTEAD_OF(openat64);
ssize_t wp_write(int fd, const void* data, size_t size) WP_INSTEAD_OF(write);
ssize_t wp_pwrite(int fd, const void* data, size_t size, off_t offset) WP_INSTEAD_OF(pwrite);
ssize_t wp_pwrite64(int fd, const void* data, size_t size, off_t offset) WP_INSTEAD_OF(pwrite64);
int wp_ftruncate(int fd, off_t size) WP_INSTEAD_OF(ftruncate);
int wp_ftruncate64(int fd, off_t size) WP_INSTEAD_OF(ftruncate64);
int wp_fsync(int fd) WP_INSTEAD_OF(fsync);
int wp_fdatasync(int fd) WP_INSTEAD_OF(fdatasync);
int wp_syncfs(int fd) WP_INSTEAD_OF(syncfs);
int wp_mkdir(const char* path, mode_t mode) WP_INSTEAD_OF(mkdir);
int wp_mkdirat(int at, const char* path, mode_t mode) WP_INSTEAD_OF(mkdirat);
int wp_linkat(int from_at, const char* from, int at, const char* path, int flags)
    WP_INSTEAD_OF(linkat);
int wp_unlink(const char* path) WP_INSTEAD_OF(unlink);
int wp_rmdir(const char* path) WP_INSTEAD_OF(rmdir);
int wp_unlinkat(int at, const char* path, int flags) WP_INSTEAD_OF(unlinkat);

#define WP_MODE(last)                           \
  va_list values;                               \
  va_start(values, last);                       \
  const mode_t mode = va_arg(values, unsigned); \
  va_end(values)

int wp_open(const char* path, int flags, ...) {
  WP_MODE(flags);
  return wp::crash::open_at(AT_FDCWD, path, flags, mode);
}
int wp_open64(const char* path, int flags, ...) {
  WP_MODE(flags);
  return wp::crash::open_at(AT_FDCWD, path, flags, mode);
}
int wp_openat(int at, const char* path, int flags, ...) {
  WP_MODE(flags);
  return wp::crash::open_at(at, path, flags, mode);
}
int wp_openat64(int at, const char* path, int flags, ...) {
  WP_MODE(flags);
  return wp::crash::open_at(at, path, flags, mode);
}
ssize_t wp_write(int fd, const void* data, size_t size) {
  return wp::crash::write_at("write", fd, data, size, -1);
}
ssize_t wp_pwrite(int fd, const void* data, size_t size, off_t offset) {
  return wp::crash::write_at("pwrite", fd, data, size, offset);
}
ssize_t wp_pwrite64(int fd, const void* data, size_t size, off_t offset) {
  return wp::crash::write_at("pwrite", fd, data, size, offset);
}
int wp_ftruncate(int fd, off_t size) {
  return wp::crash::of_fd(wp::crash::Kind::kResize, "ftruncate", fd, static_cast<uint64_t>(size),
                          [=] { return ::syscall(SYS_ftruncate, fd, size); });
}
int wp_ftruncate64(int fd, off_t size) {
  return wp_ftruncate(fd, size);
}
// What a crash leaves is computed from the recording, and a kill loses nothing: so no disk has to
// be waited for, and it does not matter on which one this runs.
static long is_open(int fd) {
  return ::syscall(SYS_fcntl, fd, F_GETFD) < 0 ? -1 : 0;
}
int wp_fsync(int fd) {
  return wp::crash::of_fd(wp::crash::Kind::kSync, "fsync", fd, 0, [=] { return is_open(fd); });
}
int wp_fdatasync(int fd) {
  return wp::crash::of_fd(wp::crash::Kind::kSync, "fdatasync", fd, 0, [=] { return is_open(fd); });
}
int wp_syncfs(int fd) {
  return wp::crash::of_fd(wp::crash::Kind::kSyncAll, "syncfs", fd, 0, [=] { return is_open(fd); });
}
int wp_mkdir(const char* path, mode_t mode) {
  return wp::crash::make_dir(AT_FDCWD, path, mode);
}
int wp_mkdirat(int at, const char* path, mode_t mode) {
  return wp::crash::make_dir(at, path, mode);
}
int wp_linkat(int from_at, const char* from, int at, const char* path, int flags) {
  return wp::crash::link_at(from_at, from, at, path, flags);
}
int wp_unlink(const char* path) {
  return wp::crash::unlink_at(AT_FDCWD, path, 0);
}
int wp_rmdir(const char* path) {
  return wp::crash::unlink_at(AT_FDCWD, path, AT_REMOVEDIR);
}
int wp_unlinkat(int at, const char* path, int flags) {
  return wp::crash::unlink_at(at, path, flags);
}
}
