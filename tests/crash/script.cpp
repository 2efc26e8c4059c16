#include "tests/crash/script.h"

#include <unistd.h>

#include <vector>

#include "tests/crash/disk.h"
#include "tests/crash/known.h"
#include "tests/crash/recorder.h"
#include "tests/crash/work.h"

namespace wp::crash {
namespace {

// Which opening does what.
constexpr int kRebuilds = 4, kHasNoView = 6, kDoesNotSync = 8;
bool drops(int number) {
  return number % 3 == 1;
}
bool is_abandoned(int number) {
  return number % 3 == 2 || number == 3;
}
bool names_its_files(int number) {
  return number % 4 >= 2;
}

// How often the log was made, before that opening drops it.
uint64_t generation_of(const std::string& log, int number) {
  uint64_t generation = 1;
  for (int i = 0; i < number; ++i) generation += log == "dropped" && drops(i);
  return generation;
}

std::string text(uint64_t number) {
  return " " + std::to_string(number);
}

// One opening of the root. Its steps end with the first that fails.
class Opening {
 public:
  Opening(Wal& wal, int number) : wal_(wal), number_(number) {}

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
      if (is_new) note("making " + name);
      auto cursor = log.cursor(kCursorName);
      if (!cursor) return cursor.status();
      if (is_new) note("made " + name);
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
    dropped_ = name;
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
    return payload(name, generation_of(name, number_) + (name == dropped_), lsn);
  }

  static std::vector<Bytes> borrowed(const std::vector<std::string>& texts) {
    std::vector<Bytes> out;
    for (const std::string& each : texts) out.push_back(as_bytes(each));
    return out;
  }

  Wal& wal_;
  const int number_;
  std::string dropped_;
};

void run_steps(Opening& opening, int number) {
  for (const char* name : {"cut", "kept", "dropped", "cut"}) opening.append(name, 1);
  opening.append("kept", 4);
  opening.append_async("cut", 9);
  opening.append("kept", 1);
  opening.commit("kept", 3, number % 2 == 0);
  opening.truncate("cut", 5);
  if (drops(number)) opening.drop("dropped");
  if (number % 2 == 0) opening.collect();
  opening.append("cut", 3);
  opening.append("dropped", 2);
  if (number % 4 == 3) opening.collect();
  opening.append_async("kept", 6);
}

// What is under the directory, as far as a digest tells.
uint64_t digest_of(const std::string& dir) {
  record(dir);
  const std::vector<Call> calls = recording_ends();
  Disk disk;
  for (const Call& call : calls) disk.apply(call);
  return disk.image(Loss::kNone, 0).digest();
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

Status run_opening(const std::string& dir, int number) {
  Options options = small_options();
  options.rebuild = number == kRebuilds;
  options.sync = number != kDoesNotSync;
  if (number == kHasNoView) ::unlink((dir + "/wp.sqlite").c_str());
  if (number == kDoesNotSync) note("unsynced");
  refuse_unnamed_files(names_its_files(number));
  auto wal = Wal::open(dir, options);
  if (!wal) return wal.status();
  for (const char* name : kLogNames) {
    const auto log = (*wal)->find(name);
    note(std::string("found ") + name + text(log ? log->info().lsn_durable : 0));
  }
  if (number == kDoesNotSync + 1) note("synced");
  Opening opening(**wal, number);
  run_steps(opening, number);
  if (is_abandoned(number)) {
    (*wal)->abandon();  // with what is under way
  } else {
    opening.close();
  }
  refuse_unnamed_files(false);
  return opening.status;
}

std::vector<Call> recorded_script(const std::string& dir) {
  empty_dir(dir);
  record(dir);
  for (int number = 0; number < kOpenings; ++number) {
    note("opening " + std::to_string(number));
    const Status status = run_opening(dir + "/root", number);
    if (!status.ok()) give_up("the script fails: " + status.to_string());
  }
  std::vector<Call> calls = recording_ends();
  Disk disk;
  for (const Call& call : calls) disk.apply(call);
  if (disk.image(Loss::kNone, 0).digest() != digest_of(dir)) {
    give_up("something was changed by a call that the recorder does not know");
  }
  return calls;
}

}  // namespace wp::crash
