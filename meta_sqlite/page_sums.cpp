// A sum in every page of a database file: a shim between SQLite and its VFS.
#include "meta_sqlite/page_sums.h"

#include <cstddef>
#include <cstring>

#include "engine/bytes.h"

namespace wp {
namespace {

constexpr int kBodyBytes = kPageBytes - kPageSumBytes;
// Smaller pieces are parts of the file's header. Nothing is decided by them that page 1, which is
// then read whole, does not decide again. No page is this small.
constexpr int kPieceBytesMax = 511;

// The object that SQLite knows; the file of the parent VFS lies right behind it.
struct alignas(std::max_align_t) SumFile {
  sqlite3_file base;
};

sqlite3_file* real(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<SumFile*>(file) + 1);
}

// The number is part of it, so that a page is also wrong when it stands where another belongs.
uint32_t page_sum(const std::byte* page, sqlite3_int64 offset) {
  const auto number = static_cast<uint32_t>(offset / kPageBytes) + 1;
  return crc32c({page, static_cast<size_t>(kBodyBytes)}) ^ number;
}

bool is_page(int count, sqlite3_int64 offset) {
  return count == kPageBytes && offset % kPageBytes == 0;
}

int read_checked(sqlite3_file* file, void* out, int count, sqlite3_int64 offset) {
  const int rc = real(file)->pMethods->xRead(real(file), out, count, offset);
  if (count <= kPieceBytesMax) return rc;
  if (rc == SQLITE_IOERR_SHORT_READ) {
    // SQLite takes what is missing for zeros. That is right for a file that is empty, and
    // otherwise a page that the file has lost.
    sqlite3_int64 size = 0;
    const int size_rc = real(file)->pMethods->xFileSize(real(file), &size);
    return size_rc == SQLITE_OK && size == 0 ? rc : SQLITE_IOERR_DATA;
  }
  if (rc != SQLITE_OK) return rc;
  if (!is_page(count, offset)) return SQLITE_IOERR_DATA;
  const auto* page = static_cast<const std::byte*>(out);
  ByteParser stored({page + kBodyBytes, static_cast<size_t>(kPageSumBytes)});
  return stored.fixed<uint32_t>() == page_sum(page, offset) ? SQLITE_OK : SQLITE_IOERR_DATA;
}

int write_summed(sqlite3_file* file, const void* in, int count, sqlite3_int64 offset) {
  if (!is_page(count, offset)) return SQLITE_IOERR_WRITE;
  std::byte page[kPageBytes];
  std::memcpy(page, in, kBodyBytes);
  store_fixed(page + kBodyBytes, page_sum(page, offset));
  return real(file)->pMethods->xWrite(real(file), page, count, offset);
}

int close_file(sqlite3_file* file) {
  return real(file)->pMethods->xClose(real(file));
}
int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  return real(file)->pMethods->xTruncate(real(file), size);
}
int sync_file(sqlite3_file* file, int flags) {
  return real(file)->pMethods->xSync(real(file), flags);
}
int file_size(sqlite3_file* file, sqlite3_int64* size) {
  return real(file)->pMethods->xFileSize(real(file), size);
}
int lock_file(sqlite3_file* file, int level) {
  return real(file)->pMethods->xLock(real(file), level);
}
int unlock_file(sqlite3_file* file, int level) {
  return real(file)->pMethods->xUnlock(real(file), level);
}
int check_reserved_lock(sqlite3_file* file, int* out) {
  return real(file)->pMethods->xCheckReservedLock(real(file), out);
}
int control_file(sqlite3_file* file, int operation, void* argument) {
  return real(file)->pMethods->xFileControl(real(file), operation, argument);
}
int sector_size(sqlite3_file* file) {
  return real(file)->pMethods->xSectorSize(real(file));
}
int device_characteristics(sqlite3_file* file) {
  return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

// Version 1 of the interface: no memory-mapped reading, which would pass the sums by, and no shared
// memory, which an exclusive lock makes needless.
const sqlite3_io_methods kSumFileMethods = {
    1,
    close_file,
    read_checked,
    write_summed,
    truncate_file,
    sync_file,
    file_size,
    lock_file,
    unlock_file,
    check_reserved_lock,
    control_file,
    sector_size,
    device_characteristics,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

// A copy of the parent, of which only the opening of files differs: the parent's other functions
// are given this object in place of theirs, and find in it what they look for, pAppData.
PageSumVfs::PageSumVfs(sqlite3_vfs* parent)
    : vfs_(*parent),
      parent_(parent),
      name_("wp-page-sums-" + std::to_string(reinterpret_cast<uintptr_t>(this))) {
  vfs_.pNext = nullptr;
  vfs_.zName = name_.c_str();
  vfs_.szOsFile = static_cast<int>(sizeof(SumFile)) + parent->szOsFile;
  vfs_.xOpen = open_file;
  sqlite3_vfs_register(&vfs_, 0);
}

PageSumVfs::~PageSumVfs() {
  sqlite3_vfs_unregister(&vfs_);
}

int PageSumVfs::open_file(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
                          int* flags_out) {
  static_assert(std::is_standard_layout_v<PageSumVfs>);
  sqlite3_vfs* parent = reinterpret_cast<PageSumVfs*>(vfs)->parent_;
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0) {
    return parent->xOpen(parent, path, file, flags, flags_out);
  }
  file->pMethods = nullptr;  // SQLite closes only what has methods
  const int rc = parent->xOpen(parent, path, real(file), flags, flags_out);
  if (rc == SQLITE_OK) {
    file->pMethods = &kSumFileMethods;
  } else if (real(file)->pMethods != nullptr) {
    real(file)->pMethods->xClose(real(file));
  }
  return rc;
}

}  // namespace wp
