// Many readers, of logs that are written meanwhile and of logs that are still.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "meta_sqlite/sqlite_view.h"
#include "platform/real_runtime.h"
#include "stores/directory.h"
#include "tests/test_root.h"

namespace wp {
namespace {

constexpr Duration kLong{60'000};

// Reads `count` entries with a subscription and checks that they are 1, 2, 3, ...
void follow(const Log& log, Lsn count) {
  auto reader = log.subscribe();
  CHECK(reader.ok());
  if (!reader.ok()) return;
  for (Lsn expected = 1; expected <= count;) {
    const auto got = reader->next_batch(64, kLong);
    CHECK(got.ok());
    if (!got.ok() || got->empty()) return;
    for (const Entry& entry : *got) {
      CHECK(entry.lsn == expected);
      CHECK(entry.text() == std::to_string(expected));
      ++expected;
    }
  }
}

}  // namespace

TEST_CASE("C13 sixteen concurrent readers each see exactly everything") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("", 3'000)) {
    require_ok(log.append_async(as_bytes(text)).status());
  }
  require_ok(wal->flush());
  std::vector<std::thread> readers;
  for (int r = 0; r < 16; ++r) {
    readers.emplace_back([&, r] {
      const auto first = static_cast<Lsn>(r * 100 + 1);
      auto reader = log.read(From::at(first));
      CHECK(reader.ok());
      Lsn expected = first;
      for (;;) {
        const auto next = reader->next();
        CHECK(next.ok());
        if (!next.ok() || !next->has_value()) break;
        CHECK((*next)->lsn == expected);
        CHECK((*next)->text() == std::to_string(expected));
        ++expected;
      }
      CHECK(expected == 3'001);
    });
  }
  for (auto& reader : readers) reader.join();
}

TEST_CASE("C14 sixteen readers see exactly everything while objects roll all the time") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 4u << 10;
  options.block_bytes = 1u << 10;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  constexpr Lsn kCount = 4'000;
  std::vector<std::thread> threads;
  for (int r = 0; r < 16; ++r) threads.emplace_back([&] { follow(log, kCount); });
  for (Lsn lsn = 1; lsn <= kCount; ++lsn) {
    const auto given = log.append_async(as_bytes(std::to_string(lsn)));
    require_ok(given.status());
    if (lsn % 500 == 0) require_ok(wal->flush());
  }
  for (auto& thread : threads) thread.join();
}

TEST_CASE("C15 a reader on a silent writer gets no error") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log silent = log_of(*wal, "silent");
  auto reader = silent.subscribe();
  require_ok(reader.status());
  Log busy = log_of(*wal, "busy");
  for (int i = 0; i < 5; ++i) {
    append_text(busy, "x");
    const auto next = reader->next(Duration{2});
    require_ok(next.status());
    CHECK_FALSE(next->has_value());
  }
  auto finished = silent.read();
  require_ok(finished.status());
  const auto none = finished->next(kLong);  // does not wait: the end is reached
  require_ok(none.status());
  CHECK_FALSE(none->has_value());
}

TEST_CASE("C34 every reader of an open epoch sees a prefix, the same as every other") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 4u << 10;
  const auto wal = root.open(options);
  constexpr Lsn kCount = 1'500;
  std::atomic<bool> done{false};
  std::atomic<Lsn> acknowledged{0};
  std::thread writer([&] {
    Log log = log_of(*wal, "a");
    for (Lsn lsn = 1; lsn <= kCount; ++lsn) {
      const auto given = log.append_async(as_bytes(std::to_string(lsn)), [&](Result<Lsn> result) {
        if (result.ok()) acknowledged = *result;
      });
      CHECK(given.ok());
    }
    CHECK(wal->flush().ok());
    done = true;
  });
  std::vector<std::thread> readers;
  for (int r = 0; r < 4; ++r) {
    readers.emplace_back([&] {
      Lsn longest = 0;
      for (bool last = false; !last;) {
        last = done;
        const Lsn at_least = acknowledged;
        const Log log = log_of(*wal, "a");
        const auto got = read_texts(log);
        CHECK(got.size() >= longest);
        CHECK(got.size() >= at_least);
        longest = got.size();
        for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == std::to_string(i + 1));
      }
      CHECK(longest == kCount);
    });
  }
  for (auto& reader : readers) reader.join();
  writer.join();
}

TEST_CASE("C34 a follower reads a live root without writing anything") {
  const TestRoot root(RootKind::kDirectory);
  Options options = root.options();
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("", 100)) append_text(log, text);

  // As another process would: with parts of its own.
  Options read_only = options;
  read_only.read_only = true;
  DirectoryOptions directory_options;
  directory_options.read_only = true;
  auto store = DirectoryStore::open(root.directory(), directory_options);
  require_ok(store.status());
  auto view = SqliteView::open("");
  require_ok(view.status());
  EngineParts parts;
  parts.store = std::move(store).value();
  parts.runtime = std::make_shared<RealRuntime>();
  parts.view = std::move(view).value();
  const auto keys = root.keys();
  auto follower = Engine::open(std::move(parts), read_only);
  require_ok(follower.status());
  CHECK((*follower)->info().read_only);
  auto found = (*follower)->find("a");
  require_ok(found.status());
  CHECK(read_texts(*found) == texts("", 100));
  CHECK_CODE(found->append(as_bytes("x")), Code::kReadOnly);
  CHECK_CODE((*follower)->drop("a"), Code::kReadOnly);
  CHECK_CODE(found->truncate(1), Code::kReadOnly);
  auto reader = found->subscribe(From::at(101));
  require_ok(reader.status());
  CHECK(root.keys() == keys);
  std::thread writer([&] {
    for (int i = 101; i <= 200; ++i) append_text(log, std::to_string(i));
  });
  for (Lsn expected = 101; expected <= 200; ++expected) {
    const auto next = reader->next(kLong);
    require_ok(next.status());
    REQUIRE(next->has_value());
    CHECK((*next)->lsn == expected);
    CHECK((*next)->text() == std::to_string(expected));
  }
  writer.join();
  append_text(log, "201");  // the follower fenced nobody
  require_ok((*follower)->close());
}

TEST_CASE("C37 starting far inside a large open epoch reads only what stands there") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 64u << 10;
  options.block_bytes = 4u << 10;
  options.ram_bytes_max = 4u << 20;
  constexpr Lsn kCount = 20'000;
  const std::string filler = noise(7, 400);
  {
    const auto wal = root.open(options);
    Log log = log_of(*wal, "a");
    for (Lsn lsn = 1; lsn <= kCount; ++lsn) {
      require_ok(log.append_async(as_bytes(filler + std::to_string(lsn))).status());
    }
    require_ok(wal->flush());
    require_ok(wal->close());
  }
  const auto wal = root.open(options);
  const Log log = log_of(*wal, "a");
  const Stats before = wal->stats();
  auto reader = log.read(From::at(kCount / 2));
  require_ok(reader.status());
  const auto next = reader->next();
  require_ok(next.status());
  REQUIRE(next->has_value());
  CHECK((*next)->lsn == kCount / 2);
  CHECK((*next)->text() == filler + std::to_string(kCount / 2));
  reader = Result<Reader>(Status(Code::kClosed, "done"));  // ends its prefetching
  const Stats after = wal->stats();
  uint64_t bytes = 0;
  for (const RequestCount& count : after.requests) {
    if (count.operation == "get" && count.cause == "read") bytes += count.bytes;
  }
  CHECK(requests_of(after) - requests_of(before) <= 32);
  // Of some 8 MB: at most what a reader may fetch ahead.
  CHECK(bytes < 4u << 20);
}

}  // namespace wp
