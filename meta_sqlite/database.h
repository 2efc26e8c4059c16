// One SQLite file with one connection: opening it in the way the view needs, its version, whether
// it was closed cleanly, its prepared statements, and its removal.
//
// Promises: a file of a newer version, and a database of another program, are never written to. A
// transaction that failed is rolled back and the connection is good for the next one. What is not
// closed with close() is left as a crash would leave it.
// It takes no lock of its own: one thread at a time.
#ifndef WP_META_SQLITE_DATABASE_H_
#define WP_META_SQLITE_DATABASE_H_

#include <sqlite3.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "meta_sqlite/page_sums.h"
#include "meta_sqlite/schema.h"
#include "wp.h"

namespace wp {

// Statements that are prepared once; their texts are in database.cpp, columns in the order of
// rows.cpp.
enum class Sql : uint8_t {
  kBegin,
  kCommit,
  kRollback,
  kFreePages,
  kPages,
  kHead,
  kHeadPut,
  kMarkClean,
  kMarkUnclean,
  kLogByName,
  kLogById,
  kLogsAfter,
  kLogUpdate,
  kLogPut,
  kLogDelete,
  kLogsWithSettings,
  kRunBefore,
  kRunsFrom,
  kRunPut,
  kRunsTrim,
  kRunsWithin,
  kRunsDelete,
  kRunsIn,
  kEpoch,
  kEpochs,
  kEpochPut,
  kSlotsFrom,
  kSlotPut,
  kSlotDelete,
  kSlotsUnused,
  kSlotsDead,
  kNote,
  kNotePut,
  kCount,
};

// How a database is opened; the tests have their own.
struct DatabaseSetup {
  SchemaSteps steps = schema_steps();
  sqlite3_vfs* vfs = nullptr;  // null: SQLite's default
  bool look_through = true;    // look for damage at once, as far as that is quick
};

class Database {
 public:
  // kUnsupported: of a newer version. kInvalid: of another program. kCorrupt: damaged, or no
  // database. kBusy, kDenied, kNoSpace, kUnavailable: not now.
  static Result<std::unique_ptr<Database>> open(const std::string& path,
                                                const DatabaseSetup& setup);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Null where it cannot be prepared: error() then says why.
  sqlite3_stmt* statement(Sql which);
  // Runs a statement that has no parameters and gives no row.
  Status run(Sql which, std::string_view tried);
  Status begin() { return run(Sql::kBegin, "update"); }
  Status commit() { return run(Sql::kCommit, "update"); }
  void roll_back();
  // Rows that the last INSERT, UPDATE or DELETE touched.
  int changes() const { return sqlite3_changes(db_); }
  // Gives some free pages back to the file system, a bounded number a time, if there are many.
  void shrink();
  // What the last call of SQLite failed with.
  Status error(std::string_view tried);

  // Moves everything into the database file, marks it and gives it back, also on failure.
  Status close();

  // Removes the file, whatever it holds, and what SQLite keeps beside it. No connection may be
  // open.
  static Status remove(const std::string& path);

 private:
  Database(const std::string& path, const DatabaseSetup& setup);

  Status connect();
  Status configure_new();
  Status use_wal();
  Status check_integrity();
  int execute(const char* sql) const;
  // Runs a statement up to its first row, and takes that. SQLITE_ROW where there was one.
  template <class Take>
  int first_row(const char* sql, Take take) const;
  // The first column of the first row; `rc` is SQLITE_ROW where there is one.
  int64_t number(const char* sql, int* rc) const;
  void disconnect();

  const std::string path_;
  const DatabaseSetup setup_;
  std::unique_ptr<PageSumVfs> vfs_;
  sqlite3* db_ = nullptr;
  std::array<sqlite3_stmt*, static_cast<size_t>(Sql::kCount)> statements_{};
};

}  // namespace wp

#endif  // WP_META_SQLITE_DATABASE_H_
