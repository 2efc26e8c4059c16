// `wp append`: each line of the input becomes an entry. The main thread reads and appends; the
// library says on its own thread when entries are durable; a third thread prints that, if wanted.
// RAM stays constant whatever the input: acknowledgements come in LSN order without gaps, so all
// that is kept of them is the last one.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/signals.h"
#include "cli/values.h"

namespace wp::cli {
namespace {

struct Durable {
  uint64_t count = 0;
  Lsn first = 0, last = 0;
};

// What the library said about the entries that were appended. Any thread.
class Acks {
 public:
  void done(const Result<Lsn>& result) WP_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ++ended_;
    if (result) {
      if (durable_.count++ == 0) durable_.first = *result;
      durable_.last = *result;
    } else if (error_.ok()) {
      error_ = result.status();
      failed_ = true;
    }
    changed_.notify_all();
  }
  // Waits until fewer than `window` of `sent` are on their way.
  void wait_for_room(uint64_t sent, uint64_t window) WP_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (sent - ended_ >= window) changed_.native().wait(lock);
  }
  // Waits until there is more than `seen` durable, or close() was called.
  Durable wait_for_more(uint64_t seen) WP_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (durable_.count == seen && !closed_) changed_.native().wait(lock);
    return durable_;
  }
  void close() WP_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  Status error() WP_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return error_;
  }
  Durable durable() WP_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return durable_;
  }

 private:
  std::atomic<bool> failed_{false};
  Mutex mutex_;
  CondVar changed_;
  Durable durable_ WP_GUARDED_BY(mutex_);
  uint64_t ended_ WP_GUARDED_BY(mutex_) = 0;
  Status error_ WP_GUARDED_BY(mutex_);
  bool closed_ WP_GUARDED_BY(mutex_) = false;
};

// Prints each LSN with a write(2) of its own, so that whoever reads them knows at once, and a kill
// takes none back.
class AckPrinter {
 public:
  AckPrinter(Acks& acks, bool json) : acks_(acks), json_(json), thread_([this] { run(); }) {}
  ~AckPrinter() { finish(); }
  AckPrinter(const AckPrinter&) = delete;
  AckPrinter& operator=(const AckPrinter&) = delete;

