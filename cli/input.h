// Entries from a file or standard input, in constant RAM: one buffer, which grows only for an entry
// that is larger, and never past the largest entry that is allowed. A request to stop ends the
// input after what was read.
#ifndef WP_CLI_INPUT_H_
#define WP_CLI_INPUT_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace wp::cli {

class EntryInput {
 public:
  enum class Found : uint8_t { kEntry, kEnd, kTooLong, kError };

  // The descriptor stays the caller's. `stop_fd` is readable once the input is to end. Without a
  // separator all of the input is one entry, or none if it is empty.
  EntryInput(int fd, int stop_fd, std::optional<char> separator, uint64_t entry_bytes_max);

  // The entry is valid until the next call.
  Found next(std::string_view* entry);

  uint64_t entries() const { return entries_; }  // found so far: the number of this line
  uint64_t bytes() const { return bytes_; }      // read so far
  int error() const { return error_; }           // errno after kError

 private:
  enum class More : uint8_t { kRead, kEnd, kError };
  bool take_line(std::string_view* entry);
  More read_more();
  bool make_room();
  void finish_line();

  const int fd_, stop_fd_;
  const std::optional<char> separator_;
  const uint64_t entry_bytes_max_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // what was read and not given out
  size_t searched_ = 0;         // up to there is no separator
  bool ended_ = false;
  uint64_t entries_ = 0, bytes_ = 0;
  int error_ = 0;
};

}  // namespace wp::cli

#endif  // WP_CLI_INPUT_H_
