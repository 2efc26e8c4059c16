// The tables of the view's database, and how a file of an older version becomes one of the newest.
//
// Steps are only ever added at the end: step n makes version n out of version n - 1, and an empty
// file is version 0. A step may leave a view that is new and empty. The version stands in SQLite's
// user_version, and application_id says that the file is a view. A step that fails leaves the file
// as it was.
#ifndef WP_META_SQLITE_SCHEMA_H_
#define WP_META_SQLITE_SCHEMA_H_

#include <sqlite3.h>

#include <cstdint>
#include <span>
#include <string>

#include "wp.h"

namespace wp {

inline constexpr uint32_t kApplicationId = 0x77707631;  // "wpv1"

using SchemaSteps = std::span<const char* const>;  // SQL texts

SchemaSteps schema_steps();

// Takes the database from `version` to the one that the steps end at, in one transaction. After a
// failure nothing has changed. The path is for its message.
Status migrate(sqlite3* db, const std::string& path, SchemaSteps steps, uint32_t version);

}  // namespace wp

#endif  // WP_META_SQLITE_SCHEMA_H_
