#include "tests/crash/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

namespace wp::crash {
namespace {

using Kind = Call::Kind;
using Random = std::mt19937_64;

bool is_of_names(const Call& call) {
  return call.kind == Kind::kName || call.kind == Kind::kUnname;
}

void write_into(std::string& content, uint64_t offset, std::string_view data) {
  if (content.size() < offset + data.size()) content.resize(offset + data.size());
  std::copy(data.begin(), data.end(), content.begin() + static_cast<ptrdiff_t>(offset));
}

void apply_whole(std::string& content, const Call& call) {
  if (call.kind == Kind::kResize) {
    content.resize(call.offset);
  } else {
    write_into(content, call.offset, call.data);
  }
}

// The pieces of a write that lie in one sector each.
template <class Take>
void each_sector(const Call& call, uint64_t sector, Take take) {
  const uint64_t end = call.offset + call.data.size();
  for (uint64_t at = call.offset; at < end;) {
    const uint64_t next = std::min(end, (at / sector + 1) * sector);
    take(at, std::string_view(call.data).substr(at - call.offset, next - at));
    at = next;
  }
}

uint64_t sector_of(Random& random) {
  return random() % 2 ? 512 : 4096;
}

}  // namespace

const char* loss_name(Loss loss) {
  switch (loss) {
    case Loss::kNone:
      return "all kept";
    case Loss::kAll:
      return "unsynced lost";
    case Loss::kData:
      return "data lost";
    case Loss::kNames:
      return "names lost";
    case Loss::kTornWrite:
      return "last write torn";
    case Loss::kLater:
      return "later lost";
    case Loss::kEarlier:
      return "earlier lost";
    case Loss::kRandom:
      return "random";
  }
  return "";
}

uint64_t Image::digest() const {
  uint64_t digest = 0;
  const auto mix = [&digest](uint64_t value) { digest = (digest ^ value) * 0x9e3779b97f4a7c15; };
  const std::hash<std::string> hash;
  for (const std::string& dir : dirs) mix(hash(dir));
  for (const auto& [name, inode] : names) {
    mix(hash(name));
    mix(hash(*contents.at(inode)));
  }
  return digest;
}

bool Image::write_to(const std::string& dir) const {
  for (const std::string& each : dirs) {
    if (::mkdir((dir + each).c_str(), 0777) != 0) return false;
  }
  std::map<InodeId, std::string> written;
  for (const auto& [name, inode] : names) {
    const std::string path = dir + name;
    const auto [first, is_new] = written.emplace(inode, path);
    if (!is_new) {
      if (::link(first->second.c_str(), path.c_str()) != 0) return false;
      continue;
    }
    const std::string& content = *contents.at(inode);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return false;
    const ssize_t count = ::write(fd, content.data(), content.size());
    ::close(fd);
    if (count != static_cast<ssize_t>(content.size())) return false;
  }
  return true;
}

// Decides about each change that is not certain.
class Disk::Chance {
 public:
  Chance(Loss loss, uint64_t seed, const std::vector<const Call*>& pending)
      : loss_(loss), random_(seed) {
    keep_of_8_ = 1 + random_() % 7;
    // Calls lie in memory in the order in which they were made.
    if (loss == Loss::kLater && !pending.empty()) moment_ = pending[random_() % pending.size()];
    for (const Call* call : pending) {
      if (call->kind == Kind::kWrite) last_write_ = std::max(last_write_, call, std::less<>());
    }
  }

  // True: the change is there. A write may change the content here, and be there in part.
  bool keeps(const Call& call, bool is_last_of_inode, std::string* content) {
    switch (loss_) {
      case Loss::kNone:
        return true;
      case Loss::kAll:
        return false;
      case Loss::kData:
        return is_of_names(call);
      case Loss::kNames:
        return !is_of_names(call);
      case Loss::kTornWrite:
        if (&call == last_write_) cut(call, *content);
        return &call != last_write_;
      case Loss::kLater:
        return std::less<>()(&call, moment_);
      case Loss::kEarlier:
        return is_last_of_inode;
      case Loss::kRandom:
        if (random_() % 8 >= keep_of_8_) return false;
        if (call.kind != Kind::kWrite || random_() % 4 != 0) return true;
        scatter(call, *content);
        return false;
    }
    return true;
  }

