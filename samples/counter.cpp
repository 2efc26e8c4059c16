// counter DIR NAME [+N]: named counters that survive any crash. Prints the value of NAME, after
// adding N to it.
//
// This is how state is kept with a log: the state is what replaying the log gives, a change is
// appended before it is told to anybody, and from time to time a snapshot of the whole state is
// appended and what stands before it is forgotten. A crash between any two steps is harmless:
//  - before the append: nothing happened;
//  - between append and print: the change counts, its caller only does not know it yet;
//  - between snapshot and truncation: replaying both gives the same as the snapshot alone.
#include <wp.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>

namespace {

using Counters = std::map<std::string, int64_t, std::less<>>;

constexpr uint64_t kEntriesPerSnapshot = 100;
constexpr wp::Property kSnapshot{"kind", "snapshot"};

int fail(const wp::Status& status) {
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return 1;
}

bool parse(std::string_view text, int64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// Adds one line, "NUMBER NAME", to the state. False: this program did not write it.
bool add(Counters& counters, std::string_view line) {
  const size_t space = line.find(' ');
  int64_t number = 0;
  if (space == std::string_view::npos || !parse(line.substr(0, space), number)) return false;
  counters[std::string(line.substr(space + 1))] += number;
  return true;
}

std::string snapshot_of(const Counters& counters) {
  std::string text;
  for (const auto& [name, value] : counters) text += std::to_string(value) + " " + name + "\n";
  return text;
}

wp::Status replay(const wp::Log& log, Counters& counters) {
  auto reader = log.read();
  if (!reader) return reader.status();
  for (;;) {
    auto next = reader->next();
    if (!next) return next.status();
    if (!next->has_value()) return {};
    const wp::Entry& entry = **next;
    bool good = true;
    if (entry.property(kSnapshot.key) == kSnapshot.value) {
      counters.clear();
      std::string_view text = entry.text();
      for (size_t end; good && (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
        good = add(counters, text.substr(0, end));
      }
    } else {
      good = add(counters, entry.text());
    }
    if (!good) {
      return {wp::Code::kCorrupt,
              "replaying the counters: entry " + std::to_string(entry.lsn) + " is no counter"};
    }
  }
}

// Forgets the history, once it is long: the snapshot is durable before anything is forgotten.
wp::Status shorten(wp::Log& log, const Counters& counters) {
  if (log.info().entries() < kEntriesPerSnapshot) return {};
  wp::AppendOptions options;
  options.properties = {&kSnapshot, 1};
  auto lsn = log.append(wp::as_bytes(snapshot_of(counters)), options);
  if (!lsn) return lsn.status();
  return log.truncate(*lsn - 1);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t step = 0;
  const bool adds = argc > 3;
  if (argc < 3 || argc > 4 || (adds && (argv[3][0] != '+' || !parse(argv[3] + 1, step)))) {
    return std::fprintf(stderr, "usage: counter DIR NAME [+N]\n"), 2;
  }
  const std::string name = argv[2];
  if (name.find('\n') != std::string::npos) {
    return std::fprintf(stderr, "counter: a name is one line\n"), 2;
  }

  auto wal = wp::Wal::open(argv[1]);
  if (!wal) return fail(wal.status());
  auto log = (*wal)->log("counters");
  if (!log) return fail(log.status());

  Counters counters;
  if (auto status = replay(*log, counters); !status.ok()) return fail(status);
  if (adds) {
    const std::string change = std::to_string(step) + " " + name;
    if (auto lsn = log->append(wp::as_bytes(change)); !lsn) return fail(lsn.status());
    counters[name] += step;
    if (auto status = shorten(*log, counters); !status.ok()) return fail(status);
  }
  std::printf("%lld\n", (long long)counters[name]);
  std::fflush(stdout);
  const auto closed = (*wal)->close();
  return closed.ok() ? 0 : fail(closed);
}
