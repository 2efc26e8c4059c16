// Objects that are cut, damaged, missing or replaced, and views that do not belong to their bucket:
// what was acknowledged is read rightly, or an error names what cannot be read. Never wrong data.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "tests/test_root.h"

namespace wp {
namespace {

using Contents = std::map<std::string, std::vector<std::string>>;

// A small root: two logs, several slots, two epochs, a checkpoint.
struct Sample {
  std::shared_ptr<MemoryBucket> bucket;
  std::shared_ptr<MemViewData> view;
  Contents contents;
  size_t object_entries_max = 0;  // entries in the fullest object
  bool in_segment = false;        // all entries are read from there
};

void append_batch(Sample& sample, Log& log, const std::vector<std::string>& texts) {
  std::vector<Bytes> batch;
  for (const std::string& text : texts) batch.push_back(as_bytes(text));
  require_ok(log.append(std::span<const Bytes>(batch)).status());
  auto& all = sample.contents[log.name()];
  all.insert(all.end(), texts.begin(), texts.end());
  sample.object_entries_max = std::max(sample.object_entries_max, texts.size());
}

// `seed`: another one is another root of the same contents.
Sample make_sample(uint64_t seed = 1) {
  SimWorld world(seed);
  Sample sample{world.bucket, std::make_shared<MemViewData>(), {}, 0, false};
  for (int epoch = 0; epoch < 2; ++epoch) {
    Site site = world.open("writer", {}, sample.view);
    Log a = log_of(site, "a"), b = log_of(site, "b");
    for (int i = 0; i < 2; ++i) {
      const std::string which = std::to_string(epoch) + std::to_string(i);
      append_batch(sample, a, {"a" + which + ".1", "a" + which + ".2"});
      append_batch(sample, b, {"b" + which});
    }
    if (epoch == 0) {
      site->abandon();
    } else {
      require_ok(site->close());
    }
  }
  return sample;
}

// The same where a segment holds the entries, a cursor stands in one log, and what the segment took
// over still waits for the grace.
Sample make_compacted_sample(uint64_t seed = 1) {
  Sample sample = make_sample(seed);
  SimWorld world(seed);
  world.bucket = sample.bucket;
  Options options;
  options.reclaim_grace = Duration{3'600'000};
  Site site = world.open("compactor", options, sample.view);
  auto cursor = log_of(site, "a").cursor("c");
  require_ok(cursor.status());
  require_ok(cursor->commit(2));
  const auto report = site->gc(false);
  require_ok(report.status());
  REQUIRE(report->segments_written == 1);
  require_ok(site->close());
  sample.in_segment = true;
  sample.object_entries_max = 0;
  for (const auto& [name, texts] : sample.contents) sample.object_entries_max += texts.size();
  return sample;
}

// Of so many bytes one is damaged: WP_TEST_SCALE, for builds that are slow. Else every one.
size_t stride() {
  const char* scale = std::getenv("WP_TEST_SCALE");
  return scale == nullptr ? 1 : std::max<size_t>(1, std::strtoull(scale, nullptr, 10));
}

bool ends_an_opening(Code code) {
  return code == Code::kCorrupt || code == Code::kUnsupported || code == Code::kRolledBack;
}

// Reads everything in every way: right entries, or an error that says that they are damaged.
// Returns how many entries could not be read.
size_t check_reads(Engine& engine, const Contents& contents) {
  size_t unreadable = 0;
  for (const auto& [name, texts] : contents) {
    auto log = engine.find(name);
    if (!log.ok()) {
      unreadable += texts.size();
      continue;
    }
    for (Lsn lsn = 1; lsn <= texts.size(); ++lsn) {
      auto reader = log->read(From::at(lsn));
      if (!reader.ok()) {
        CHECK(ends_an_opening(reader.code()));
        ++unreadable;
        continue;
      }
      const auto next = reader->next();
      if (!next.ok()) {
        CHECK_CODE(next, Code::kCorrupt);
        ++unreadable;
        continue;
      }
      if (!next->has_value()) {
        ++unreadable;
        continue;
      }
      CHECK((*next)->lsn == lsn);
      CHECK((*next)->text() == texts[lsn - 1]);
    }
  }
  return unreadable;
}

using Objects = std::map<std::string, std::vector<std::byte>>;

// What a root with these objects in place of its own gives, with the view and without it.
void check_damaged(const Sample& sample, const Objects& objects) {
  const auto is_checkpoint = [](const auto& object) { return object.first.starts_with("c/"); };
  const bool checkpoints = std::all_of(objects.begin(), objects.end(), is_checkpoint);
  for (const bool with_view : {true, false}) {
    for (const bool read_only : {false, true}) {
      CAPTURE(with_view);
      CAPTURE(read_only);
      SimWorld world(1);
      world.bucket = sample.bucket->copy();
      for (const auto& [key, bytes] : objects) world.bucket->overwrite(key, bytes);
      Options options;
      options.read_only = read_only;
      Site site = world.open("reader", options,
                             with_view ? sample.view->copy() : std::make_shared<MemViewData>());
      if (!site.ok()) {
        INFO(site.status.to_string());
        CHECK(ends_an_opening(site.status.code()));
        CHECK_FALSE(checkpoints);  // the journal has all that a checkpoint has
        CHECK(std::any_of(objects.begin(), objects.end(), [&](const auto& object) {
          const std::string& key = object.first;
          const std::string name = key.starts_with("j/") ? key.substr(key.rfind('/') + 1) : key;
          // With another's root object all the rest is a stranger's.
          return key == "root" || site.status.message().find(name) != std::string::npos;
        }));
        continue;
      }
      const size_t unreadable = check_reads(*site.engine, sample.contents);
      CHECK(unreadable <= objects.size() * sample.object_entries_max);
      const bool beside = std::none_of(objects.begin(), objects.end(), [](const auto& object) {
        return object.first.starts_with("s/");
      });
      if (checkpoints || (sample.in_segment && beside)) CHECK(unreadable == 0);
      std::set<std::string> damaged;
      const Status verified = site->verify([&](const VerifyProgress& progress) {
        if (progress.damage != nullptr) damaged.insert(progress.damage->object);
      });
      INFO(verified.to_string());
      CHECK_FALSE(verified.ok());
      for (const auto& object : objects) {
        CAPTURE(object.first);
        CHECK(damaged.contains(object.first));
      }
      (void)site->close();
    }
  }
}

void check_damaged(const Sample& sample, const std::string& key, std::vector<std::byte> bytes) {
  check_damaged(sample, {{key, std::move(bytes)}});
}

}  // namespace

TEST_CASE("C39 every object cut at every byte: the right entries, or an error that names it") {
  for (const Sample& sample : {make_sample(), make_compacted_sample()}) {
    for (const std::string& key : sample.bucket->keys()) {
      const std::vector<std::byte> whole = *sample.bucket->get(key);
      for (size_t length = 0; length < whole.size(); length += (length < 300 ? 1 : 7) * stride()) {
        CAPTURE(key);
        CAPTURE(length);
        check_damaged(sample, key, {whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)});
      }
    }
  }
}

