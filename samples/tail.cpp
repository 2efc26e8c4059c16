// tail DIR: a thread follows a log while another writes it. A subscriber sees an entry once it is
// durable, in order and once; it is woken when one comes, and costs nothing while none does.
#include <wp.h>

#include <cstdio>
#include <string>
#include <thread>

namespace {

int fail(const wp::Status& status) {
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return 1;
}

// Prints what comes until the entry "end". A Reader belongs to one thread; the Log may be shared.
wp::Status follow(const wp::Log& log, wp::From from) {
  auto reader = log.subscribe(from);
  if (!reader) return reader.status();
  for (;;) {
    auto entry = reader->next(std::chrono::seconds(1));
    if (!entry) return entry.status();
    if (!entry->has_value()) continue;  // nothing came for a second: no error
    const std::string text((*entry)->text());
    std::printf("%llu %s\n", (unsigned long long)(*entry)->lsn, text.c_str());
    if (text == "end") return {};
  }
}

wp::Status write(wp::Log log) {
  for (int i = 1; i <= 5; ++i) {
    auto lsn = log.append(wp::as_bytes("news " + std::to_string(i)));
    if (!lsn) return lsn.status();
  }
  return log.append(wp::as_bytes("end")).status();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: tail DIR\n"), 2;
  auto wal = wp::Wal::open(argv[1]);
  if (!wal) return fail(wal.status());
  auto log = (*wal)->log("news");
  if (!log) return fail(log.status());

  // From the end of what is there now: run again, it shows only the new entries. The place is taken
  // before the writer starts, or the thread might begin behind its first entries.
  const wp::From from = wp::From::after(log->info().lsn_durable);
  wp::Status followed;
  std::thread follower([&] { followed = follow(*log, from); });
  const wp::Status written = write(*log);
  // A writer that failed never writes "end": closing ends the follower then, with kClosed.
  wp::Status closed;
  if (!written.ok()) closed = (*wal)->close();
  follower.join();
  if (written.ok()) closed = (*wal)->close();

  if (!written.ok()) return fail(written);
  if (!followed.ok()) return fail(followed);
  return closed.ok() ? 0 : fail(closed);
}
