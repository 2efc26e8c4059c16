// What the tests of the log share: a place for a root of each kind, and short ways to fill it, to
// read it, and to count what was asked of the store.
#ifndef WP_TESTS_TEST_ROOT_H_
#define WP_TESTS_TEST_ROOT_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/s3_objects.h"
#include "tests/sim_store.h"
#include "wp.h"

namespace wp {

enum class RootKind : uint8_t { kMemory, kDirectory, kS3 };

// Runs the test case once for each kind of root (doctest subcases): in memory and in a directory,
// or, where the environment names a server, in its bucket alone.
RootKind each_root();

// An empty place, removed at the end. Objects can be looked at and damaged behind wp's back.
class TestRoot {
 public:
  explicit TestRoot(RootKind kind);
  ~TestRoot();
  TestRoot(const TestRoot&) = delete;
  TestRoot& operator=(const TestRoot&) = delete;

  RootKind kind() const { return kind_; }
  const std::string& url() const { return url_; }
  const std::string& directory() const { return directory_; }  // empty for others
  // Defaults, except that no test waits for a disk to sync.
  Options options() const;
  std::unique_ptr<Wal> open() const { return open(options()); }
  std::unique_ptr<Wal> open(const Options& options) const;  // REQUIREs success

  std::vector<std::string> keys() const;  // of objects, sorted
  std::vector<std::byte> bytes(const std::string& key) const;
  void put(const std::string& key, const std::vector<std::byte>& bytes) const;  // overwrites
  void erase(const std::string& key) const;
  void copy_objects_to(const TestRoot& other) const;  // replaces what is there
  // The view's files: none for memory; in a bucket only of what was opened here.
  void forget_view() const;
  void copy_view_to(const TestRoot& other) const;

 private:
  RootKind kind_;
  std::string name_, url_, directory_;
  std::unique_ptr<store_test::S3Objects> s3_;
  mutable std::string s3_view_;  // its path, once it is known
};

// A directory that is removed at the end.
class TestDirectory {
 public:
  TestDirectory();
  ~TestDirectory();
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Entries, checked to be dense from where they start. A failure to read is a failed test.
std::vector<Entry> read_entries(const Log& log, From from = From::first());
std::vector<std::string> read_texts(const Log& log, From from = From::first());
Log log_of(Wal& wal, std::string_view name);  // REQUIREs success
Log log_of(const Site& site, std::string_view name);
Lsn append_text(Log& log, std::string_view text);  // durably; REQUIREs success
void require_ok(const Status& status);
std::vector<std::string> texts(std::string_view prefix, size_t count);  // "a1", "a2", ...
// Bytes that neither repeat nor compress.
std::string noise(uint64_t seed, size_t bytes);

uint64_t requests_of(const Stats& stats, std::string_view operation = "",
                     std::string_view cause = "");

// Is it this code? The message goes into the test's output if not.
#define CHECK_CODE(status_expression, expected)                                 \
  do {                                                                          \
    const ::wp::Status status_checked = ::wp::status_of(status_expression);     \
    INFO(status_checked.to_string());                                           \
    CHECK(::wp::code_name(status_checked.code()) == ::wp::code_name(expected)); \
  } while (false)
inline Status status_of(const Status& status) {
  return status;
}
template <class T>
Status status_of(const Result<T>& result) {
  return result.status();
}

}  // namespace wp

#endif  // WP_TESTS_TEST_ROOT_H_