TEST_CASE("D25 every byte of every object flipped is found and named, and the rest is readable") {
  SimRandom random(1);
  for (const Sample& sample : {make_sample(), make_compacted_sample()}) {
    for (const std::string& key : sample.bucket->keys()) {
      const std::vector<std::byte> whole = *sample.bucket->get(key);
      for (size_t at = 0; at < whole.size(); at += stride()) {
        CAPTURE(key);
        CAPTURE(at);
        auto bytes = whole;
        bytes[at] ^= static_cast<std::byte>(1u << random.below(8));
        check_damaged(sample, key, std::move(bytes));
      }
    }
  }
}

TEST_CASE("C39 an object with bytes behind its end is damaged too") {
  const Sample sample = make_sample();
  for (const std::string& key : sample.bucket->keys()) {
    CAPTURE(key);
    auto bytes = *sample.bucket->get(key);
    bytes.push_back(std::byte{0});
    check_damaged(sample, key, std::move(bytes));
  }
}

TEST_CASE("D25 a slot that is gone from the middle is an error, never a shorter log") {
  const Sample sample = make_sample();
  auto keys = sample.bucket->keys();
  keys.erase(std::remove_if(keys.begin(), keys.end(),
                            [](const std::string& key) { return !key.starts_with("j/"); }),
             keys.end());
  REQUIRE(keys.size() >= 8);
  for (const std::string& key : keys) {
    CAPTURE(key);
    SimWorld world(1);
    world.bucket = sample.bucket->copy();
    world.bucket->erase(key);
    Site site = world.open("with view", {}, sample.view->copy());
    if (!site.ok()) {
      CHECK(ends_an_opening(site.status.code()));
      continue;
    }
    const size_t unreadable = check_reads(*site.engine, sample.contents);
    CHECK(unreadable <= sample.object_entries_max);
    // One that holds nothing any more may be deleted at any time.
    CHECK((unreadable == 0 || !site->verify({}).ok()));
    (void)site->close();
  }
}

