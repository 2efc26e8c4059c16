// Entries from a file or standard input; see input.h.
#include "cli/input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace wp::cli {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
// How much of a line that a signal cut in two is fetched byte by byte.
constexpr size_t kFinishBytesMax = size_t{1} << 20;

}  // namespace

EntryInput::EntryInput(int fd, int stop_fd, std::optional<char> separator, uint64_t entry_bytes_max)
    : fd_(fd),
      stop_fd_(stop_fd),
      separator_(separator),
      entry_bytes_max_(entry_bytes_max),
      buffer_(kBufferBytes) {}

EntryInput::Found EntryInput::next(std::string_view* entry) {
  for (;;) {
    if (take_line(entry)) {
      ++entries_;
      return entry->size() > entry_bytes_max_ ? Found::kTooLong : Found::kEntry;
    }
    if (ended_) {
      if (begin_ == end_) return Found::kEnd;
      *entry = {buffer_.data() + begin_, end_ - begin_};
      begin_ = end_;
      ++entries_;
      return entry->size() > entry_bytes_max_ ? Found::kTooLong : Found::kEntry;
    }
    if (!make_room()) {
      ++entries_;
      return Found::kTooLong;
    }
    const More more = read_more();
    if (more == More::kError) return Found::kError;
    if (more == More::kEnd) ended_ = true;
  }
}

bool EntryInput::take_line(std::string_view* entry) {
  if (!separator_) return false;
  const char* from = buffer_.data() + searched_;
  const auto* at = static_cast<const char*>(std::memchr(from, *separator_, end_ - searched_));
  if (at == nullptr) {
    searched_ = end_;
    return false;
  }
  const auto line_end = static_cast<size_t>(at - buffer_.data());
  *entry = {buffer_.data() + begin_, line_end - begin_};
  begin_ = searched_ = line_end + 1;
  return true;
}

// False when the buffer is full of an entry that is too long already.
bool EntryInput::make_room() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    searched_ -= begin_;
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ < buffer_.size()) return true;
  if (end_ > entry_bytes_max_) return false;
  // One more than allowed, to see that it is more.
  buffer_.resize(
      static_cast<size_t>(std::min<uint64_t>(buffer_.size() * uint64_t{2}, entry_bytes_max_ + 1)));
  return true;
}

EntryInput::More EntryInput::read_more() {
  for (;;) {
    pollfd wait[2] = {{stop_fd_, POLLIN, 0}, {fd_, POLLIN, 0}};
    if (::poll(wait, 2, -1) < 0) {
      if (errno == EINTR) continue;
      error_ = errno;
      return More::kError;
    }
    if (wait[0].revents != 0) {
      finish_line();
      return More::kEnd;
    }
    const ssize_t n = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
    if (n > 0) {
      end_ += static_cast<size_t>(n);
      bytes_ += static_cast<uint64_t>(n);
      return More::kRead;
    }
    if (n == 0) return More::kEnd;
    if (errno == EINTR || errno == EAGAIN) continue;
    error_ = errno;
    return More::kError;
  }
}

// The signal came in the middle of a line. What the other side wrote of it already is there to be
// taken; byte by byte, because what is read beyond the line would have to be appended too.
void EntryInput::finish_line() {
  if (!separator_ || begin_ == end_) return;
  for (size_t i = 0; i < kFinishBytesMax && end_ < buffer_.size(); ++i) {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, 0) != 1) return;
    if (::read(fd_, buffer_.data() + end_, 1) != 1) return;
    ++bytes_;
    if (buffer_[end_++] == *separator_) return;
  }
}

}  // namespace wp::cli
