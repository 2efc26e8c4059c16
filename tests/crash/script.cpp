#include "tests/crash/script.h"

#include <unistd.h>

#include <map>
#include <vector>

#include "tests/crash/known.h"
#include "tests/crash/recorder.h"

namespace wp::crash {
namespace {

constexpr int kOpenings = 9;

std::string text(uint64_t number) {
  return " " + std::to_string(number);
}

// One opening of the root. Its steps end with the first that fails.
class Opening {
 public:
  Opening(Wal& wal, std::map<std::string, uint64_t>& generations)
      : wal_(wal), generations_(generations) {}

  void append(const std::string& name, size_t count) {
    std::vector<std::string> texts;
    step(name, [&](Log& log) {
      const Lsn first = log.info().lsn_last + 1, last = first + count - 1;
      for (Lsn lsn = first; lsn <= last; ++lsn) texts.push_back(text_of(name, lsn));
      const std::vector<Bytes> batch = borrowed(texts);
      note("appending " + name + text(first) + text(last));
      const auto done = count == 1 ? log.append(batch.front()) : log.append(batch);
      if (done) note("appended " + name + text(last));
      return done.status();
    });
  }

  // One after the other without waiting, so that several fragments are under way at once.
  void append_async(const std::string& name, size_t count) {
    step(name, [&](Log& log) {
      for (size_t i = 0; i < count; ++i) {
        const Lsn lsn = log.info().lsn_last + 1;
        note("appending " + name + text(lsn) + text(lsn));
        const auto taken = log.append_async(as_bytes(text_of(name, lsn)), [name](Result<Lsn> done) {
          if (done) note("appended " + name + text(*done));
        });
        if (!taken) return taken.status();
      }
      return Status();
    });
  }

  void truncate(const std::string& name, uint64_t leave) {
    step(name, [&](Log& log) {
      const LogInfo info = log.info();
      if (info.entries() <= leave) return Status();
      const Lsn upto = info.lsn_durable - leave;
      note("truncating " + name + text(upto));
      Status status = log.truncate(upto);
      if (status.ok()) note("truncated " + name + text(upto));
      return status;
    });
  }

  // Makes the cursor and the retention where they are not there yet.
  void commit(const std::string& name, uint64_t leave, bool flush) {
    step(name, [&](Log& log) {
      const bool is_new = log.cursors().empty();
      if (is_new) note("cursor " + name);
      auto cursor = log.cursor(kCursorName);
      if (!cursor) return cursor.status();
      if (is_new) note("cursor " + name);
      if (log.info().retention != kRetention) {
        note("retaining " + name);
        if (Status status = log.retain(kRetention); !status.ok()) return status;
        note("retained " + name);
      }
      const Lsn last = log.info().lsn_durable;
      if (last < cursor->info().committed + leave) return Status();
      note("committing " + name + text(last - leave));
      Status status = cursor->commit(last - leave);
      if (status.ok() && flush) status = wal_.flush();
      if (status.ok() && flush) note("committed " + name + text(last - leave));
      return status;
    });
  }

  void drop(const std::string& name) {
    if (!status.ok()) return;
    note("dropping " + name);
    status = wal_.drop(name);
    if (!status.ok()) return;
    note("dropped " + name);
    ++generations_[name];
  }

  void flush() {
    if (status.ok()) status = wal_.flush();
  }

  void collect() {
    if (status.ok()) status = wal_.gc().status();
  }

  void close() {
    const Status closed = wal_.close();
    if (status.ok()) status = closed;
  }

  Status status;

 private:
  template <class Step>
  void step(const std::string& name, Step take) {
    if (!status.ok()) return;
    auto log = wal_.log(name);
    status = log ? take(*log) : log.status();
  }

  std::string text_of(const std::string& name, Lsn lsn) {
    return payload(name, generations_.emplace(name, 1).first->second, lsn);
  }

  static std::vector<Bytes> borrowed(const std::vector<std::string>& texts) {
    std::vector<Bytes> out;
    for (const std::string& each : texts) out.push_back(as_bytes(each));
    return out;
  }

  Wal& wal_;
  std::map<std::string, uint64_t>& generations_;
};

void run_steps(Opening& opening, int number) {
  for (const char* name : {"cut", "kept", "dropped", "cut"}) opening.append(name, 1);
  opening.append("kept", 4);
  opening.append_async("cut", 9);
  opening.append("kept", 1);
  opening.commit("kept", 3, number % 2 == 0);
  opening.truncate("cut", 5);
  if (number % 3 == 1) opening.drop("dropped");
  if (number % 2 == 0) opening.collect();
  opening.append("cut", 3);
  opening.append("dropped", 2);
  if (number % 4 == 3) opening.collect();
  opening.append_async("kept", 6);
}

}  // namespace

Options small_options() {
  Options options;
  options.fragment_bytes_max = 4u << 10;
  options.block_bytes = 1u << 10;
  options.ram_bytes_max = 1u << 20;
  options.entry_bytes_max = 16u << 10;
  options.checkpoint_slots = 16;
  options.reclaim_grace = Duration{0};
  options.compact_objects = 3;
  options.compact_share = 0;  // only when it is told to
  return options;
}

Status run_script(const std::string& dir) {
  std::map<std::string, uint64_t> generations;
  for (int number = 0; number < kOpenings; ++number) {
    Options options = small_options();
    // Now and then the view is lost, or thrown away.
    options.rebuild = number == 4;
    if (number == 6) ::unlink((dir + "/wp.sqlite").c_str());
    auto wal = Wal::open(dir, options);
    if (!wal) return wal.status();
    for (const char* name : {"cut", "kept", "dropped"}) {
      const auto log = (*wal)->find(name);
      note(std::string("found ") + name + text(log ? log->info().lsn_durable : 0));
    }
    Opening opening(**wal, generations);
    run_steps(opening, number);
    // With what is under way, as a crash would leave it; or properly.
    if (number % 3 == 2 || number == 3) {
      (*wal)->abandon();
    } else {
      opening.close();
    }
    if (!opening.status.ok()) return opening.status;
  }
  return {};
}

}  // namespace wp::crash
