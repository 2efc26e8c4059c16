// Messages and the progress line; see progress.h.
#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/output.h"
#include "cli/values.h"

namespace wp::cli {
namespace {

constexpr auto kPause = std::chrono::milliseconds(100);

// What an unfinished character leaves behind may not be cut: count in characters.
std::string fit(std::string text, size_t width) {
  while (display_width(text) > width) text.pop_back();
  return text;
}

size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 79;
  return size.ws_col - 1U;  // the last column would wrap on some terminals
}

}  // namespace

std::string bar_text(uint64_t done, uint64_t total, size_t width) {
  done = std::min(done, total);
  const double part = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
  const auto full = static_cast<size_t>(part * static_cast<double>(width));
  char percent[16];
  std::snprintf(percent, sizeof(percent), "%3d%%", static_cast<int>(part * 100));
  return "[" + std::string(full, '#') + std::string(width - full, '-') + "] " + percent;
}

ProgressLine::ProgressLine(bool wanted)
    : wanted_(wanted && ::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      next_(start_ + kPause) {}

double ProgressLine::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

bool ProgressLine::due() {
  if (!wanted_) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return false;
  next_ = now + kPause;
  return true;
}

void ProgressLine::show(uint64_t done, uint64_t total, std::string_view text) {
  if (!wanted_) return;
  std::string line;
  if (total > 0) {
    line = bar_text(done, total, 24) + "  " + std::string(text);
    if (done > 0 && done < total) {
      const double left = seconds() * static_cast<double>(total - done) / static_cast<double>(done);
      line += ", " + human_duration(static_cast<int64_t>(left) * 1000) + " left";
    }
  } else {
    line = text;
  }
  MutexLock lock(mutex_);
  draw(fit(std::move(line), terminal_width()));
}

void ProgressLine::draw(std::string text) {
  const size_t before = display_width(shown_);
  const size_t now = display_width(text);
  std::string out = "\r" + text;
  if (before > now) out += std::string(before - now, ' ') + "\r" + text;
  write_all(STDERR_FILENO, out);
  shown_ = std::move(text);
}

void ProgressLine::clear() {
  MutexLock lock(mutex_);
  if (shown_.empty()) return;
  draw("");
}

void ProgressLine::message(std::string_view line) {
  MutexLock lock(mutex_);
  const std::string shown = shown_;
  if (!shown.empty()) draw("");
  write_all(STDERR_FILENO, std::string(line) + "\n");
  if (!shown.empty()) draw(shown);
}

}  // namespace wp::cli
