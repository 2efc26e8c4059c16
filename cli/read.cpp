// `wp cat` and `wp tail`: entries to standard output, read-only, beside whoever writes.
#include <unistd.h>

#include "cli/commands.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/signals.h"
#include "cli/values.h"

namespace wp::cli {
namespace {

constexpr size_t kBatch = 4096;
// Nothing depends on it: a wait that ends without news is begun again.
constexpr Duration kFollowWait = std::chrono::hours(1);

// How entries look.
class EntryPrinter {
 public:
  explicit EntryPrinter(Session& session)
      : out_(session.out()),
        json_(session.json()),
        lsn_(session.args().has("lsn")),
        raw_(session.args().has("raw")),
        separator_(session.args().has("nul") ? '\0' : '\n') {}

  static Status check(const Args& args) {
    for (const auto& [a, b] : {std::pair<std::string_view, std::string_view>{"raw", "nul"},
                               {"raw", "lsn"},
                               {"json", "raw"},
                               {"json", "nul"}}) {
      if (Status status = args.exclusive(a, b); !status.ok()) return status;
    }
    return {};
  }

  void print(const Entry& entry) {
    if (json_) {
      print_json(entry);
      return;
    }
    if (lsn_) {
      number_ = std::to_string(entry.lsn);
      number_ += '\t';
      out_.write(number_);
    }
    out_.write(entry.text());
    if (!raw_) out_.put(separator_);
  }

 private:
  void print_json(const Entry& entry) {
    std::string& text = out_.buffer();
    JsonObject(text)
        .number("lsn", entry.lsn)
        .signed_number("time_ms", entry.time_ms)
        .properties("props", entry.properties())
        .bytes("payload", entry.text())
        .end_line();
    if (text.size() >= Output::kBufferBytes) out_.flush();
  }

  Output& out_;
  const bool json_, lsn_, raw_;
  const char separator_;
  std::string number_;
};

struct Opened {
  std::unique_ptr<Wal> wal;
  Log log;
};

Result<Opened> open_log(Session& session) {
  auto wal = session.open(session.args().operand(0), Session::Open::kRead);
  if (!wal) return wal.status();
  auto log = (*wal)->find(session.args().operand(1));
  if (!log) return log.status();
  return Opened{std::move(*wal), *log};
}

struct Range {
  From from = From::first();
  Lsn to = UINT64_MAX;
  uint64_t count = UINT64_MAX;
};

Result<Range> parse_range(const Args& args) {
  Range range;
  if (Status status = args.exclusive("from", "since"); !status.ok()) return status;
  if (const auto text = args.value("from")) {
    const auto lsn = parse_lsn("--from", *text);
    if (!lsn) return lsn.status();
    range.from = From::at(*lsn);
  }
  if (const auto text = args.value("since")) {
    const auto time = parse_time("--since", *text, now_ms());
    if (!time) return time.status();
    range.from = From::time(*time);
  }
  if (const auto text = args.value("to")) {
    const auto lsn = parse_lsn("--to", *text);
    if (!lsn) return lsn.status();
    range.to = *lsn;
    if (range.from.kind == From::Kind::kLsn && *lsn < range.from.value) {
      return Status(Code::kInvalid, "--to: " + std::to_string(*lsn) + " lies before --from " +
                                        std::to_string(range.from.value));
    }
  }
  if (const auto text = args.value("count")) {
    const auto count = parse_number("--count", *text);
    if (!count) return count.status();
    range.count = *count;
  }
  return range;
}

Result<Filter> parse_filter(const Args& args) {
  Filter filter;
  for (const std::string_view text : args.values("prop")) {
    const auto property = parse_property("--prop", text);
    if (!property) return property.status();
    filter.properties.emplace_back(property->key, property->value);
  }
  return filter;
}

// Prints up to the range's end. Done, or why not.
Status print_range(Session& session, Reader& reader, const Range& range) {
  EntryPrinter printer(session);
  for (uint64_t left = range.count; left > 0 && session.out().ok();) {
    const auto batch = reader.next_batch(std::min<uint64_t>(left, kBatch));
    if (!batch) return batch.status();
    if (batch->empty()) break;
    for (const Entry& entry : *batch) {
      if (entry.lsn > range.to) return {};
      printer.print(entry);
      --left;
    }
  }
  return {};
}

// Where the last `count` durable entries begin.
From last_entries(const LogInfo& info, uint64_t count) {
  const Lsn next = info.lsn_durable + 1;
  const uint64_t there = next - std::min(next, info.lsn_first);
  return From::at(next - std::min(there, count));
}

// Calls `on_stop` only while this lives.
class Armed {
 public:
  Armed(StopSignals& stop, std::function<void()> on_stop) : stop_(stop) {
    stop_.arm(std::move(on_stop));
  }
  ~Armed() { stop_.disarm(); }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;