TEST_CASE("D25 a slot that is gone far before the tail is noticed without the view too") {
  SimWorld world(1);
  std::string gone;
  {
    Site site = world.open("writer");
    Log log = log_of(site, "a");
    for (const std::string& text : texts("", 300)) append_text(log, text);
    site->abandon();
  }
  for (const std::string& key : world.bucket->keys()) {
    if (key.ends_with("/000000000005")) gone = key;
  }
  REQUIRE_FALSE(gone.empty());
  world.bucket->erase(gone);
  const auto keys = world.bucket->keys();
  for (const bool read_only : {false, true}) {
    Options options;
    options.read_only = read_only;
    Site site = world.open("opener", options);
    CHECK_CODE(site.status, Code::kCorrupt);
    CHECK(site.status.message().find(gone) != std::string::npos);
    CHECK(world.bucket->keys() == keys);  // above all no fence at the hole
  }
}

TEST_CASE("D25 any two objects that changed places are refused and named") {
  for (const Sample& sample : {make_sample(), make_compacted_sample()}) {
    const auto keys = sample.bucket->keys();
    for (const std::string& one : keys) {
      for (const std::string& other : keys) {
        if (one >= other) continue;
        CAPTURE(one);
        CAPTURE(other);
        check_damaged(sample,
                      {{one, *sample.bucket->get(other)}, {other, *sample.bucket->get(one)}});
      }
    }
  }
}

TEST_CASE("D25 an object of another root in the place of one's own is refused and named") {
  const Sample sample = make_compacted_sample(1), stranger = make_compacted_sample(2);
  const auto keys = sample.bucket->keys(), strange = stranger.bucket->keys();
  REQUIRE(keys.size() == strange.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    for (size_t k = 0; k < strange.size(); ++k) {
      if (keys[i].front() != strange[k].front()) continue;
      CAPTURE(keys[i]);
      CAPTURE(strange[k]);
      check_damaged(sample, keys[i], *stranger.bucket->get(strange[k]));
    }
  }
}

TEST_CASE("D25 two roots that were copied over each other: either, whole, or an error") {
  const Sample sample = make_compacted_sample(1), stranger = make_compacted_sample(2);
  size_t opened = 0;
  for (const bool with_view : {true, false}) {
    for (const bool read_only : {false, true}) {
      for (const bool ahead : {false, true}) {
        CAPTURE(with_view);
        CAPTURE(read_only);
        CAPTURE(ahead);
        SimWorld world(1);
        world.bucket = sample.bucket->copy();
        for (const std::string& key : stranger.bucket->keys()) {
          // Also with a checkpoint that would be the newest.
          const bool newest = ahead && key.starts_with("c/");
          const std::string name = newest ? "c/00000009" + key.substr(10) : key;
          if (world.bucket->get(name) == nullptr) {
            (void)world.bucket->put_if_absent(name, stranger.bucket->get(key));
          }
        }
        Options options;
        options.read_only = read_only;
        Site site = world.open("opener", options,
                               with_view ? sample.view->copy() : std::make_shared<MemViewData>());
        if (!site.ok()) {
          INFO(site.status.to_string());
          CHECK(ends_an_opening(site.status.code()));
          continue;
        }
        ++opened;
        CHECK(check_reads(*site.engine, sample.contents) == 0);
        if (read_only) continue;
        Log log = log_of(site, "a");
        append_text(log, "behind it");
        require_ok(site->gc(false).status());
        CHECK(check_reads(*site.engine, sample.contents) == 0);
        CHECK(read_texts(log).back() == "behind it");
        require_ok(site->close());
      }
    }
  }
  CHECK(opened > 0);
}