 private:
  // What lies before a boundary is there.
  void cut(const Call& call, std::string& content) {
    std::vector<std::pair<uint64_t, std::string_view>> pieces;
    each_sector(call, sector_of(random_),
                [&](uint64_t at, std::string_view data) { pieces.emplace_back(at, data); });
    pieces.resize(random_() % std::max<size_t>(pieces.size(), 1));
    for (const auto& [at, data] : pieces) write_into(content, at, data);
  }

  // Some sectors are there, or none of them but the length of the file.
  void scatter(const Call& call, std::string& content) {
    const uint64_t end = call.offset + call.data.size();
    if (random_() % 2 && content.size() < end) content.resize(end);
    each_sector(call, sector_of(random_), [&](uint64_t at, std::string_view data) {
      if (random_() % 2) write_into(content, at, data);
    });
  }

  const Loss loss_;
  Random random_;
  uint64_t keep_of_8_ = 0;
  const Call* moment_ = nullptr;
  const Call* last_write_ = nullptr;
};

Disk::Disk(Unsynced unsynced) : unsynced_(unsynced) {
  at(kTop).is_dir = true;
}

Disk::Inode& Disk::at(InodeId id) {
  if (inodes_.size() <= id) inodes_.resize(id + 1);
  return inodes_[id];
}

void Disk::apply(const Call& call) {
  switch (call.kind) {
    case Kind::kNote:
      return;
    case Kind::kSyncAll:
      for (Inode& inode : inodes_) settle(inode);
      return;
    case Kind::kSync: {
      Inode& inode = at(call.inode);
      if (unsynced_ == Unsynced::kNothing ||
          inode.is_dir != (unsynced_ == Unsynced::kDirectories)) {
        settle(inode);
      }
      return;
    }
    case Kind::kName:
      at(call.target).is_dir |= call.makes_dir;
      last_names_[call.target] = path_of(call.inode) + "/" + call.name;
      break;
    case Kind::kUnname:
    case Kind::kWrite:
    case Kind::kResize:
      break;
  }
  at(call.inode).pending.push_back(&call);
}

// All that was changed is certain now.
void Disk::settle(Inode& inode) {
  if (inode.pending.empty()) return;
  std::string content = *inode.content;
  for (const Call* call : inode.pending) {
    if (call->kind == Kind::kName) {
      inode.names[call->name] = call->target;
    } else if (call->kind == Kind::kUnname) {
      inode.names.erase(call->name);
    } else {
      apply_whole(content, *call);
    }
  }
  inode.content = std::make_shared<std::string>(std::move(content));
  inode.pending.clear();
}

std::vector<const Call*> Disk::all_pending() const {
  std::vector<const Call*> all;
  for (const Inode& inode : inodes_) {
    all.insert(all.end(), inode.pending.begin(), inode.pending.end());
  }
  return all;
}

Image Disk::image(Loss loss, uint64_t seed) const {
  Chance chance(loss, seed, all_pending());
  Image image;
  add_dir(image, "", kTop, chance);
  return image;
}

void Disk::add_dir(Image& image, const std::string& path, InodeId id, Chance& chance) const {
  const Inode& dir = inodes_[id];
  std::map<std::string, InodeId> names = dir.names;
  for (const Call* call : dir.pending) {
    if (!chance.keeps(*call, call == dir.pending.back(), nullptr)) continue;
    if (call->kind == Kind::kName) {
      names[call->name] = call->target;
    } else {
      names.erase(call->name);
    }
  }
  for (const auto& [name, target] : names) {
    const Inode& inode = inodes_[target];
    if (inode.is_dir) {
      image.dirs.push_back(path + "/" + name);
      add_dir(image, path + "/" + name, target, chance);
      continue;
    }
    image.names.emplace_back(path + "/" + name, target);
    Image::Content& content = image.contents[target];
    if (content != nullptr) continue;
    content = inode.content;
    if (inode.pending.empty()) continue;
    std::string changed = *content;
    for (const Call* call : inode.pending) {
      if (chance.keeps(*call, call == inode.pending.back(), &changed)) apply_whole(changed, *call);
    }
    content = std::make_shared<std::string>(std::move(changed));
  }
}

std::string Disk::path_of(InodeId inode) const {
  const auto found = last_names_.find(inode);
  return found == last_names_.end() ? "" : found->second;
}

}  // namespace wp::crash
