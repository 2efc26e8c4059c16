// What every command shares; see session.h.
#include "cli/session.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "cli/json.h"
#include "cli/values.h"

namespace wp::cli {

int exit_status(Code code) {
  switch (code) {
    case Code::kOk:
      return kExitDone;
    case Code::kInvalid:
      return kExitUsage;
    case Code::kCorrupt:
      return kExitDamaged;
    default:
      return kExitFailed;
  }
}

std::string error_line(const Status& status, bool json) {
  std::string line;
  if (json) {
    JsonObject(line)
        .text("error", code_name(status.code()))
        .text("message", status.message())
        .end();
    return line;
  }
  return "wp: " + status.to_string();
}

Session::Session(const Args& args)
    : args_(args),
      json_(args.has("json")),
      quiet_(args.has("quiet")),
      out_(STDOUT_FILENO),
      progress_(!quiet_ && !json_) {}

Result<Options> Session::options(std::string_view url, Open how) {
  auto options = Options::from_url(url);
  if (!options) return options;
  options->read_only = how == Open::kRead;
  options->create = how == Open::kCreate;
  options->rebuild = how == Open::kRebuild;
  if (const auto meta = args_.value("meta")) {
    if (meta->empty()) return Status(Code::kInvalid, "--meta: the path is empty");
    options->meta_path = *meta;
  }
  options->on_message = [this](Level level, std::string_view text) {
    if (level == Level::kInfo || (quiet_ && level != Level::kError)) return;
    const std::string_view kind = level == Level::kError ? "error" : "warning";
    if (json_) {
      std::string line;
      JsonObject(line).text("level", kind).text("message", text).end();
      progress_.message(line);
    } else {
      progress_.message("wp: " + std::string(kind) + ": " + std::string(text));
    }
  };
  return options;
}

Result<std::unique_ptr<Wal>> Session::open(std::string_view url, Open how) {
  auto options = this->options(url, how);
  if (!options) return options.status();
  return Wal::open(url, *options);
}

int Session::fail(const Status& status) {
  // What was found before the error is still worth reading.
  out_.flush();
  progress_.clear();
  progress_.message(error_line(status, json_));
  return exit_status(status.code());
}

int Session::finish(int done) {
  progress_.clear();
  if (out_.flush()) return done;
  // A reader that went away knows why.
  if (out_.error() == EPIPE) return kExitFailed;
  const Code code = out_.error() == ENOSPC ? Code::kNoSpace : Code::kUnavailable;
  progress_.message(error_line(
      Status(code, std::string("cannot write to standard output: ") + std::strerror(out_.error())),
      json_));
  return kExitFailed;
}

void Session::note(std::string_view line) {
  if (quiet_) return;
  progress_.message(line);
}

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string request_counts(const Stats& stats) {
  uint64_t total = 0;
  std::map<std::string_view, uint64_t> counts;
  for (const RequestCount& count : stats.requests) {
    counts[count.operation] += count.requests;
    total += count.requests;
  }
  std::string parts;
  for (const std::string_view operation : {"put", "get", "list", "delete"}) {
    const auto at = counts.find(operation);
    if (at == counts.end() || at->second == 0) continue;
    parts += parts.empty() ? " (" : ", ";
    parts += std::to_string(at->second) + " " + std::string(operation);
  }
  return std::to_string(total) + (total == 1 ? " request" : " requests") +
         (parts.empty() ? "" : parts + ")");
}

std::string cost_line(const Stats& stats) {
  return request_counts(stats) + ", " + human_dollars(stats.dollars) + " on S3";
}

}  // namespace wp::cli
