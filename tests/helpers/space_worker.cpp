// space_worker URL SEED: appends to two logs, truncates one, moves a cursor on the other, which
// keeps only what the cursor has not passed, and runs gc, without end: until it is killed. Says on
// standard output what it is about to do and what was acknowledged, a line each, so that whoever
// killed it knows what must be there:
//
//   view PATH            the view's file
//   appended LOG LSN     acknowledged, as all before it
//   truncating LSN       of log "cut"; from here on it may have happened
//   truncated LSN        acknowledged
//   committing LSN       of the cursor on log "kept"
//   committed LSN        and flushed
//   collecting           a gc begins
//   collected            it ended
//
// space_worker URL: reads beside nobody what is there, checks that each entry is whole, and prints
// "LOG FIRST LAST" for both logs, and "cursor LSN".
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "wp.h"

namespace {

using Number = unsigned long long;

int fail(const wp::Status& status) {
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return 1;
}

[[gnu::format(printf, 1, 2)]] void say(const char* format, ...) {
  va_list values;
  va_start(values, format);
  std::vprintf(format, values);
  va_end(values);
  std::fflush(stdout);
}

// What an entry of that number holds, in every run.
std::string payload(wp::Lsn lsn) {
  const size_t size = lsn * 2654435761u % 997;
  std::string text = std::to_string(lsn) + ":" + std::to_string(size) + ":";
  for (size_t i = 0; i < size; ++i) text += static_cast<char>(33 + (lsn * 31 + i * i) % 90);
  return text;
}

class Worker {
 public:
  Worker(wp::Wal& wal, wp::Log cut, wp::Log kept, wp::Cursor cursor, uint64_t seed)
      : wal_(wal), cut_(cut), kept_(kept), cursor_(cursor), random_(seed) {}

  wp::Status run() {
    for (;;) {
      wp::Status status = step(random_() % 16);
      if (!status.ok()) return status;
    }
  }

 private:
  wp::Status step(uint64_t what) {
    if (what < 6) return append(cut_);
    if (what < 11) return append(kept_);
    if (what < 13) return truncate();
    if (what < 15) return commit(what == 14);
    say("collecting\n");
    const auto report = wal_.gc();
    if (report) say("collected\n");
    return report.status();
  }

  wp::Status append(wp::Log& log) {
    const wp::Lsn next = log.info().lsn_last + 1;
    std::vector<std::string> texts(1 + random_() % 5);
    for (size_t i = 0; i < texts.size(); ++i) texts[i] = payload(next + i);
    std::vector<wp::Bytes> batch;
    for (const std::string& text : texts) batch.push_back(wp::as_bytes(text));
    const auto first = log.append(batch);
    if (!first) return first.status();
    if (*first != next) return {wp::Code::kInternal, "another number than the next was given"};
    say("appended %s %llu\n", log.name().c_str(), (Number)(next + texts.size() - 1));
    return {};
  }

  wp::Status truncate() {
    const wp::LogInfo info = cut_.info();
    if (info.entries() < 30) return {};
    const wp::Lsn upto = info.lsn_first + random_() % (info.entries() - 20);
    say("truncating %llu\n", (Number)upto);
    wp::Status status = cut_.truncate(upto);
    if (status.ok()) say("truncated %llu\n", (Number)upto);
    return status;
  }

  wp::Status commit(bool flush) {
    const wp::Lsn done = cursor_.info().committed, last = kept_.info().lsn_durable;
    if (last < done + 20) return {};
    const wp::Lsn upto = done + 1 + random_() % (last - done - 19);
    say("committing %llu\n", (Number)upto);
    wp::Status status = cursor_.commit(upto);
    if (!status.ok() || !flush) return status;
    status = wal_.flush();
    if (status.ok()) say("committed %llu\n", (Number)upto);
    return status;
  }

  wp::Wal& wal_;
  wp::Log cut_, kept_;
  wp::Cursor cursor_;
  std::mt19937_64 random_;
};

int work(const char* url, uint64_t seed) {
  auto wal = wp::Wal::open(url);
  if (!wal) return fail(wal.status());
  say("view %s\n", (*wal)->info().view_path.c_str());
  auto cut = (*wal)->log("cut"), kept = (*wal)->log("kept");
  if (!cut) return fail(cut.status());
  if (!kept) return fail(kept.status());
  // The cursor first: without one the retention lets nothing go.
  auto cursor = kept->cursor("reader");
  if (!cursor) return fail(cursor.status());
  const wp::Retention retention{.cursors = true};
  if (kept->info().retention != retention) {
    if (wp::Status status = kept->retain(retention); !status.ok()) return fail(status);
  }
  return fail(Worker(**wal, *cut, *kept, *cursor, seed).run());
}

wp::Status check(wp::Wal& wal, const char* name) {
  auto log = wal.find(name);
  if (log.code() == wp::Code::kNotFound) return {};  // it was killed before
  if (!log) return log.status();
  const wp::LogInfo info = log->info();
  auto reader = log->read();
  if (!reader) return reader.status();
  wp::Lsn expected = info.lsn_first;
  for (;; ++expected) {
    auto entry = reader->next();
    if (!entry) return entry.status();
    if (!entry->has_value()) break;
    if ((*entry)->lsn == expected && (*entry)->text() == payload(expected)) continue;
    return {wp::Code::kInternal, std::string(name) + " " + std::to_string(expected) + ": it is " +
                                     std::to_string((*entry)->lsn) + " " +
                                     std::string((*entry)->text().substr(0, 60))};
  }
  if (expected != info.lsn_durable + 1) {
    return {wp::Code::kInternal, std::string(name) + " ends before " + std::to_string(expected)};
  }
  say("%s %llu %llu\n", name, (Number)info.lsn_first, (Number)info.lsn_durable);
  for (const wp::CursorInfo& cursor : log->cursors()) {
    say("cursor %llu\n", (Number)cursor.committed);
  }
  return {};
}

int check(const char* url) {
  wp::Options options;
  options.read_only = true;
  auto wal = wp::Wal::open(url, options);
  if (wal.code() == wp::Code::kNotFound) return 0;
  if (!wal) return fail(wal.status());
  for (const char* name : {"cut", "kept"}) {
    if (wp::Status status = check(**wal, name); !status.ok()) return fail(status);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) return check(argv[1]);
  if (argc == 3) return work(argv[1], std::strtoull(argv[2], nullptr, 10));
  return std::fprintf(stderr, "usage: space_worker URL [SEED]\n"), 2;
}
