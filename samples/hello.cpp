// hello DIR: appends an entry that survives any crash from then on, and reads back all there are.
#include <wp.h>

#include <cstdio>

int fail(const wp::Status& status) {
  return std::fprintf(stderr, "%s\n", status.to_string().c_str()), 1;
}

int main(int argc, char** argv) {
  auto wal = wp::Wal::open(argc > 1 ? argv[1] : "mem://hello");
  if (!wal) return fail(wal.status());
  auto log = (*wal)->log("greetings");
  if (!log) return fail(log.status());

  auto lsn = log->append(wp::as_bytes("hello, log"));  // durable on return
  if (!lsn) return fail(lsn.status());

  auto reader = log->read();  // from the first entry to the last
  if (!reader) return fail(reader.status());
  for (;;) {
    auto entry = reader->next();
    if (!entry) return fail(entry.status());
    if (!entry->has_value()) break;
    std::printf("%llu %s\n", (unsigned long long)(*entry)->lsn,
                std::string((*entry)->text()).c_str());
  }
  auto closed = (*wal)->close();
  return closed.ok() ? 0 : fail(closed);
}
