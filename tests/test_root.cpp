#include "tests/test_root.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace wp {
namespace {

namespace fs = std::filesystem;

std::string unique_name() {
  static std::atomic<uint64_t> next{1};
  return "wp-test-" + std::to_string(getpid()) + "-" + std::to_string(next++);
}

bool is_object(std::string_view key) {
  return key == "root" || key.starts_with("j/") || key.starts_with("s/") || key.starts_with("c/");
}

std::vector<std::byte> read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  std::vector<std::byte> bytes(fs::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

void write_file(const fs::path& path, const std::vector<std::byte>& bytes) {
  fs::create_directories(path.parent_path());
  fs::remove(path);  // it may be a link that another root shares
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

constexpr const char* kViewFiles[] = {"wp.sqlite", "wp.sqlite-wal", "wp.sqlite-shm",
                                      "wp.sqlite-journal"};

}  // namespace

RootKind each_root() {
  RootKind kind = RootKind::kMemory;
  if (store_test::s3_is_there()) return RootKind::kS3;
  SUBCASE("in memory") {
    kind = RootKind::kMemory;
  }
  SUBCASE("in a directory") {
    kind = RootKind::kDirectory;
  }
  return kind;
}

TestDirectory::TestDirectory() : path_((fs::temp_directory_path() / unique_name()).string()) {
  fs::create_directories(path_);
}

TestDirectory::~TestDirectory() {
  std::error_code error;
  fs::remove_all(path_, error);
}

TestRoot::TestRoot(RootKind kind) : kind_(kind), name_(unique_name()) {
  if (kind_ == RootKind::kMemory) {
    url_ = "mem://" + name_;
    return;
  }
  if (kind_ == RootKind::kS3) {
    s3_ = std::make_unique<store_test::S3Objects>(name_);
    url_ = s3_->url();
    return;
  }
  directory_ = (fs::temp_directory_path() / name_).string();
  url_ = "file://" + directory_;
}

TestRoot::~TestRoot() {
  if (kind_ == RootKind::kDirectory) {
    std::error_code error;
    fs::remove_all(directory_, error);
    return;
  }
  if (kind_ == RootKind::kS3) {
    forget_view();
    return;
  }
  const auto bucket = memory_bucket(name_, false);
  if (bucket == nullptr) return;
  for (const std::string& key : bucket->keys()) bucket->erase(key);
}

Options TestRoot::options() const {
  Options options;
  options.sync = false;
  return options;
}

std::unique_ptr<Wal> TestRoot::open(const Options& options) const {
  auto opened = Wal::open(url_, options);
  require_ok(opened.status());
  if (kind_ == RootKind::kS3 && !options.read_only) s3_view_ = (*opened)->info().view_path;
  return std::move(opened).value();
}

std::vector<std::string> TestRoot::keys() const {
  std::vector<std::string> keys;
  if (kind_ == RootKind::kMemory) {
    const auto bucket = memory_bucket(name_, false);
    if (bucket != nullptr) keys = bucket->keys();
  } else if (kind_ == RootKind::kS3) {
    keys = s3_->keys();
  } else if (fs::exists(directory_)) {
    for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
      if (!entry.is_regular_file()) continue;
      keys.push_back(fs::relative(entry.path(), directory_).string());
    }
  }
  keys.erase(std::remove_if(keys.begin(), keys.end(),
                            [](const std::string& key) { return !is_object(key); }),
             keys.end());
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::vector<std::byte> TestRoot::bytes(const std::string& key) const {
  if (kind_ == RootKind::kDirectory) return read_file(fs::path(directory_) / key);
  if (kind_ == RootKind::kS3) return s3_->bytes(key);
  const Body body = memory_bucket(name_, true)->get(key);
  REQUIRE(body != nullptr);
  return *body;
}

void TestRoot::put(const std::string& key, const std::vector<std::byte>& bytes) const {
  if (kind_ == RootKind::kDirectory) {
    write_file(fs::path(directory_) / key, bytes);
  } else if (kind_ == RootKind::kS3) {
    s3_->put(key, bytes);
  } else {
    memory_bucket(name_, true)->overwrite(key, bytes);
  }
}

void TestRoot::erase(const std::string& key) const {
  if (kind_ == RootKind::kDirectory) {
    fs::remove(fs::path(directory_) / key);
  } else if (kind_ == RootKind::kS3) {
    s3_->erase(key);
  } else {
    memory_bucket(name_, true)->erase(key);
  }
}

void TestRoot::copy_objects_to(const TestRoot& other) const {
  for (const std::string& key : other.keys()) other.erase(key);
  for (const std::string& key : keys()) other.put(key, bytes(key));
}

void TestRoot::forget_view() const {
  if (kind_ == RootKind::kS3 && !s3_view_.empty()) {
    for (const char* end : {"", "-wal", "-shm", "-journal"}) fs::remove(s3_view_ + end);
  }
  if (kind_ != RootKind::kDirectory) return;
  for (const char* file : kViewFiles) fs::remove(fs::path(directory_) / file);
}

void TestRoot::copy_view_to(const TestRoot& other) const {
  other.forget_view();
  if (kind_ != RootKind::kDirectory) return;
  fs::create_directories(other.directory_);
  for (const char* file : kViewFiles) {
    const fs::path from = fs::path(directory_) / file;
    if (fs::exists(from)) fs::copy_file(from, fs::path(other.directory_) / file);
  }
}

// ---------------------------------------------------------------------------------------- entries

void require_ok(const Status& status) {
  INFO(status.to_string());
  REQUIRE(status.ok());
}

std::vector<Entry> read_entries(const Log& log, From from) {
  auto reader = log.read(from);
  require_ok(reader.status());
  std::vector<Entry> entries;
  for (;;) {
    auto next = reader->next();
    require_ok(next.status());
    if (!next->has_value()) break;
    if (!entries.empty()) {
      CHECK((*next)->lsn == entries.back().lsn + 1);
      CHECK((*next)->time_ms >= entries.back().time_ms);
    }
    entries.push_back(std::move(**next));
  }
  return entries;
}

std::vector<std::string> read_texts(const Log& log, From from) {
  std::vector<std::string> texts;
  for (const Entry& entry : read_entries(log, from)) texts.emplace_back(entry.text());
  return texts;
}

Log log_of(Wal& wal, std::string_view name) {
  auto log = wal.log(name);
  require_ok(log.status());
  return std::move(log).value();
}

Log log_of(const Site& site, std::string_view name) {
  require_ok(site.status);
  auto log = site.engine->log(name);
  require_ok(log.status());
  return std::move(log).value();
}

Lsn append_text(Log& log, std::string_view text) {
  const auto lsn = log.append(as_bytes(text));
  require_ok(lsn.status());
  return *lsn;
}

std::vector<std::string> texts(std::string_view prefix, size_t count) {
  std::vector<std::string> texts;
  for (size_t i = 1; i <= count; ++i) texts.push_back(std::string(prefix) + std::to_string(i));
  return texts;
}

std::string noise(uint64_t seed, size_t bytes) {
  SimRandom random(seed);
  std::string text;
  text.reserve(bytes + 8);
  while (text.size() < bytes) {
    const uint64_t word = random.next();
    text.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  text.resize(bytes);
  return text;
}

uint64_t requests_of(const Stats& stats, std::string_view operation, std::string_view cause) {
  uint64_t sum = 0;
  for (const RequestCount& count : stats.requests) {
    if (!operation.empty() && count.operation != operation) continue;
    if (!cause.empty() && count.cause != cause) continue;
    sum += count.requests;
  }
  return sum;
}

}  // namespace wp