  int error() const { return error_.load(); }
  void finish() {
    acks_.close();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run() {
    for (uint64_t printed = 0;;) {
      const Durable durable = acks_.wait_for_more(printed);
      if (durable.count == printed) return;
      for (; printed < durable.count; ++printed) {
        const std::string lsn = std::to_string(durable.first + printed);
        const int error = write_all(STDOUT_FILENO, json_ ? "{\"lsn\":" + lsn + "}\n" : lsn + "\n");
        if (error == 0) continue;
        error_ = error;
        return;
      }
    }
  }

  Acks& acks_;
  const bool json_;
  std::atomic<int> error_{0};
  std::thread thread_;  // last: it uses the others
};

struct Plan {
  std::string url, log;
  std::string file;  // empty: standard input
  std::optional<char> separator = '\n';
  std::vector<Property> properties;
  uint64_t window = UINT64_MAX;
  bool print_acks = false;
};

Result<Plan> make_plan(const Args& args) {
  Plan plan;
  plan.url = args.operand(0);
  plan.log = args.operand(1);
  if (args.operands() > 2 && args.operand(2) != "-") plan.file = args.operand(2);
  if (Status status = args.exclusive("nul", "whole-file"); !status.ok()) return status;
  if (args.has("nul")) plan.separator = '\0';
  if (args.has("whole-file")) plan.separator.reset();
  plan.print_acks = args.has("print-acks");
  for (const std::string_view text : args.values("prop")) {
    const auto property = parse_property("--prop", text);
    if (!property) return property.status();
    plan.properties.push_back(*property);
  }
  if (const auto text = args.value("window")) {
    const auto window = parse_number("--window", *text);
    if (!window) return window.status();
    if (*window == 0) return Status(Code::kInvalid, "--window: '0' would append nothing; from 1");
    plan.window = *window;
  }
  return plan;
}

class Descriptor {
 public:
  explicit Descriptor(const std::string& file)
      : owned_(!file.empty()),
        fd_(owned_ ? ::open(file.c_str(), O_RDONLY | O_CLOEXEC) : STDIN_FILENO) {}
  ~Descriptor() {
    if (owned_ && fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  // What is left to read of a regular file; 0: not known.
  uint64_t bytes_left() const {
    struct stat info {};
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
    const off_t at = ::lseek(fd_, 0, SEEK_CUR);
    return at < 0 || at >= info.st_size ? 0 : static_cast<uint64_t>(info.st_size - at);
  }

 private:
  const bool owned_;
  const int fd_;
};

class Appender {
 public:
  Appender(Session& session, const Plan& plan, const Log& log, Acks& acks, uint64_t input_bytes)
      : session_(session), plan_(plan), log_(log), acks_(acks), input_bytes_(input_bytes) {
    options_.properties = plan.properties;
  }

  // Appends all of the input; the error that ended it early, if one did.
  Status run(EntryInput& input, const AckPrinter* printer) {
    for (;;) {
      if (acks_.failed()) return acks_.error();
      if (printer != nullptr && printer->error() != 0) return {};  // said at the end
      std::string_view entry;
      switch (input.next(&entry)) {
        case EntryInput::Found::kEnd:
          return {};
        case EntryInput::Found::kError:
          return Status(Code::kUnavailable,
                        "cannot read " + input_name() + ": " + std::strerror(input.error()));
        case EntryInput::Found::kTooLong:
          return too_long(input);
        case EntryInput::Found::kEntry:
          break;
      }
      if (Status status = append(entry); !status.ok()) {
        return status.code() == Code::kInvalid ? at_entry(input, status) : status;
      }
      if (session_.progress().due()) show(input);
    }
  }
  void set_entry_bytes_max(uint64_t bytes) { entry_bytes_max_ = bytes; }

 private:
  Status append(std::string_view entry) {
    if (plan_.window == 1) {
      auto lsn = log_.append(as_bytes(entry), options_);
      if (lsn) acks_.done(lsn);
      return lsn.status();
    }
    if (plan_.window != UINT64_MAX) acks_.wait_for_room(sent_, plan_.window);
    Acks* acks = &acks_;
    auto lsn = log_.append_async(
        as_bytes(entry), [acks](const Result<Lsn>& result) { acks->done(result); }, options_);
    if (lsn) ++sent_;
    return lsn.status();
  }

  std::string input_name() const { return plan_.file.empty() ? "standard input" : plan_.file; }
  std::string entry_name(const EntryInput& input) const {
    if (!plan_.separator) return input_name();
    return (*plan_.separator == '\n' ? "line " : "entry ") + std::to_string(input.entries()) +
           " of " + input_name();
  }
  Status too_long(const EntryInput& input) const {
    return Status(Code::kInvalid,
                  "append " + entry_name(input) + ": it is larger than entry_bytes_max, " +
                      std::to_string(entry_bytes_max_) +
                      " bytes; raise that in the URL, up to 1 GiB, or split the entry");
  }
  Status at_entry(const EntryInput& input, const Status& status) const {
    return Status(status.code(), "append " + entry_name(input) + ": " + status.message());
  }

  void show(const EntryInput& input) {
    ProgressLine& progress = session_.progress();
    const auto rate = static_cast<uint64_t>(static_cast<double>(input.bytes()) /
                                            std::max(0.001, progress.seconds()));
    progress.show(input.bytes(), input_bytes_,
                  human_bytes(input.bytes()) + ", " + human_bytes(rate) + "/s, " +
                      human_count(input.entries()) + " entries, " +
                      human_count(acks_.durable().count) + " durable");
  }

  Session& session_;
  const Plan& plan_;
  Log log_;
  Acks& acks_;
  const uint64_t input_bytes_;
  uint64_t entry_bytes_max_ = 0;
  AppendOptions options_;
  uint64_t sent_ = 0;
};

void print_result(Session& session, const Durable& durable) {
  std::string& out = session.out().buffer();
  if (session.json()) {
    JsonObject object(out);
    object.number("appended", durable.count);
    if (durable.count > 0) {
      object.number("first", durable.first).number("last", durable.last);
    } else {
      object.null("first").null("last");
    }
    object.end_line();
    return;
  }
  out += "appended " + std::to_string(durable.count) + " entries";
  if (durable.count > 0) {
    out += ", first " + std::to_string(durable.first) + ", last " + std::to_string(durable.last);
  }
  out += '\n';
}

// The error, and what it leaves: nobody should have to count.
void print_failure(Session& session, const Status& status, const Durable& durable) {
  session.progress().clear();
  std::string line;
  if (session.json()) {
    JsonObject(line)
        .text("error", code_name(status.code()))
        .text("message", status.message())
        .number("durable", durable.count)
        .end();
  } else {
    line = "wp: " + status.to_string() + " (durable of this input: " +
           (durable.count == 0
                ? std::string("nothing")
                : std::to_string(durable.count) + " entries, LSN " + std::to_string(durable.first) +
                      " to " + std::to_string(durable.last)) +
           ")";
  }
  session.progress().message(line);
}

}  // namespace

int run_append(const Args& args) {
  StopSignals stop;  // before the library starts its threads
  Session session(args);
  const auto plan = make_plan(args);
  if (!plan) return session.fail(plan.status());
  const Descriptor input_fd(plan->file);
  if (input_fd.get() < 0) {
    const Code code = errno == ENOENT ? Code::kNotFound : Code::kUnavailable;
    return session.fail(Status(code, "open " + plan->file + ": " + std::strerror(errno)));
  }
  const auto options = session.options(plan->url, Session::Open::kCreate);
  if (!options) return session.fail(options.status());

  Acks acks;  // outlives the root, which tells it until it is closed
  auto wal = Wal::open(plan->url, *options);
  if (!wal) return session.fail(wal.status());
  const auto log = (*wal)->log(plan->log);
  if (!log) return session.fail(log.status());
  stop.arm();

  std::optional<AckPrinter> printer;
  if (plan->print_acks) printer.emplace(acks, session.json());
  EntryInput input(input_fd.get(), stop.fd(), plan->separator, options->entry_bytes_max);
  Appender appender(session, *plan, *log, acks, input_fd.bytes_left());
  appender.set_entry_bytes_max(options->entry_bytes_max);
  Status status = appender.run(input, printer ? &*printer : nullptr);

  // What was read is made durable, also when something stopped the reading. Asked to stop, not for
  // ever.
  const std::optional<Duration> patience =
      stop.stopped() ? std::optional<Duration>(options->close_timeout) : std::nullopt;
  Status flushed = acks.failed() ? acks.error() : (*wal)->flush(patience);
  Status closed = (*wal)->close();
  for (Status* later : {&flushed, &closed}) {
    if (status.ok()) status = std::move(*later);
  }
  if (printer) printer->finish();
  const Durable durable = acks.durable();
  if (!printer || printer->error() == 0) print_result(session, durable);
  if (!status.ok()) print_failure(session, status, durable);
  const int finished = session.finish();
  if (printer && printer->error() != 0) {
    session.note(std::string("wp: cannot write to standard output: ") +
                 std::strerror(printer->error()));
  }
  session.note(cost_line((*wal)->stats()));
  const bool good = status.ok() && (!printer || printer->error() == 0);
  return good ? finished : kExitFailed;
}

}  // namespace wp::cli