TEST_CASE("D24 files that are not wp's do no harm, and come to none") {
  const Sample sample = make_compacted_sample();
  const std::string epoch = [&] {
    for (const std::string& key : sample.bucket->keys()) {
      if (key.starts_with("j/")) return key.substr(0, key.rfind('/') + 1);
    }
    return std::string();
  }();
  REQUIRE_FALSE(epoch.empty());
  const std::vector<std::string> strange = {"README.md",
                                            "j",
                                            "j/",
                                            "j/notes",
                                            "j/00000001",
                                            epoch,
                                            epoch + "notes",
                                            epoch + "00000000000",
                                            epoch + "0000000000000",
                                            epoch + "00000000000g",
                                            epoch + "000000000000.bak",
                                            epoch + "000000000000/more",
                                            "c/",
                                            "c/00000009",
                                            "c/00000009-00000000000z",
                                            "c/00000009-000000000000.bak",
                                            "s/",
                                            "s/notes",
                                            "s/00000001-0123456789abcdef/x",
                                            "root.bak",
                                            "roots/root",
                                            "lost+found/j/00000001",
                                            "\xc3\xa9"};
  for (const bool with_view : {true, false}) {
    CAPTURE(with_view);
    SimWorld world(1);
    world.bucket = sample.bucket->copy();
    const auto body = std::make_shared<const std::vector<std::byte>>(100, std::byte{'x'});
    for (const std::string& key : strange) {
      CAPTURE(key);
      CHECK(world.bucket->put_if_absent(key, body));
    }
    Options options;
    options.reclaim_grace = Duration{0};
    Site site = world.open("opener", options,
                           with_view ? sample.view->copy() : std::make_shared<MemViewData>());
    require_ok(site.status);
    CHECK(check_reads(*site.engine, sample.contents) == 0);
    require_ok(site->verify({}));
    require_ok(site->gc(false).status());
    CHECK(check_reads(*site.engine, sample.contents) == 0);
    require_ok(site->close());
    for (const std::string& key : strange) {
      CAPTURE(key);
      REQUIRE(world.bucket->get(key) != nullptr);
      CHECK(*world.bucket->get(key) == *body);
    }
  }
}

// ------------------------------------------------------------------- the view against the bucket

namespace {

// One root at two times, and another root.
struct Times {
  std::shared_ptr<MemoryBucket> bucket_old, bucket_new;
  std::shared_ptr<MemViewData> view_old, view_new, view_foreign;
  std::vector<std::string> texts_old, texts_new;
};

Times make_times(uint32_t checkpoint_slots) {
  Times times;
  Options options;
  options.checkpoint_slots = checkpoint_slots;
  {
    SimWorld world(1);
    Site site = world.open("other", options, times.view_foreign = std::make_shared<MemViewData>());
    Log log = log_of(site, "a");
    for (const std::string& text : texts("foreign ", 100)) append_text(log, text);
    require_ok(site->close());
  }
  SimWorld world(2);
  auto view = std::make_shared<MemViewData>();
  Site site = world.open("writer", options, view);
  Log log = log_of(site, "a");
  times.texts_old = texts("", 30);
  for (const std::string& text : times.texts_old) append_text(log, text);
  require_ok(site->close());
  times.bucket_old = world.bucket->copy();
  times.view_old = view->copy();

  site = world.open("writer", options, view);
  log = log_of(site, "a");
  times.texts_new = texts("", 75);
  for (size_t i = 30; i < 75; ++i) append_text(log, times.texts_new[i]);
  require_ok(site->close());
  times.bucket_new = world.bucket->copy();
  times.view_new = view->copy();
  return times;
}

}  // namespace

