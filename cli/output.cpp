// Standard output; see output.h.
#include "cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace wp::cli {

int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      // Whoever shares the descriptor with us made it non-blocking.
      pollfd wait{fd, POLLOUT, 0};
      if (::poll(&wait, 1, -1) < 0 && errno != EINTR) return errno;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

void Output::write(std::string_view text) {
  if (buffer_.size() + text.size() > kBufferBytes) {
    flush();
    if (text.size() > kBufferBytes) {
      if (error_ == 0) error_ = write_all(fd_, text);
      return;
    }
  }
  buffer_ += text;
}

bool Output::flush() {
  if (error_ == 0) error_ = write_all(fd_, buffer_);
  buffer_.clear();
  return error_ == 0;
}

}  // namespace wp::cli
