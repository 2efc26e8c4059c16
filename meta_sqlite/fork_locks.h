// SQLite's own locks across fork().
#ifndef WP_META_SQLITE_FORK_LOCKS_H_
#define WP_META_SQLITE_FORK_LOCKS_H_

namespace wp {

// From the first call on a child of fork() can open databases of its own. Without it, the child of
// a program with threads might wait for ever for a lock that one of them held: SQLite takes one at
// each allocation.
void hold_sqlite_locks_over_fork();

}  // namespace wp

#endif  // WP_META_SQLITE_FORK_LOCKS_H_
