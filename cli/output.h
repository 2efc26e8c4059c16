// Standard output: gathered in a buffer and written in large pieces. A failed write is remembered
// and nothing is written after it, so that a command looks once in a while, and at the end.
#ifndef WP_CLI_OUTPUT_H_
#define WP_CLI_OUTPUT_H_

#include <string>
#include <string_view>

namespace wp::cli {

class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view text);
  void put(char c) {
    if (buffer_.size() >= kBufferBytes) flush();
    buffer_ += c;
  }
  // For what is put together in place; call write("") or flush() now and then.
  std::string& buffer() { return buffer_; }
  bool flush();  // as ok()
  bool ok() const { return error_ == 0; }
  int error() const { return error_; }  // errno of the write that failed, 0: none

  static constexpr size_t kBufferBytes = size_t{256} << 10;

 private:
  int fd_;
  int error_ = 0;
  std::string buffer_;
};

// Writes all of it, however many calls it takes. Returns 0, or errno.
int write_all(int fd, std::string_view text);

}  // namespace wp::cli

#endif  // WP_CLI_OUTPUT_H_
