// What is particular to objects in a directory: opening, foreign and odd things in it, full and
// read-only disks, many threads. tests/directory_crash_test.cpp has what concerns crashes.
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "stores/directory.h"
#include "stores/memory.h"
#include "tests/store_contract.h"
#include "tests/with_mount.h"

namespace wp {
namespace {

using namespace store_test;
namespace fs = std::filesystem;

// No test here waits for a disk.
DirectoryOptions quick() {
  DirectoryOptions options;
  options.sync = false;
  return options;
}

DirectoryOptions creating() {
  DirectoryOptions options = quick();
  options.create = true;
  return options;
}

std::unique_ptr<ObjectStore> open_store(const std::string& path, DirectoryOptions options) {
  auto store = DirectoryStore::open(path, options);
  REQUIRE_MESSAGE(store.ok(), store.status().message());
  return std::move(store).value();
}

Status open_status(const std::string& path, const DirectoryOptions& options) {
  return DirectoryStore::open(path, options).status();
}

void write_file(const std::string& path, std::string_view text = "x") {
  std::ofstream(path) << text;
  REQUIRE(fs::exists(path));
}

std::vector<std::string> listed(ObjectStore& store, const std::string& prefix = "") {
  std::vector<std::string> keys;
  for (const ListedObject& object : list_all(store, prefix)) keys.push_back(object.key);
  return keys;
}

}  // namespace

TEST_CASE("opening says what is wrong with the directory and what to do") {
  TempDir dir;
  const Status absent = open_status(dir / "none", quick());
  CHECK(absent.code() == Code::kNotFound);
  CHECK(absent.message().find(dir / "none") != std::string::npos);
  CHECK(!fs::exists(dir / "none"));

  write_file(dir / "file");
  CHECK(open_status(dir / "file", quick()).code() == Code::kInvalid);
  CHECK(open_status(dir / "file", creating()).code() == Code::kInvalid);
  CHECK(open_status(dir / "file/below", quick()).code() == Code::kInvalid);
  CHECK(open_status(dir / "file/below", creating()).code() == Code::kInvalid);
  CHECK(open_status("", creating()).code() == Code::kInvalid);
  CHECK(open_status(std::string("/tmp/a\0b", 8), creating()).code() == Code::kInvalid);
  CHECK(open_status(dir / std::string(300, 'x'), creating()).code() == Code::kInvalid);

  DirectoryOptions read_only = creating();
  read_only.read_only = true;
  CHECK(open_status(dir / "none", read_only).code() == Code::kNotFound);
  CHECK(!fs::exists(dir / "none"));
}

TEST_CASE("creating makes the directory and what is missing above it") {
  TempDir dir;
  DirectoryOptions options = creating();
  options.sync = true;
  const auto store = open_store(dir / "a/b/c/", options);
  CHECK(put(*store, "root", make_body("r")).ok());
  CHECK(fs::exists(dir / "a/b/c/root"));
  CHECK(store->description() == "file://" + (dir / "a/b/c"));
  CHECK(store->linger_default().count() == 0);
}

TEST_CASE("a directory that holds other things is not taken for a new root") {
  TempDir dir;
  write_file(dir / "thesis.doc");
  const Status status = open_status(dir.path(), creating());
  CHECK(status.code() == Code::kInvalid);
  CHECK(status.message().find("thesis.doc") != std::string::npos);
  CHECK(open_status(dir.path(), quick()).ok());  // nothing is created

  write_file(dir / "root");
  CHECK(open_status(dir.path(), creating()).ok());  // it is a root already

  TempDir ours;
  for (const std::string name : {"tmp", "j", "s", "c", "lost+found"})
    fs::create_directory(ours / name);
  for (const std::string name : {"wp.lock", "wp.sqlite", "wp.sqlite-wal"}) write_file(ours / name);
  CHECK(open_status(ours.path(), creating()).ok());
}

TEST_CASE("the root's own files are no objects") {
  TempDir dir;
  const auto store = open_store(dir.path(), quick());
  REQUIRE(put(*store, "c/1", make_body("c")).ok());
  fs::create_directories(dir / "tmp");
  for (const std::string name : {"wp.lock", "wp.sqlite", "wp.sqlite-shm", "tmp/1-1"}) {
    CAPTURE(name);
    write_file(dir / name);
    CHECK(put(*store, name, make_body("x")).answer == Answer::kInvalid);
    CHECK(get(*store, name).status.answer == Answer::kInvalid);
    CHECK(remove(*store, {name}).answer == Answer::kInvalid);
    CHECK(fs::exists(dir / name));
  }
  CHECK(listed(*store) == std::vector<std::string>{"c/1"});
  CHECK(listed(*store, "wp.").empty());
  CHECK(listed(*store, "tmp/").empty());
  // Only at the top.
  CHECK(put(*store, "s/wp.lock", make_body("x")).ok());
  CHECK(put(*store, "s/tmp/1", make_body("x")).ok());
  CHECK(listed(*store, "s").size() == 2);
}

TEST_CASE("D24 what is no file is no object, and no way out of the root") {
  TempDir outside, dir;
  write_file(outside / "secret", "secret");
  const auto store = open_store(dir.path(), quick());
  fs::create_symlink(outside / "secret", dir / "link");
  fs::create_directory_symlink(outside.path(), dir / "away");
  fs::create_directories(dir / "folder/empty");
  REQUIRE(mkfifo((dir / "fifo").c_str(), 0600) == 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE((dir / "socket").size() < sizeof address.sun_path);
  std::strcpy(address.sun_path, (dir / "socket").c_str());
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);

  for (const std::string key :
       {"link", "away/secret", "away", "folder", "folder/empty", "fifo", "socket", "fifo/below"}) {
    CAPTURE(key);
    CHECK(get(*store, key).status.answer == Answer::kNotFound);
    CHECK(put(*store, key, make_body("x")).answer == Answer::kInvalid);
  }
  CHECK(listed(*store).empty());
  CHECK(remove(*store, {"away/secret", "folder", "fifo/below"}).ok());
  CHECK(fs::exists(outside / "secret"));
  CHECK(fs::exists(dir / "folder/empty"));
  close(listener);
}

TEST_CASE("a list of a tree is what a sorted map gives, whatever prefix, start and page") {
  std::mt19937_64 random(20);
  for (int round = 0; round < 20; ++round) {
    TempDir dir;
    const auto store = open_store(dir.path(), quick());
    MemoryBucket model;
    const auto some_key = [&] {
      std::string key;
      for (size_t parts = 1 + random() % 3; parts > 0; --parts) {
        for (size_t n = 1 + random() % 2; n > 0; --n) key += "a-0\xff"[random() % 4];
        if (parts > 1) key += '/';
      }
      return key;
    };
    for (int i = 0; i < 60; ++i) {
      const std::string key = some_key();
      const StoreStatus status = put(*store, key, make_body(key));
      // A name cannot be an object and a directory at once.
      REQUIRE(
          (status.ok() || status.answer == Answer::kExists || status.answer == Answer::kInvalid));
      if (status.ok()) REQUIRE(model.put_if_absent(key, make_body(key)));
    }
    for (int i = 0; i < 100; ++i) {
      const std::string whole = some_key();
      const std::string prefix = whole.substr(0, random() % (whole.size() + 1));
      const std::string after = random() % 2 == 0 ? "" : some_key();
      const auto count_max = static_cast<uint32_t>(random() % 8);
      CAPTURE(round);
      CAPTURE(prefix);
      CAPTURE(after);
      CAPTURE(count_max);
      const ListResult expected = model.list(prefix, after, count_max);
      const ListResult result = list(*store, prefix, after, count_max);
      REQUIRE(result.status.ok());
      REQUIRE(result.more == expected.more);
      REQUIRE(result.objects.size() == expected.objects.size());
      for (size_t k = 0; k < result.objects.size(); ++k) {
        REQUIRE(result.objects[k].key == expected.objects[k].key);
        REQUIRE(result.objects[k].bytes == expected.objects[k].bytes);
      }
    }
  }
}

TEST_CASE("pages of a directory with very many files and folders are complete") {
  TempDir dir;
  const auto store = open_store(dir.path(), quick());
  // Made directly: more than a page looks at in one go, among folders that hold nothing.
  for (int i = 0; i < 3000; ++i) {
    const std::string name = dir / ("f" + std::to_string(10000 + i));
    if (i % 3 == 0) {
      fs::create_directory(name);
      if (i % 30 == 0) write_file(name + "/x");
    } else {
      write_file(name);
    }
  }
  for (const uint32_t count_max : {7u, 100u, 0u}) {
    const auto all = list_all(*store, "", count_max);
    CHECK(all.size() == 2100);
    CHECK(std::is_sorted(all.begin(), all.end(),
                         [](const auto& a, const auto& b) { return a.key < b.key; }));
  }
}

TEST_CASE("directories that become empty go, and puts into them meanwhile do not fail") {
  TempDir dir;
  const auto store = open_store(dir.path(), quick());
  REQUIRE(put(*store, "s/1/x/a", make_body("a")).ok());
  REQUIRE(put(*store, "s/2/a", make_body("a")).ok());
  CHECK(remove(*store, {"s/1/x/a"}).ok());
  CHECK(!fs::exists(dir / "s/1"));
  CHECK(fs::exists(dir / "s/2"));

  std::vector<std::thread> threads;
  Mutex mutex;
  std::vector<std::string> failures;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string key = "k/l/" + std::to_string(t);
      for (int i = 0; i < 300; ++i) {
        for (const StoreStatus& status :
             {put(*store, key, make_body("x")), get(*store, key).status, remove(*store, {key})}) {
          if (status.ok()) continue;
          MutexLock lock(mutex);
          failures.push_back(status.message);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) FAIL_CHECK(failure);
  CHECK(!fs::exists(dir / "k"));
}

TEST_CASE("30 threads on one directory each find what they stored") {
  TempDir dir;
  const auto store = open_store(dir.path(), quick());
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 30; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 30; ++i) {
        // More directories than are kept open.
        const std::string key =
            "d" + std::to_string((t + i) % 40) + "/" + std::to_string(t) + "-" + std::to_string(i);
        if (!put(*store, key, make_body(key)).ok()) ++failures;
        if (get(*store, key).bytes != *make_body(key)) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(listed(*store).size() == 900);
}

TEST_CASE("threads and descriptors of an opening are few, and go with it") {
  const auto entries = [](const char* path) {
    return std::distance(fs::directory_iterator(path), fs::directory_iterator());
  };
  const auto threads_before = entries("/proc/self/task");
  const auto fds_before = entries("/proc/self/fd");
  TempDir dir;
  {
    DirectoryOptions options = quick();
    options.io_threads = 3;
    const auto store = open_store(dir.path(), options);
    CHECK(entries("/proc/self/task") == threads_before);
    Answers<StoreStatus> puts;
    for (int i = 0; i < 100; ++i) {
      store->put_if_absent("d" + std::to_string(i) + "/x", make_body("x"), Cause::kFlush,
                           puts.done());
    }
    puts.wait(100);
    CHECK(entries("/proc/self/task") <= threads_before + 3);
    CHECK(entries("/proc/self/fd") <= fds_before + 1 + 16 + 3);
  }
  CHECK(entries("/proc/self/fd") == fds_before);
}

TEST_CASE("an opening to read writes nothing") {
  TempDir dir;
  REQUIRE(put(*open_store(dir.path(), {}), "j/1", make_body("1")).ok());
  fs::create_directory(dir / "tmp");
  write_file(dir / "tmp/1-1");
  DirectoryOptions options;
  options.read_only = true;
  options.create = true;
  const auto store = open_store(dir.path(), options);
  CHECK(get(*store, "j/1").bytes == *make_body("1"));
  CHECK(listed(*store) == std::vector<std::string>{"j/1"});
  const StoreStatus refused = put(*store, "j/2", make_body("2"));
  CHECK(refused.answer == Answer::kDenied);
  CHECK(refused.message.find("read-only") != std::string::npos);
  CHECK(remove(*store, {"j/1"}).answer == Answer::kDenied);
  CHECK(get(*store, "j/1").status.ok());
  CHECK(fs::exists(dir / "tmp/1-1"));
}

TEST_CASE("D22 a full disk is said to be full, and goes on once there is room") {
  with_mount("the test of a full disk", "size=256k", [](const std::string& path) {
    for (const bool named : {false, true}) {
      CAPTURE(named);
      DirectoryOptions options;
      options.named_files = named;
      const auto store = open_store(path, options);
      const Body large = make_body(100'000, 1);
      size_t stored = 0;
      StoreStatus status;
      while ((status = put(*store, "j/" + std::to_string(stored), large)).ok()) ++stored;
      CHECK(stored == 2);
      CHECK(status.answer == Answer::kNoSpace);
      CHECK(status.message.find("No space left") != std::string::npos);
      CHECK(get(*store, "j/2").status.answer == Answer::kNotFound);
      CHECK(listed(*store).size() == 2);
      CHECK(get(*store, "j/0").bytes == *large);
      CHECK(remove(*store, {"j/0"}).ok());
      CHECK(put(*store, "j/2", large).ok());
      CHECK(remove(*store, {"j/1", "j/2"}).ok());
    }
  });
}

TEST_CASE("a read-only file system is refused for writing and read all the same") {
  with_mount("the test of a read-only file system", "size=1m", [](const std::string& path) {
    auto before = open_store(path, {});
    REQUIRE(put(*before, "j/1", make_body("1")).ok());
    before->shutdown();
    REQUIRE(mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
    DirectoryOptions create;
    create.create = true;
    for (const DirectoryOptions& options : {DirectoryOptions{}, create}) {
      const Status status = open_status(path, options);
      CHECK(status.code() == Code::kDenied);
      CHECK(status.message().find("read-only") != std::string::npos);
    }
    CHECK(open_status(path + "/new", create).code() == Code::kDenied);
    DirectoryOptions read_only;
    read_only.read_only = true;
    CHECK(get(*open_store(path, read_only), "j/1").bytes == *make_body("1"));
  });
}

TEST_CASE("a file system that turns read-only refuses puts as denied") {
  with_mount("the test of a file system that turns read-only", "size=1m",
             [](const std::string& path) {
               const auto store = open_store(path, {});
               REQUIRE(put(*store, "j/1", make_body("1")).ok());
               REQUIRE(mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
               CHECK(put(*store, "j/2", make_body("2")).answer == Answer::kDenied);
               CHECK(put(*store, "k/1", make_body("2")).answer == Answer::kDenied);
               CHECK(remove(*store, {"j/1"}).answer == Answer::kDenied);
               CHECK(get(*store, "j/1").status.ok());
             });
}

}  // namespace wp
