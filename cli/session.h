// What every command shares: its output, how it opens a root, and how it says what went wrong.
#ifndef WP_CLI_SESSION_H_
#define WP_CLI_SESSION_H_

#include <memory>
#include <string>
#include <string_view>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "wp.h"

namespace wp::cli {

// Exit statuses, part of the tool's contract.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;   // busy, fenced, not found, store away
inline constexpr int kExitUsage = 2;    // the command line cannot be right
inline constexpr int kExitDamaged = 3;  // stored bytes are damaged
int exit_status(Code code);

// "wp: kBusy: ...", or a JSON object, with the newline.
std::string error_line(const Status& status, bool json);

class Session {
 public:
  explicit Session(const Args& args);

  enum class Open : uint8_t { kRead, kWrite, kCreate, kRebuild };
  // Options of the URL's query and of the command line, for that purpose.
  Result<Options> options(std::string_view url, Open how);
  // The root must not outlive the session, which prints the root's messages.
  Result<std::unique_ptr<Wal>> open(std::string_view url, Open how);

  // Prints the error; returns the exit status.
  int fail(const Status& status);
  // Writes out what is buffered; returns `done`, or the exit status of a failed write.
  int finish(int done = kExitDone);
  // A message for people, on standard error.
  void note(std::string_view line);

  const Args& args() const { return args_; }
  bool json() const { return json_; }
  bool quiet() const { return quiet_; }
  Output& out() { return out_; }
  ProgressLine& progress() { return progress_; }

 private:
  const Args& args_;
  const bool json_, quiet_;
  Output out_;
  ProgressLine progress_;
};

int64_t now_ms();  // wall clock, since 1970

// "12 requests (10 put, 2 get)"
std::string request_counts(const Stats& stats);
// "12 requests (10 put, 2 get), $0.00006 on S3"
std::string cost_line(const Stats& stats);

}  // namespace wp::cli

#endif  // WP_CLI_SESSION_H_
