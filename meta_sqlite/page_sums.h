// A sum in every page of a database file. SQLite itself notices damage only where it makes no
// sense; a flipped bit in a count of cells or in an inner key makes rows vanish without a word, and
// no sum over a row finds a row that is not there. So the last bytes of each page, which SQLite
// leaves alone when told to reserve them, hold a CRC32C of the rest.
//
// Promises: a page read from the database file that is not, byte for byte, what was written there
// gives SQLITE_IOERR_DATA. Not covered: a whole page that is old (a write the disk lost), and what
// stands in the write-ahead log, which has sums of its own. The file stays an ordinary SQLite
// database that the sqlite3 tool can read; written by a program without these sums, it is damaged.
#ifndef WP_META_SQLITE_PAGE_SUMS_H_
#define WP_META_SQLITE_PAGE_SUMS_H_

#include <sqlite3.h>

#include <string>

namespace wp {

// The only page size this works with, and how much of it the creator of a file must reserve
// (SQLITE_FCNTL_RESERVE_BYTES). Neither can ever change: a program finds the version of a file's
// schema in page 1, and must be able to trust that page first.
inline constexpr int kPageBytes = 4096;
inline constexpr int kPageSumBytes = 4;

// SQLite's door to the operating system, with the sums put in and checked on the way. Registered
// under a name of its own while the object lives, which must be longer than any connection through
// it.
class PageSumVfs {
 public:
  explicit PageSumVfs(sqlite3_vfs* parent);
  ~PageSumVfs();
  PageSumVfs(const PageSumVfs&) = delete;
  PageSumVfs& operator=(const PageSumVfs&) = delete;

  const char* name() const { return name_.c_str(); }

 private:
  static int open_file(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
                       int* flags_out);

  sqlite3_vfs vfs_;
  sqlite3_vfs* const parent_;
  const std::string name_;
};

}  // namespace wp

#endif  // WP_META_SQLITE_PAGE_SUMS_H_
