// What SQLite's errors mean to the caller of a view.
#include "meta_sqlite/sqlite_status.h"

#include <cerrno>
#include <system_error>

namespace wp {
namespace {

std::string os_text(int error) {
  return error == 0 ? std::string() : " (" + std::generic_category().message(error) + ")";
}

Status make(Code code, std::string_view tried, const std::string& path, std::string_view what) {
  std::string message(tried);
  message += " the view " + (path.empty() ? "in memory" : path) + ": ";
  message += what;
  return Status(code, std::move(message));
}

Status no_space(std::string_view tried, const std::string& path) {
  return make(Code::kNoSpace, tried, path,
              "disk is full; free space, the log goes on without it meanwhile");
}

Status denied(std::string_view tried, const std::string& path, int error) {
  return make(Code::kDenied, tried, path,
              "not permitted" + os_text(error) +
                  "; make the file and its directory writable, or choose another meta_path");
}

Status unavailable(std::string_view tried, const std::string& path, std::string_view what,
                   int error) {
  return make(
      Code::kUnavailable, tried, path,
      std::string(what) + os_text(error) + "; see that the directory exists and the disk is sound");
}

}  // namespace

Status errno_status(std::string_view tried, const std::string& path, int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return no_space(tried, path);
    case EACCES:
    case EPERM:
    case EROFS:
      return denied(tried, path, error);
    default:
      return unavailable(tried, path, "the operating system failed", error);
  }
}

Status corrupt_status(std::string_view tried, const std::string& path, std::string_view what) {
  return make(Code::kCorrupt, tried, path,
              std::string(what) + "; it is only a cache, build it anew from the store (rebuild=1)");
}

Status sqlite_status(std::string_view tried, const std::string& path, sqlite3* db, int rc) {
  const int error = db == nullptr ? 0 : sqlite3_system_errno(db);
  switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return corrupt_status(tried, path, sqlite3_errstr(rc));
    case SQLITE_FULL:
      return no_space(tried, path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return denied(tried, path, error);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return make(Code::kBusy, tried, path,
                  "another process has it open; end that one first, or choose another meta_path");
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
      if (rc == SQLITE_IOERR_DATA || rc == SQLITE_IOERR_CORRUPTFS) {
        return corrupt_status(tried, path, "a page of the file does not match its sum");
      }
      if (error != 0 && errno_status(tried, path, error).code() != Code::kUnavailable) {
        return errno_status(tried, path, error);
      }
      return unavailable(tried, path, sqlite3_errstr(rc), error);
    case SQLITE_NOMEM:
      return unavailable(tried, path, "out of memory", 0);
    default:
      return make(
          Code::kInternal, tried, path,
          "SQLite says: " + std::string(db == nullptr ? sqlite3_errstr(rc) : sqlite3_errmsg(db)) +
              " (" + std::to_string(rc) + "); please report it");
  }
}

}  // namespace wp
