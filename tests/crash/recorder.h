// Stands between this program and the kernel: every call that changes a file or a directory under
// one directory, of the library as of SQLite, is written down in the order in which it was made,
// with all of its bytes. Or the process is killed right before one of them.
//
// The program's own definitions of open(), pwrite() and so on come before the C library's, so
// nothing needs to be loaded or traced. Calls are made one at a time, under a lock. A kind of call
// that it does not know is not seen; whoever replays a recording compares the end of it with what
// is there (script.cpp does).
#ifndef WP_TESTS_CRASH_RECORDER_H_
#define WP_TESTS_CRASH_RECORDER_H_

#include <cstdint>
#include <string>
#include <vector>

namespace wp::crash {

// Never given twice, unlike the kernel's.
using InodeId = uint32_t;
inline constexpr InodeId kTop = 1;  // the directory that is watched; 0: none

struct Call {
  enum class Kind : uint8_t {
    kName,     // `inode`, a directory, gets `name`, which leads to `target`
    kUnname,   // and loses it
    kWrite,    // `data` at `offset`
    kResize,   // to `offset` bytes
    kSync,     // of a file or a directory
    kSyncAll,  // of the file system
    kNote,     // no call: `name` is what the program said here
  };
  Kind kind = Kind::kNote;
  const char* function = "";
  InodeId inode = 0, target = 0;
  bool makes_dir = false;  // kName: the target is a directory, made by this call
  uint64_t offset = 0;
  std::string name, data;
};

// From here on, until recording_ends(). What is there already comes first in the recording, as
// calls that are followed by a sync of everything.
void record(const std::string& dir);
std::vector<Call> recording_ends();

// What the program has to say, in its place between the calls.
void note(const std::string& text);

// From now on counts the calls on what is under the directory, and kills the process before the
// one of that number (from 1). What is noted goes to the descriptor, a line each. Nothing is
// recorded.
void kill_before(const std::string& dir, uint64_t number, int notes);

// As on a file system that has no files without a name.
void refuse_unnamed_files(bool refuse);

}  // namespace wp::crash

#endif  // WP_TESTS_CRASH_RECORDER_H_
