// What SQLite's errors mean to the caller of a view.
#ifndef WP_META_SQLITE_SQLITE_STATUS_H_
#define WP_META_SQLITE_SQLITE_STATUS_H_

#include <sqlite3.h>

#include <string>
#include <string_view>

#include "wp.h"

namespace wp {

// For a code that is not success. `tried` is put before "the view <path>": "update". The connection
// tells the details and may be null; it must not have been used since the failure.
Status sqlite_status(std::string_view tried, const std::string& path, sqlite3* db, int rc);

// The same for a call of the operating system that failed with this errno.
Status errno_status(std::string_view tried, const std::string& path, int error);

// Damage that SQLite does not notice.
Status corrupt_status(std::string_view tried, const std::string& path, std::string_view what);

}  // namespace wp

#endif  // WP_META_SQLITE_SQLITE_STATUS_H_
