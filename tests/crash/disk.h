// What a disk may hold after the machine lost power: worked out from a recording of calls, with no
// more than POSIX promises. What a file holds is certain after a sync of the file, what a directory
// names after a sync of the directory, each by itself. Everything else may be there or not, in any
// combination, and a write also in part.
#ifndef WP_TESTS_CRASH_DISK_H_
#define WP_TESTS_CRASH_DISK_H_

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/crash/recorder.h"

namespace wp::crash {

// What becomes of that which is not certain.
enum class Loss : uint8_t {
  kNone,       // all of it is there: as when only the process dies
  kAll,        // nothing of it
  kData,       // the names are there, what was written is not
  kNames,      // what was written is there, the names are not
  kTornWrite,  // all is there, but the last write is cut at a boundary of sectors or of pages
  kLater,      // what came after some moment is not there
  kEarlier,    // of each file and directory only the last change is there
  kRandom,     // each change by chance, whole, or some of its sectors, or only the length
};
inline constexpr Loss kLosses[] = {Loss::kNone,      Loss::kAll,   Loss::kData,    Loss::kNames,
                                   Loss::kTornWrite, Loss::kLater, Loss::kEarlier, Loss::kRandom};
const char* loss_name(Loss loss);

// For a test of the test: syncs that are taken to have done nothing.
enum class Unsynced : uint8_t { kNothing, kFiles, kDirectories };

// A tree of files.
struct Image {
  using Content = std::shared_ptr<const std::string>;
  std::vector<std::string> dirs;                       // each behind the one it lies in
  std::vector<std::pair<std::string, InodeId>> names;  // of files
  std::map<InodeId, Content> contents;

  uint64_t digest() const;
  // Into a directory that is there and empty; false: errno says why not.
  bool write_to(const std::string& dir) const;
};

class Disk {
 public:
  explicit Disk(Unsynced unsynced = Unsynced::kNothing);
  // The call must outlive this.
  void apply(const Call& call);
  Image image(Loss loss, uint64_t seed) const;
  std::string path_of(InodeId inode) const;  // one of its names, for messages

 private:
  struct Inode {
    bool is_dir = false;
    // What is certain.
    Image::Content content = std::make_shared<std::string>();
    std::map<std::string, InodeId> names;
    std::vector<const Call*> pending;  // what is not
  };
  class Chance;

  Inode& at(InodeId id);
  void settle(Inode& inode);
  void add_dir(Image& image, const std::string& path, InodeId id, Chance& chance) const;
  std::vector<const Call*> all_pending() const;

  const Unsynced unsynced_;
  std::vector<Inode> inodes_;
  std::map<InodeId, std::string> last_names_;
};

}  // namespace wp::crash

#endif  // WP_TESTS_CRASH_DISK_H_
