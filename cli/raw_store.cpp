// A root's store for looking at single objects; see raw_store.h.
#include "cli/raw_store.h"

#include <algorithm>
#include <filesystem>
#include <future>
#include <thread>

#include "engine/format.h"
#include "engine/status.h"
#include "s3_minimal/s3_store.h"
#include "stores/directory.h"
#include "stores/keys.h"
#include "stores/memory.h"

namespace wp::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kTriesMax = 5;
constexpr std::chrono::milliseconds kRetryFirst{100};

// Asks until the answer is one that stays.
template <class T, class Ask>
T answer_of(Ask ask) {
  for (int tries = 1;; ++tries) {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    ask([promise](T answer) { promise->set_value(std::move(answer)); });
    T answer = future.get();
    if (!answer.status.passing() || tries == kTriesMax) return answer;
    std::this_thread::sleep_for(
        std::max<std::chrono::milliseconds>(kRetryFirst * (1 << tries), answer.status.retry_after));
  }
}

Result<std::unique_ptr<ObjectStore>> open_store(const RootUrl& root, const Options& options) {
  switch (root.scheme) {
    case Scheme::kDirectory: {
      DirectoryOptions how;
      how.allow_network = options.allow_network;
      how.read_only = true;
      how.io_threads = 1;
      return DirectoryStore::open(root.place, how);
    }
    case Scheme::kMemory: {
      auto bucket = memory_bucket(root.place, false);
      if (bucket == nullptr) {
        return Status(Code::kNotFound, "open mem://" + root.place +
                                           ": there is no root; memory is of one process, and "
                                           "this one has none");
      }
      return std::unique_ptr<ObjectStore>(
          std::make_unique<MemoryStore>(std::move(bucket), root.place));
    }
    case Scheme::kS3:
      break;
  }
  return S3Store::open("s3://" + root.place, options, {});
}

// Whether the name is one that wp gives.
bool is_object_name(std::string_view key) {
  SlotId slot;
  return key == kRootKey || parse_slot_key(key, &slot) ||
         parse_checkpoint_key(key, &slot.epoch, &slot.seq);
}

}  // namespace

Result<RawStore> RawStore::open(std::string_view url, const Options& options) {
  auto root = parse_root_url(url);
  if (!root) return root.status();
  RawStore raw;
  auto store = open_store(*root, options);
  if (!store) return store.status();
  raw.store_ = *std::move(store);
  raw.url_ = url.substr(0, url.find('?'));
  raw.prefixes_ = {raw.url_, root->place};
  if (root->scheme == Scheme::kDirectory) {
    std::error_code error;
    const fs::path path = fs::canonical(root->place, error);
    if (!error) {
      raw.prefixes_.push_back(path.string());
      raw.prefixes_.push_back("file://" + path.string());
    }
  } else if (root->scheme == Scheme::kS3) {
    const size_t slash = root->place.find('/');
    if (slash != std::string::npos) raw.prefixes_.push_back(root->place.substr(slash + 1));
  }
  for (std::string& prefix : raw.prefixes_) {
    if (!prefix.empty() && prefix.back() != '/') prefix += '/';
  }
  return raw;
}

RawStore::~RawStore() {
  if (store_ != nullptr) store_->shutdown();
}

Result<std::vector<std::byte>> RawStore::get(const std::string& key, ByteRange range) {
  auto got = answer_of<GetResult>(
      [&](auto done) { store_->get(key, range, Cause::kVerify, std::move(done)); });
  if (!got.status.ok()) return to_status(got.status);
  return std::move(got.bytes);
}

Result<std::vector<std::string>> RawStore::list(const std::string& prefix, const std::string& after,
                                                size_t count_max) {
  std::vector<std::string> keys;
  for (std::string last = after; keys.size() < count_max;) {
    const auto most = static_cast<uint32_t>(std::min<size_t>(1000, count_max - keys.size()));
    auto listed = answer_of<ListResult>(
        [&](auto done) { store_->list(prefix, last, most, Cause::kVerify, std::move(done)); });
    if (!listed.status.ok()) return to_status(listed.status);
    for (ListedObject& object : listed.objects) keys.push_back(std::move(object.key));
    if (!listed.more || listed.objects.empty()) break;
    last = keys.back();
  }
  return keys;
}

Result<std::string> RawStore::key_of(std::string_view text) const {
  std::string_view key = text;
  if (!is_object_name(key)) {
    for (const std::string& prefix : prefixes_) {
      if (key.size() > prefix.size() && key.starts_with(prefix)) {
        key.remove_prefix(prefix.size());
        break;
      }
    }
    while (key.starts_with("./")) key.remove_prefix(2);
  }
  if (key_is_plain(key)) return std::string(key);
  return Status(Code::kInvalid, "key '" + printable_key(text) + "': no object of " + url_ +
                                    " can be called that; give it relative to the root, as wp "
                                    "verify prints it");
}

}  // namespace wp::cli