TEST_CASE(
    "D21 any view against any bucket: all of the bucket, or kRolledBack and not a byte written") {
  for (const uint32_t checkpoint_slots : {16u, 1'000u}) {
    const Times times = make_times(checkpoint_slots);
    for (const std::string bucket : {"old", "new", "none"}) {
      for (const std::string view : {"old", "new", "none", "corrupt", "foreign"}) {
        CAPTURE(checkpoint_slots);
        CAPTURE(bucket);
        CAPTURE(view);
        const auto disk = [&] {
          if (view == "old") return times.view_old->copy();
          if (view == "new") return times.view_new->copy();
          if (view == "foreign") return times.view_foreign->copy();
          auto data = view == "none" ? std::make_shared<MemViewData>() : times.view_new->copy();
          if (view == "corrupt") data->set_unreadable(Status(Code::kCorrupt, "not a database"));
          return data;
        };
        SimWorld world(1);
        world.bucket = bucket == "old"   ? times.bucket_old->copy()
                       : bucket == "new" ? times.bucket_new->copy()
                                         : std::make_shared<MemoryBucket>();
        const auto keys = world.bucket->keys();
        const bool knows_nothing = view == "none" || view == "corrupt";
        const bool refused = view == "foreign" || (bucket == "none" && !knows_nothing) ||
                             (bucket == "old" && view == "new");
        auto expected = bucket == "old"   ? times.texts_old
                        : bucket == "new" ? times.texts_new
                                          : std::vector<std::string>{};
        auto data = disk();
        Site site = world.open("opener", {}, data);
        if (refused) {
          CHECK_CODE(site.status, Code::kRolledBack);
          CHECK(world.bucket->keys() == keys);
          Site again = world.open("opener", {}, data);  // and it stays so
          CHECK_CODE(again.status, Code::kRolledBack);
          Options rebuild;
          rebuild.rebuild = true;
          site = world.open("opener", rebuild, data);
        }
        Log log = log_of(site, "a");
        CHECK(read_texts(log) == expected);
        CHECK(append_text(log, "next") == expected.size() + 1);
        expected.emplace_back("next");
        require_ok(site->close());
        site = world.open("opener", {}, data);
        CHECK(read_texts(log_of(site, "a")) == expected);
        require_ok(site->verify({}));
        require_ok(site->close());
      }
    }
  }
}

TEST_CASE("D21 on disk: a view that is lost, old, cut, garbage or another root's") {
  const TestRoot root(RootKind::kDirectory), old(RootKind::kDirectory);
  const TestRoot other(RootKind::kDirectory);
  {
    const auto wal = other.open();
    Log log = log_of(*wal, "a");
    append_text(log, "of the other");
  }
  {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    for (const std::string& text : texts("", 10)) append_text(log, text);
  }
  root.copy_view_to(old);
  {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    for (int i = 11; i <= 20; ++i) append_text(log, std::to_string(i));
  }
  const auto check = [&] {
    const auto wal = root.open();
    CHECK(read_texts(log_of(*wal, "a")) == texts("", 20));
    CHECK(wal->info().view_error.empty());
    require_ok(wal->close());
  };
  const std::string file = root.directory() + "/wp.sqlite";
  const auto write = [&](const std::string& bytes) {
    root.forget_view();
    std::ofstream(file, std::ios::binary) << bytes;
  };
  root.forget_view();
  check();
  old.copy_view_to(root);
  check();
  write("this is no database, and longer than a hundred bytes" + std::string(500, '!'));
  check();
  write("");
  check();
  std::string bytes;
  {
    std::ifstream in(file, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  write(bytes.substr(0, bytes.size() / 2));
  check();
  for (size_t at = 0; at < bytes.size(); at += bytes.size() / 40 + 1) {
    CAPTURE(at);
    auto flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    write(flipped);
    check();
  }
  other.copy_view_to(root);
  CHECK_CODE(Wal::open(root.url(), root.options()), Code::kRolledBack);
  Options rebuild = root.options();
  rebuild.rebuild = true;
  require_ok(root.open(rebuild)->close());
  check();
}

TEST_CASE("D21 checkpoints that are damaged, foreign or gone only make opening slower") {
  const Times times = make_times(16);
  for (const std::string how : {"cut", "gone", "foreign", "swapped"}) {
    CAPTURE(how);
    SimWorld world(1);
    world.bucket = times.bucket_new->copy();
    std::vector<std::string> checkpoints;
    for (const std::string& key : world.bucket->keys()) {
      if (key.starts_with("c/")) checkpoints.push_back(key);
    }
    REQUIRE_FALSE(checkpoints.empty());
    for (const std::string& key : checkpoints) {
      auto bytes = *world.bucket->get(key);
      if (how == "gone") {
        world.bucket->erase(key);
      } else if (how == "cut") {
        bytes.resize(bytes.size() / 2);
        world.bucket->overwrite(key, bytes);
      } else if (how == "swapped") {
        world.bucket->overwrite(key, *world.bucket->get(checkpoints.front()));
      } else {
        world.bucket->overwrite(key, std::vector<std::byte>(500, std::byte{7}));
      }
    }
    Site site = world.open("opener");
    CHECK(read_texts(log_of(site, "a")) == times.texts_new);
    require_ok(site->close());
  }
}

}  // namespace wp
