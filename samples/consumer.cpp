// consumer DIR NAME [ENTRY...]: appends the entries to a log of work, and then handles what
// consumer NAME has not handled yet.
//
// A cursor is the durable place of a named consumer. What is committed is done and never comes
// again; what was handled but not yet committed when the process died comes once more: so handle
// first, commit afterwards, and let handling an entry twice do no harm. With this log's retention,
// what all its cursors have passed is forgotten and its space is freed.
#include <wp.h>

#include <cstdio>
#include <string>

namespace {

int fail(const wp::Status& status) {
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return 1;
}

void handle(const wp::Entry& entry) {
  std::printf("%llu %s\n", (unsigned long long)entry.lsn, std::string(entry.text()).c_str());
}

// Up to the end of what is there now. `subscribe` in place of `read` goes on with what comes.
wp::Status consume(wp::Cursor& cursor) {
  auto reader = cursor.read();
  if (!reader) return reader.status();
  for (;;) {
    auto entry = reader->next();
    if (!entry) return entry.status();
    if (!entry->has_value()) return {};
    handle(**entry);
    // Cheap: it returns at once, and is stored with the next fragment or every ten seconds.
    auto committed = cursor.commit((*entry)->lsn);
    if (!committed.ok()) return committed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: consumer DIR NAME [ENTRY...]\n"), 2;
  auto wal = wp::Wal::open(argv[1]);
  if (!wal) return fail(wal.status());
  auto log = (*wal)->log("work");
  if (!log) return fail(log.status());

  wp::Retention retention;
  retention.cursors = true;
  retention.hold_age =
      std::chrono::hours(24 * 30);  // a consumer that is gone holds nothing for ever
  if (log->info().retention != retention) {
    if (auto status = log->retain(retention); !status.ok()) return fail(status);
  }
  auto cursor = log->cursor(argv[2]);  // a new one begins at the first entry that is left
  if (!cursor) return fail(cursor.status());

  for (int i = 3; i < argc; ++i) {
    if (auto lsn = log->append(wp::as_bytes(argv[i])); !lsn) return fail(lsn.status());
  }
  if (auto status = consume(*cursor); !status.ok()) return fail(status);
  const auto closed = (*wal)->close();  // what was committed is durable then
  return closed.ok() ? 0 : fail(closed);
}
