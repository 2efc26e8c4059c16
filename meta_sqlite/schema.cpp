// The tables of the view's database, and how a file of an older version becomes one of the newest.
#include "meta_sqlite/schema.h"

#include "meta_sqlite/sqlite_status.h"

namespace wp {
namespace {

// Every row has the sum of its other columns (rows.h), except that `clean` stands outside
// of it: it is set alone, when the file is closed. Unsigned numbers of 64 bits are kept as SQLite's
// signed ones of the same bits, which is why an owner may look negative. time_span_ms is
// time_last_ms - time_first_ms: two bytes on disk in place of six.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE meta(
  id INTEGER PRIMARY KEY CHECK(id = 1),
  root_id BLOB NOT NULL,
  last_epoch INTEGER NOT NULL, last_owner INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  last_digest BLOB NOT NULL,
  next_epoch INTEGER NOT NULL, next_owner INTEGER NOT NULL, next_seq INTEGER NOT NULL,
  log_id_next INTEGER NOT NULL,
  slots INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, logs INTEGER NOT NULL,
  sum INTEGER NOT NULL,
  clean INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE logs(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  lsn_first INTEGER NOT NULL, lsn_next INTEGER NOT NULL,
  bytes_begin INTEGER NOT NULL, bytes_end INTEGER NOT NULL,
  time_last_ms INTEGER NOT NULL,
  sum INTEGER NOT NULL
);
CREATE UNIQUE INDEX logs_by_name ON logs(name);
CREATE TABLE runs(
  log INTEGER NOT NULL, lsn_first INTEGER NOT NULL, count INTEGER NOT NULL,
  epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  bytes_begin INTEGER NOT NULL, bytes INTEGER NOT NULL,
  time_first_ms INTEGER NOT NULL, time_span_ms INTEGER NOT NULL,
  sum INTEGER NOT NULL,
  PRIMARY KEY(log, lsn_first)
) WITHOUT ROWID;
CREATE TABLE epochs(
  epoch INTEGER PRIMARY KEY,
  owner INTEGER NOT NULL, ended INTEGER NOT NULL, closed INTEGER NOT NULL, fence INTEGER NOT NULL,
  sum INTEGER NOT NULL
);
CREATE TABLE slots(
  epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  bytes INTEGER NOT NULL, entries INTEGER NOT NULL,
  sum INTEGER NOT NULL,
  PRIMARY KEY(epoch, seq)
) WITHOUT ROWID;
)sql";

// Facts about the store (View::note), by name.
constexpr const char* kVersion2 = R"sql(
CREATE TABLE notes(
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL,
  sum INTEGER NOT NULL
) WITHOUT ROWID;
)sql";

// Settings of logs, and what reclaiming asks for: the runs of an object, objects that are dead,
// logs with settings. The rows of an older view lack a part of that, so it starts anew from the
// bucket; what it noted about the store stays. (No table is dropped to make it anew: SQLite would
// move pages that a new file does not have yet, and those have no sums.)
constexpr const char* kVersion3 = R"sql(
DELETE FROM meta;
DELETE FROM logs;
DELETE FROM runs;
DELETE FROM epochs;
DELETE FROM slots;
ALTER TABLE logs ADD COLUMN settings BLOB NOT NULL DEFAULT x'';
CREATE INDEX logs_with_settings ON logs(id) WHERE settings != x'';
CREATE INDEX runs_by_object ON runs(epoch, seq);
ALTER TABLE slots ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;
CREATE INDEX slots_dead ON slots(epoch, seq) WHERE dead != 0;
)sql";

constexpr const char* kSteps[] = {kVersion1, kVersion2, kVersion3};

int run(sqlite3* db, const std::string& sql) {
  return sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
}

}  // namespace

SchemaSteps schema_steps() {
  return kSteps;
}

Status migrate(sqlite3* db, const std::string& path, SchemaSteps steps, uint32_t version) {
  int rc = run(db, "BEGIN IMMEDIATE");
  for (size_t i = version; rc == SQLITE_OK && i < steps.size(); ++i) rc = run(db, steps[i]);
  if (rc == SQLITE_OK) {
    rc = run(db, "PRAGMA application_id = " + std::to_string(kApplicationId) +
                     "; PRAGMA user_version = " + std::to_string(steps.size()) + "; COMMIT");
  }
  if (rc == SQLITE_OK) return {};
  Status status = sqlite_status(version == 0 ? "create" : "bring up to date", path, db, rc);
  // A rollback that has nothing to do, or fails as well, changes nothing about the answer.
  if (sqlite3_get_autocommit(db) == 0) run(db, "ROLLBACK");
  return status;
}

}  // namespace wp