 private:
  StopSignals& stop_;
};

// Prints what comes until asked to stop, or until nobody reads it any more.
Status follow(Session& session, Reader& reader, const StopSignals& stop) {
  EntryPrinter printer(session);
  std::string said;
  while (!stop.stopped()) {
    auto batch = reader.next_batch(kBatch);
    if (batch && batch->empty()) {
      if (!session.out().flush()) return {};
      batch = reader.next_batch(kBatch, kFollowWait);
    }
    if (batch) {
      said.clear();
      for (const Entry& entry : *batch) printer.print(entry);
      if (!session.out().ok()) return {};
      continue;
    }
    if (stop.stopped()) return {};
    const Status& status = batch.status();
    if (status.code() != Code::kTruncated && !status.retryable()) return status;
    // Goes on: behind what is gone, or when the store is back. Said once.
    if (status.message() != said) {
      said = status.message();
      session.note(error_line(status, session.json()));
    }
    if (status.code() != Code::kTruncated) stop.pause(1000);
  }
  return {};
}

int run_follow(const Args& args, uint64_t count) {
  StopSignals stop;  // before the library starts its threads
  stop.watch_reader(STDOUT_FILENO);
  Session session(args);
  auto opened = open_log(session);
  if (!opened) return session.fail(opened.status());
  auto reader = opened->log.subscribe(last_entries(opened->log.info(), count));
  if (!reader) return session.fail(reader.status());
  Wal* wal = opened->wal.get();
  Status status;
  {
    // A read-only root has nothing to lose: this is the quickest way to end a wait.
    const Armed armed(stop, [wal] { wal->abandon(); });
    status = follow(session, *reader, stop);
  }
  if (!status.ok()) return session.fail(status);
  const int finished = session.finish();
  const bool reader_gone = session.out().error() == EPIPE;
  return reader_gone ? kExitDone : finished;
}

}  // namespace

int run_cat(const Args& args) {
  Session session(args);
  if (Status status = EntryPrinter::check(args); !status.ok()) return session.fail(status);
  const auto range = parse_range(args);
  if (!range) return session.fail(range.status());
  const auto filter = parse_filter(args);
  if (!filter) return session.fail(filter.status());
  auto opened = open_log(session);
  if (!opened) return session.fail(opened.status());
  auto reader = opened->log.read(range->from, *filter);
  if (!reader) return session.fail(reader.status());
  if (Status status = print_range(session, *reader, *range); !status.ok()) {
    return session.fail(status);
  }
  return session.finish();
}

int run_tail(const Args& args) {
  Session session(args);
  if (Status status = EntryPrinter::check(args); !status.ok()) return session.fail(status);
  uint64_t count = 10;
  if (const auto text = args.value("count")) {
    const auto number = parse_number("-n", *text);
    if (!number) return session.fail(number.status());
    count = *number;
  }
  if (args.has("follow")) return run_follow(args, count);
  auto opened = open_log(session);
  if (!opened) return session.fail(opened.status());
  auto reader = opened->log.read(last_entries(opened->log.info(), count));
  if (!reader) return session.fail(reader.status());
  if (Status status = print_range(session, *reader, {}); !status.ok()) return session.fail(status);
  return session.finish();
}

}  // namespace wp::cli
