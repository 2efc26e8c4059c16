// Standard error: messages, and on a terminal one line that shows how far a long command is. Any
// thread may write messages; they never tear the line. No colours, no cursor movement beyond '\r'.
#ifndef WP_CLI_PROGRESS_H_
#define WP_CLI_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/sync.h"

namespace wp::cli {

class ProgressLine {
 public:
  explicit ProgressLine(bool wanted);
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // True a few times a second, and never where no line is wanted: ask before composing a text.
  bool due();
  // `done` of `total` as a bar with the time left (total 0: not known, no bar), then the text.
  void show(uint64_t done, uint64_t total, std::string_view text) WP_EXCLUDES(mutex_);
  void clear() WP_EXCLUDES(mutex_);
  // A line of text, above the progress.
  void message(std::string_view line) WP_EXCLUDES(mutex_);

  double seconds() const;  // since it was made

 private:
  void draw(std::string text) WP_REQUIRES(mutex_);

  const bool wanted_;
  const std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point next_;
  Mutex mutex_;
  std::string shown_ WP_GUARDED_BY(mutex_);
};

// "[#####-----]  50%", of `width` places between the brackets.
std::string bar_text(uint64_t done, uint64_t total, size_t width);

}  // namespace wp::cli

#endif  // WP_CLI_PROGRESS_H_
