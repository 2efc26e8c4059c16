// One SQLite file with one connection.
#include "meta_sqlite/database.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>

#include "meta_sqlite/fork_locks.h"
#include "meta_sqlite/sqlite_status.h"

namespace wp {
namespace {

// A file that was not closed is looked through at opening up to this size, which takes a fraction
// of a second; beyond it the sums of pages and rows tell of damage as it is met.
constexpr int64_t kQuickCheckBytesMax = 64 << 20;
// One that was closed, up to this: it takes some milliseconds.
constexpr int64_t kCleanCheckBytesMax = 1 << 20;
// Free pages are given back when they are more than this and more than a quarter of the file.
constexpr int64_t kFreePagesMin = 64;
constexpr int kFreePagesPerShrink = 256;

#define WP_HEAD_COLUMNS                                                                        \
  "root_id, last_epoch, last_owner, last_seq, last_digest, next_epoch, next_owner, next_seq, " \
  "log_id_next, slots, stored_bytes, logs, sum"
#define WP_LOG_COLUMNS \
  "id, name, lsn_first, lsn_next, bytes_begin, bytes_end, time_last_ms, settings, sum"
#define WP_RUN_COLUMNS \
  "log, lsn_first, count, epoch, seq, bytes_begin, bytes, time_first_ms, time_span_ms, sum"
#define WP_EPOCH_COLUMNS "epoch, owner, ended, closed, fence, sum"
#define WP_SLOT_COLUMNS "epoch, seq, bytes, entries, dead, sum"
#define WP_NOTE_COLUMNS "name, value, sum"

struct SqlText {
  Sql which;
  const char* text;
};

constexpr SqlText kTexts[] = {
    {Sql::kBegin, "BEGIN IMMEDIATE"},
    {Sql::kCommit, "COMMIT"},
    {Sql::kRollback, "ROLLBACK"},
    {Sql::kFreePages, "PRAGMA freelist_count"},
    {Sql::kPages, "PRAGMA page_count"},
    {Sql::kHead, "SELECT " WP_HEAD_COLUMNS " FROM meta WHERE id = 1"},
    {Sql::kHeadPut, "INSERT OR REPLACE INTO meta(id, " WP_HEAD_COLUMNS
                    ", clean) VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"},
    {Sql::kMarkClean, "UPDATE meta SET clean = 1"},
    {Sql::kMarkUnclean, "UPDATE meta SET clean = 0"},
    {Sql::kLogByName, "SELECT " WP_LOG_COLUMNS " FROM logs WHERE name = ?"},
    {Sql::kLogById, "SELECT " WP_LOG_COLUMNS " FROM logs WHERE id = ?"},
    {Sql::kLogsAfter, "SELECT " WP_LOG_COLUMNS " FROM logs WHERE name > ? ORDER BY name LIMIT ?"},
    // The index of names is left alone where the name stays, which is nearly always.
    {Sql::kLogUpdate,
     "UPDATE logs SET lsn_first = ?3, lsn_next = ?4, bytes_begin = ?5, bytes_end = ?6, "
     "time_last_ms = ?7, settings = ?8, sum = ?9 WHERE id = ?1 AND name = ?2"},
    {Sql::kLogPut,
     "INSERT INTO logs(" WP_LOG_COLUMNS
     ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET name = excluded.name, "
     "lsn_first = excluded.lsn_first, lsn_next = excluded.lsn_next, "
     "bytes_begin = excluded.bytes_begin, bytes_end = excluded.bytes_end, "
     "time_last_ms = excluded.time_last_ms, settings = excluded.settings, sum = excluded.sum"},
    {Sql::kLogDelete, "DELETE FROM logs WHERE id = ?"},
    {Sql::kLogsWithSettings, "SELECT " WP_LOG_COLUMNS " FROM logs INDEXED BY logs_with_settings "
                             "WHERE settings != x'' AND id > ? ORDER BY id LIMIT ?"},
    {Sql::kRunBefore,
     "SELECT " WP_RUN_COLUMNS
     " FROM runs WHERE log = ? AND lsn_first <= ? ORDER BY lsn_first DESC LIMIT 1"},
    {Sql::kRunsFrom, "SELECT " WP_RUN_COLUMNS
                     " FROM runs WHERE log = ? AND lsn_first >= ? ORDER BY lsn_first LIMIT ?"},
    {Sql::kRunPut,
     "INSERT OR REPLACE INTO runs(" WP_RUN_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
    {Sql::kRunsTrim,
     "DELETE FROM runs WHERE log = ?1 AND lsn_first < ?2 AND lsn_first + count <= ?2"},
    {Sql::kRunsWithin,
     "DELETE FROM runs WHERE log = ?1 AND lsn_first >= ?2 AND lsn_first < ?3 AND "
     "lsn_first + count <= ?3"},
    {Sql::kRunsDelete, "DELETE FROM runs WHERE log = ?"},
    {Sql::kRunsIn,
     "SELECT " WP_RUN_COLUMNS " FROM runs INDEXED BY runs_by_object WHERE epoch = ? AND seq = ? "
     "AND (log, lsn_first) >= (?, ?) ORDER BY log, lsn_first LIMIT ?"},
    {Sql::kEpoch, "SELECT " WP_EPOCH_COLUMNS " FROM epochs WHERE epoch = ?"},
    {Sql::kEpochs, "SELECT " WP_EPOCH_COLUMNS " FROM epochs ORDER BY epoch"},
    {Sql::kEpochPut,
     "INSERT OR REPLACE INTO epochs(" WP_EPOCH_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?)"},
    {Sql::kSlotsFrom, "SELECT " WP_SLOT_COLUMNS
                      " FROM slots WHERE (epoch, seq) >= (?, ?) ORDER BY epoch, seq LIMIT ?"},
    {Sql::kSlotPut, "INSERT OR REPLACE INTO slots(" WP_SLOT_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?)"},
    {Sql::kSlotDelete, "DELETE FROM slots WHERE epoch = ? AND seq = ?"},
    {Sql::kSlotsUnused,
     "SELECT " WP_SLOT_COLUMNS " FROM slots WHERE (epoch, seq) >= (?, ?) AND dead = 0 AND NOT "
     "EXISTS(SELECT 1 FROM runs INDEXED BY runs_by_object WHERE runs.epoch = slots.epoch AND "
     "runs.seq = slots.seq) ORDER BY epoch, seq LIMIT ?"},
    {Sql::kSlotsDead,
     "SELECT " WP_SLOT_COLUMNS " FROM slots INDEXED BY slots_dead WHERE dead != 0 AND dead <= ? "
     "ORDER BY epoch, seq LIMIT ?"},
    {Sql::kNote, "SELECT " WP_NOTE_COLUMNS " FROM notes WHERE name = ?"},
    {Sql::kNotePut, "INSERT OR REPLACE INTO notes(" WP_NOTE_COLUMNS ") VALUES(?, ?, ?)"},
};

constexpr bool in_order() {
  for (size_t i = 0; i < std::size(kTexts); ++i) {
    if (static_cast<size_t>(kTexts[i].which) != i) return false;
  }
  return std::size(kTexts) == static_cast<size_t>(Sql::kCount);
}
static_assert(in_order());

// SQLite gives a meaning to ":memory:" and, as some systems build it, to "file:..."; here a path is
// a path.
std::string sqlite_path(const std::string& path) {
  if (path.empty()) return ":memory:";
  return path.front() == '/' ? path : "./" + path;
}

uint32_t big_endian(const unsigned char* at) {
  return static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 |
         static_cast<uint32_t>(at[2]) << 8 | at[3];
}

// True if the file is an SQLite database that nobody here made: somebody gave the wrong path, and
// emptying it would cost them their data. Both marks must be missing, so that damage to one of them
// does not turn a view into a stranger. It reads through SQLite's own descriptor: to close another
// one would drop the locks that this process holds on the file.
bool is_foreign(sqlite3* db) {
  static constexpr char kMagic[] = "SQLite format 3";
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK) return false;
  unsigned char header[100];
  if (file->pMethods->xRead(file, header, sizeof header, 0) != SQLITE_OK) return false;
  return std::memcmp(header, kMagic, sizeof kMagic) == 0 && header[20] != kPageSumBytes &&
         big_endian(header + 68) != kApplicationId;
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

// Why no file can be made there; 0: not for want of a permission. SQLite goes on to read what it
// may not make, and then says only that it is not there.
int creation_error(const std::string& path) {
  if (::faccessat(AT_FDCWD, directory_of(path).c_str(), W_OK | X_OK, AT_EACCESS) == 0) return 0;
  return errno == EACCES || errno == EROFS ? errno : 0;
}

// What was removed there stays so if the machine loses power. 0, or errno.
int sync_directory_of(const std::string& path) {
  const int fd = ::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno == EACCES ? 0 : errno;  // as SQLite itself has it
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error == EINVAL ? 0 : error;  // not every file system syncs directories
}

Status foreign_status(const std::string& path) {
  return Status(Code::kInvalid, "open the view " + path +
                                    ": it is the SQLite database of another program and was left "
                                    "alone; choose another meta_path");
}

}  // namespace

Database::Database(const std::string& path, const DatabaseSetup& setup)
    : path_(path), setup_(setup) {}

Database::~Database() {
  disconnect();
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path,
                                                 const DatabaseSetup& setup) {
  if (path.find('\0') != std::string::npos) {
    return Status(Code::kInvalid, "open the view: the path holds a zero byte; correct meta_path");
  }
  hold_sqlite_locks_over_fork();
  std::unique_ptr<Database> database(new Database(path, setup));
  if (Status status = database->connect(); !status.ok()) return status;
  return database;
}

template <class Take>
int Database::first_row(const char* sql, Take take) const {
  sqlite3_stmt* row = nullptr;
  int rc = sqlite3_prepare_v2(db_, sql, -1, &row, nullptr);
  if (rc == SQLITE_OK) rc = sqlite3_step(row);
  if (rc == SQLITE_ROW) take(row);
  sqlite3_finalize(row);
  return rc;
}

Status Database::connect() {
  sqlite3_vfs* parent = setup_.vfs != nullptr ? setup_.vfs : sqlite3_vfs_find(nullptr);
  if (!path_.empty()) vfs_ = std::make_unique<PageSumVfs>(parent);
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                         SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  const int rc =
      sqlite3_open_v2(sqlite_path(path_).c_str(), &db_, kFlags, vfs_ ? vfs_->name() : nullptr);
  if (rc != SQLITE_OK) {
    const int error = path_.empty() ? 0 : creation_error(path_);
    return error != 0 ? errno_status("open", path_, error) : sqlite_status("open", path_, db_, rc);
  }
  if (!path_.empty() && is_foreign(db_)) return foreign_status(path_);
  // Falling back to reading only is SQLite's habit; a view that cannot be updated is no use.
  if (sqlite3_db_readonly(db_, "main") == 1) {
    return sqlite_status("open", path_, nullptr, SQLITE_READONLY);
  }
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  // None of these touches the file. The exclusive lock is what lets a write-ahead log do without
  // shared memory, so it comes first.
  if (execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA busy_timeout = 0; PRAGMA mmap_size = 0;"
              "PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;"
              "PRAGMA secure_delete = OFF; PRAGMA journal_size_limit = 4194304;"
              "PRAGMA synchronous = NORMAL") != SQLITE_OK) {
    return error("open");
  }
  int pages_rc = 0, version_rc = 0;
  const auto version = static_cast<uint32_t>(number("PRAGMA user_version", &version_rc));
  if (version_rc != SQLITE_ROW) return sqlite_status("open", path_, db_, version_rc);
  if (version > setup_.steps.size()) {
    return Status(Code::kUnsupported,
                  "open the view " + path_ + ": it is of version " + std::to_string(version) +
                      " and this program knows up to " + std::to_string(setup_.steps.size()) +
                      "; upgrade wp, choose another meta_path, or build it anew (rebuild=1)");
  }
  const bool is_empty = number("PRAGMA page_count", &pages_rc) == 0 && pages_rc == SQLITE_ROW;
  if (pages_rc != SQLITE_ROW) return sqlite_status("open", path_, db_, pages_rc);
  if (is_empty) {
    if (Status status = configure_new(); !status.ok()) return status;
  }
  if (Status status = use_wal(); !status.ok()) return status;
  if (version < setup_.steps.size()) {
    if (Status status = migrate(db_, path_, setup_.steps, version); !status.ok()) {
      const bool was_whole = version != 0 || is_empty || status.code() != Code::kInternal;
      return was_whole ? status : corrupt_status("open", path_, "it has tables, and no version");
    }
  }
  return is_empty ? Status() : check_integrity();
}

Status Database::configure_new() {
  if (execute("PRAGMA page_size = 4096") != SQLITE_OK) return error("create");
  static_assert(kPageBytes == 4096);
  int reserve = path_.empty() ? 0 : kPageSumBytes;
  const int rc = sqlite3_file_control(db_, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
  if (rc != SQLITE_OK) return sqlite_status("create", path_, db_, rc);
  if (execute("PRAGMA auto_vacuum = INCREMENTAL") != SQLITE_OK) return error("create");
  return {};
}

Status Database::use_wal() {
  std::string mode;
  const int rc = first_row("PRAGMA journal_mode = WAL", [&mode](sqlite3_stmt* row) {
    mode = reinterpret_cast<const char*>(sqlite3_column_text(row, 0));
  });
  if (rc != SQLITE_ROW) return sqlite_status("open", path_, db_, rc);
  if (path_.empty() || mode == "wal") return {};
  return Status(Code::kUnsupported, "open the view " + path_ +
                                        ": this SQLite has no write-ahead log; use another build");
}

// After a crash the disk may have lost or torn more than SQLite's rules allow for. And what is
// small is quickly looked at in any case.
Status Database::check_integrity() {
  int rc = 0;
  const bool clean = number("SELECT clean FROM meta WHERE id = 1", &rc) == 1 && rc == SQLITE_ROW;
  // The version was right and the table is not there: this was never a whole view.
  if (rc == SQLITE_ERROR) return corrupt_status("open", path_, "the tables are missing");
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return sqlite_status("open", path_, db_, rc);
  if (!setup_.look_through) return {};
  const int64_t pages = number("PRAGMA page_count", &rc);
  if (rc != SQLITE_ROW) return sqlite_status("open", path_, db_, rc);
  if (pages * kPageBytes > (clean ? kCleanCheckBytesMax : kQuickCheckBytesMax)) return {};
  std::string what;
  rc = first_row("PRAGMA quick_check(1)", [&what](sqlite3_stmt* row) {
    what = reinterpret_cast<const char*>(sqlite3_column_text(row, 0));
  });
  if (rc != SQLITE_ROW) return sqlite_status("check", path_, db_, rc);
  std::replace(what.begin(), what.end(), '\n', ' ');
  return what == "ok" ? Status() : corrupt_status("check", path_, what);
}

sqlite3_stmt* Database::statement(Sql which) {
  sqlite3_stmt*& statement = statements_[static_cast<size_t>(which)];
  if (statement == nullptr) {
    sqlite3_prepare_v3(db_, kTexts[static_cast<size_t>(which)].text, -1, SQLITE_PREPARE_PERSISTENT,
                       &statement, nullptr);
  }
  return statement;
}

Status Database::run(Sql which, std::string_view tried) {
  sqlite3_stmt* s = statement(which);
  if (s == nullptr) return error(tried);
  const int rc = sqlite3_step(s);
  const Status status = rc == SQLITE_DONE ? Status() : sqlite_status(tried, path_, db_, rc);
  sqlite3_reset(s);
  return status;
}

void Database::roll_back() {
  if (sqlite3_get_autocommit(db_) != 0) return;  // some errors roll back by themselves
  // Nothing is left to do where this fails: the next transaction will meet the same trouble.
  const Status ignored = run(Sql::kRollback, "roll back");
  static_cast<void>(ignored);
}

void Database::shrink() {
  int rc = 0;
  const auto one = [&](Sql which) -> int64_t {
    sqlite3_stmt* s = statement(which);
    if (s == nullptr) return 0;
    rc = sqlite3_step(s);
    const int64_t value = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    return value;
  };
  const int64_t free_pages = one(Sql::kFreePages);
  if (free_pages <= kFreePagesMin || free_pages <= one(Sql::kPages) / 4) return;
  const std::string sql = "PRAGMA incremental_vacuum(" + std::to_string(kFreePagesPerShrink) + ")";
  // A failure changes nothing, and the next update tries again.
  execute(sql.c_str());
}

Status Database::error(std::string_view tried) {
  const int rc = sqlite3_extended_errcode(db_);
  // What this program says is right, so it is not said of the tables that it made.
  if (rc == SQLITE_ERROR) {
    return corrupt_status(
        tried, path_,
        "its tables are not of its version (" + std::string(sqlite3_errmsg(db_)) + ")");
  }
  return sqlite_status(tried, path_, db_, rc);
}

Status Database::close() {
  Status status;
  if (!path_.empty()) {
    status = run(Sql::kMarkClean, "close");
    if (status.ok()) {
      const int rc =
          sqlite3_wal_checkpoint_v2(db_, "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
      if (rc != SQLITE_OK) status = sqlite_status("close", path_, db_, rc);
    }
    // Everything is in the file; now SQLite may look that the log is empty and remove it.
    if (status.ok()) sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  }
  disconnect();
  return status;
}

void Database::disconnect() {
  for (sqlite3_stmt*& statement : statements_) {
    sqlite3_finalize(statement);
    statement = nullptr;
  }
  sqlite3_close(db_);
  db_ = nullptr;
}

Status Database::remove(const std::string& path) {
  // The database first, and for certain: SQLite discards a log whose database is gone, while a
  // database without its log might be half of two states.
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    if (::unlink((path + suffix).c_str()) != 0 && errno != ENOENT) {
      return errno_status("remove", path + suffix, errno);
    }
    if (*suffix == '\0') {  // also if an earlier try removed it, and failed here
      if (const int error = sync_directory_of(path); error != 0) {
        return errno_status("sync the directory of", path, error);
      }
    }
  }
  return {};
}

int Database::execute(const char* sql) const {
  return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
}

int64_t Database::number(const char* sql, int* rc) const {
  int64_t value = 0;
  *rc = first_row(sql, [&value](sqlite3_stmt* row) { value = sqlite3_column_int64(row, 0); });
  return value;
}

}  // namespace wp
