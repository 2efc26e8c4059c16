#include "meta_sqlite/fork_locks.h"

#include <pthread.h>
#include <sqlite3.h>

#include <iterator>

namespace wp {
namespace {

// Of the whole process, in the order in which SQLite takes one while it holds another.
constexpr int kLocks[] = {
    SQLITE_MUTEX_STATIC_OPEN, SQLITE_MUTEX_STATIC_MAIN, SQLITE_MUTEX_STATIC_VFS1,
    SQLITE_MUTEX_STATIC_LRU,  SQLITE_MUTEX_STATIC_PMEM, SQLITE_MUTEX_STATIC_PRNG,
    SQLITE_MUTEX_STATIC_MEM,
};

void take() {
  for (const int lock : kLocks) sqlite3_mutex_enter(sqlite3_mutex_alloc(lock));
}

void give() {
  for (auto lock = std::rbegin(kLocks); lock != std::rend(kLocks); ++lock) {
    sqlite3_mutex_leave(sqlite3_mutex_alloc(*lock));
  }
}

}  // namespace

void hold_sqlite_locks_over_fork() {
  [[maybe_unused]] static const int registered = [] {
    sqlite3_initialize();
    // Its first use takes the lock of PRNG and then that of MAIN: not beside a fork.
    unsigned char seeded = 0;
    sqlite3_randomness(sizeof seeded, &seeded);
    return pthread_atfork(take, give, give);
  }();
}

}  // namespace wp
