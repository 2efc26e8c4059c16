#include "tests/store_contract.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

namespace wp::store_test {

Body make_body(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const std::vector<std::byte>>(bytes, bytes + text.size());
}

Body make_body(size_t size, uint64_t seed) {
  std::vector<std::byte> bytes(size);
  uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;
  for (std::byte& byte : bytes) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    byte = static_cast<std::byte>(x);
  }
  return std::make_shared<const std::vector<std::byte>>(std::move(bytes));
}

StoreStatus put(ObjectStore& store, std::string key, Body body, Cause cause) {
  Answers<StoreStatus> answers;
  store.put_if_absent(std::move(key), std::move(body), cause, answers.done());
  return answers.wait(1).front();
}

GetResult get(ObjectStore& store, std::string key, ByteRange range, Cause cause) {
  Answers<GetResult> answers;
  store.get(std::move(key), range, cause, answers.done());
  return answers.wait(1).front();
}

ListResult list(ObjectStore& store, std::string prefix, std::string after, uint32_t count_max) {
  Answers<ListResult> answers;
  store.list(std::move(prefix), std::move(after), count_max, Cause::kOpen, answers.done());
  return answers.wait(1).front();
}

std::vector<ListedObject> list_all(ObjectStore& store, const std::string& prefix,
                                   uint32_t count_max) {
  std::vector<ListedObject> all;
  std::string after;
  for (;;) {
    const ListResult page = list(store, prefix, after, count_max);
    REQUIRE_MESSAGE(page.status.ok(), page.status.message);
    if (count_max != 0) REQUIRE(page.objects.size() <= count_max);
    all.insert(all.end(), page.objects.begin(), page.objects.end());
    if (!page.more) return all;
    REQUIRE(!page.objects.empty());
    after = page.objects.back().key;
  }
}

StoreStatus remove(ObjectStore& store, std::vector<std::string> keys) {
  Answers<StoreStatus> answers;
  store.remove(std::move(keys), Cause::kReclaim, answers.done());
  return answers.wait(1).front();
}

TempDir::TempDir() {
  const char* parent = getenv("TMPDIR");
  std::string name = std::string(parent != nullptr ? parent : "/tmp") + "/wp-test-XXXXXX";
  REQUIRE(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;  // a test that failed may have left what cannot be removed
  std::filesystem::remove_all(path_, ignored);
}

namespace {

std::vector<std::string> keys_of(const std::vector<ListedObject>& objects) {
  std::vector<std::string> keys;
  for (const ListedObject& object : objects) keys.push_back(object.key);
  return keys;
}

std::vector<std::byte> slice(const Body& body, size_t offset, size_t length) {
  const auto begin = body->begin() + static_cast<ptrdiff_t>(offset);
  return {begin, begin + static_cast<ptrdiff_t>(length)};
}

std::string numbered(std::string_view prefix, size_t number) {
  const std::string digits = std::to_string(number);
  return std::string(prefix) + std::string(6 - digits.size(), '0') + digits;
}

void check_round_trip(ObjectStore& store) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{1} << 20}) {
    const std::string key = "j/" + std::to_string(size);
    const Body body = make_body(size, size);
    const StoreStatus stored = put(store, key, body);
    CHECK_MESSAGE(stored.ok(), stored.message);
    CHECK(stored.message.empty());
    const GetResult result = get(store, key);
    CHECK_MESSAGE(result.status.ok(), result.status.message);
    CHECK(result.bytes == *body);
    CHECK(result.object_bytes == size);
  }
}

void check_put_twice(const Opener& open) {
  const auto store = open();
  const Body first = make_body("first");
  REQUIRE(put(*store, "root", first).ok());
  for (const char* text : {"first", "second", ""}) {
    const StoreStatus again = put(*store, "root", make_body(text));
    CHECK(again.answer == Answer::kExists);
    CHECK(!again.message.empty());
  }
  CHECK(put(*open(), "root", make_body("third")).answer == Answer::kExists);
  CHECK(get(*store, "root").bytes == *first);
}

// Puts of one key, from several openings and from several threads of each.
void check_race(const Opener& open, size_t round) {
  constexpr size_t kOpenings = 3, kThreads = 4;
  const std::string key = "race/" + std::to_string(round);
  std::vector<std::unique_ptr<ObjectStore>> stores;
  for (size_t i = 0; i < kOpenings; ++i) stores.push_back(open());
  std::vector<Body> bodies;
  for (size_t i = 0; i < kOpenings * kThreads; ++i) bodies.push_back(make_body(3000 + i, i));
  std::vector<Answer> answers(bodies.size());
  std::atomic<size_t> ready{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < bodies.size(); ++i) {
    threads.emplace_back([&, i] {
      ++ready;
      while (ready < bodies.size()) std::this_thread::yield();
      answers[i] = put(*stores[i % kOpenings], key, bodies[i]).answer;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(std::count(answers.begin(), answers.end(), Answer::kOk) == 1);
  const GetResult result = get(*stores[0], key);
  REQUIRE(result.status.ok());
  for (size_t i = 0; i < bodies.size(); ++i) {
    if (answers[i] == Answer::kOk) {
      CHECK(result.bytes == *bodies[i]);
    } else {
      CHECK((answers[i] == Answer::kExists || answers[i] == Answer::kConflict));
    }
  }
}

void check_ranges(ObjectStore& store) {
  const Body body = make_body(1000, 7);
  REQUIRE(put(store, "s/1/x", body).ok());
  struct Row {
    uint64_t offset, length;
    size_t expected;
  };
  for (const Row& row :
       {Row{0, 1, 1}, Row{0, 1000, 1000}, Row{10, 100, 100}, Row{999, 1, 1}, Row{990, 100, 10},
        Row{0, 5000, 1000}, Row{500, UINT64_MAX, 500}, Row{1000, 1, 0}, Row{1000, UINT64_MAX, 0},
        Row{5000, 10, 0}, Row{UINT64_MAX, UINT64_MAX, 0}}) {
    CAPTURE(row.offset);
    CAPTURE(row.length);
    const GetResult result = get(store, "s/1/x", {row.offset, row.length});
    CHECK_MESSAGE(result.status.ok(), result.status.message);
    CHECK(result.object_bytes == 1000);
    REQUIRE(result.bytes.size() == row.expected);
    if (row.expected > 0) CHECK(result.bytes == slice(body, row.offset, row.expected));
  }
  REQUIRE(put(store, "s/1/empty", make_body("")).ok());
  const GetResult empty = get(store, "s/1/empty", {0, 10});
  CHECK(empty.status.ok());
  CHECK(empty.bytes.empty());
}

void check_absent(ObjectStore& store) {
  REQUIRE(put(store, "j/1/000", make_body("x")).ok());
  for (const std::string key : {"root", "j/1/001", "j/2/000", "j", "j/1", "j/1/000/below"}) {
    CAPTURE(key);
    const GetResult result = get(store, key);
    CHECK(result.status.answer == Answer::kNotFound);
    CHECK(!result.status.message.empty());
    CHECK(result.bytes.empty());
  }
}

void check_list(ObjectStore& store) {
  // In byte order. '-' comes before '/', and so between a name and what is below it.
  const std::vector<std::string> keys = {"a",       "b-1",     "b/1",     "b/2/x", "b/2/y",
                                         "b/3",     "b0",      "c/00/01", "c/0a",  "c/1",
                                         "d/e/f/g", "d/e/f/h", "d/ef",    "root"};
  std::vector<std::string> shuffled = keys;
  std::reverse(shuffled.begin(), shuffled.end());
  std::rotate(shuffled.begin(), shuffled.begin() + 5, shuffled.end());
  for (const std::string& key : shuffled) {
    REQUIRE(put(store, key, make_body(key)).ok());
    // Nothing stale: what was stored is listed at once.
    CHECK(keys_of(list(store, key, "", 1).objects) == std::vector{key});
  }
  for (const std::string prefix : {"", "b", "b/", "b/2", "b/2/", "c/0", "c/00/01", "d/e", "d/e/",
                                   "d/e/f", "z", "b/2/x/", "a/", "/", "b//", "b/../"}) {
    for (const std::string after : {"", "a", "b", "b-1", "b/", "b/1", "b/2", "b/2/x", "b/2/z",
                                    "b/9", "c/0", "d/e/f/g", "d/e/f/h/", "e", "zzz"}) {
      CAPTURE(prefix);
      CAPTURE(after);
      std::vector<std::string> expected;
      for (const std::string& key : keys) {
        if (key.starts_with(prefix) && key > after) expected.push_back(key);
      }
      const ListResult result = list(store, prefix, after);
      CHECK_MESSAGE(result.status.ok(), result.status.message);
      CHECK(keys_of(result.objects) == expected);
      CHECK(!result.more);
      for (const ListedObject& object : result.objects) CHECK(object.bytes == object.key.size());
    }
  }
  for (const uint32_t count_max : {1u, 2u, 3u, 13u, 14u, 15u}) {
    CAPTURE(count_max);
    CHECK(keys_of(list_all(store, "", count_max)) == keys);
  }
}

void check_many(const StoreKind& kind, ObjectStore& store) {
  std::vector<std::string> keys;
  for (size_t i = 0; i < kind.many; ++i) keys.push_back(numbered(i < 200 ? "k/a" : "k/b/", i));
  Answers<StoreStatus> stored;
  const Body body = make_body("some bytes");
  for (const std::string& key : keys) {
    store.put_if_absent(key, body, Cause::kFlush, stored.done());
  }
  for (const StoreStatus& status : stored.wait(keys.size())) {
    REQUIRE_MESSAGE(status.ok(), status.message);
  }
  CHECK(keys_of(list_all(store, "k/")) == keys);
  CHECK(keys_of(list_all(store, "k/", 700)) == keys);
  const ListResult page = list(store, "k/b/", numbered("k/b/", 499), 10);
  REQUIRE(page.objects.size() == 10);
  CHECK(page.more);
  CHECK(page.objects.front().key == numbered("k/b/", 500));

  REQUIRE(remove(store, keys).ok());
  CHECK(list_all(store, "").empty());
  CHECK(stored.count() == keys.size());
}

void check_remove(ObjectStore& store) {
  for (const std::string key : {"s/1/a", "s/1/b", "s/2/a", "root"}) {
    REQUIRE(put(store, key, make_body(key)).ok());
  }
  CHECK(remove(store, {}).ok());
  CHECK(remove(store, {"s/1/a", "s/1/none", "s/9/a", "none", "s", "s/1", "s/2/a"}).ok());
  CHECK(keys_of(list_all(store, "")) == std::vector<std::string>{"root", "s/1/b"});
  CHECK(get(store, "s/1/a").status.answer == Answer::kNotFound);
  CHECK(remove(store, {"s/1/a", "s/2/a"}).ok());
  // A place that was freed can be taken again, also where all beside it went.
  CHECK(put(store, "s/1/a", make_body("anew")).ok());
  CHECK(put(store, "s/2/a", make_body("anew")).ok());
  CHECK(get(store, "s/2/a").bytes == *make_body("anew"));
  CHECK(put(store, "s/2/a", make_body("once more")).answer == Answer::kExists);
}

void check_keys(const StoreKind& kind, ObjectStore& store) {
  std::vector<std::string> keys = {"a b",
                                   "plus+equals=tilde~percent%25",
                                   "%2F%2e",
                                   "q?a=b&c#d",
                                   "star*(paren)'!@$,;:",
                                   "umlaut-\xc3\xa4",
                                   "\xe2\x82\xac/\xf0\x9f\x98\x80",
                                   "..a/.b/c..",
                                   "UPPER",
                                   "upper",
                                   std::string(200, 'n') + "/" + std::string(200, 'm')};
  if (kind.odd_keys) {
    for (const std::string key : {"not utf-8 \xff\xfe", "line\nbreak", "back\\slash", "\x01"}) {
      keys.push_back(key);
    }
  }
  std::sort(keys.begin(), keys.end());
  for (const std::string& key : keys) {
    CAPTURE(key);
    const StoreStatus status = put(store, key, make_body(key));
    CHECK_MESSAGE(status.ok(), status.message);
    CHECK(get(store, key).bytes == *make_body(key));
  }
  CHECK(keys_of(list_all(store, "")) == keys);
  CHECK(keys_of(list_all(store, "", 2)) == keys);
  CHECK(remove(store, keys).ok());
  CHECK(list_all(store, "").empty());
}

void check_wrong_keys(ObjectStore& store) {
  using namespace std::string_literals;
  for (const std::string& key : {""s, "/"s, "/etc/passwd"s, "a/"s, "a//b"s, "."s, ".."s, "../x"s,
                                 "a/../b"s, "a/./b"s, "a\0b"s, std::string(1001, 'k')}) {
    CAPTURE(key);
    CHECK(put(store, key, make_body("x")).answer == Answer::kInvalid);
    CHECK(get(store, key).status.answer == Answer::kInvalid);
    CHECK(remove(store, {"fine", key}).answer == Answer::kInvalid);
  }
  CHECK(list_all(store, "").empty());
}

// Many operations of all kinds at once; each answered once, and rightly.
void check_crowd(ObjectStore& store) {
  constexpr size_t kEach = 100;
  for (size_t i = 0; i < kEach; ++i) {
    REQUIRE(put(store, numbered("old/", i), make_body(numbered("", i))).ok());
  }
  Answers<StoreStatus> puts, removes;
  Answers<GetResult> gets;
  Answers<ListResult> lists;
  for (size_t i = 0; i < kEach; ++i) {
    store.put_if_absent(numbered("new/", i), make_body(100, i), Cause::kFlush, puts.done());
    store.get(numbered("old/", i), {}, Cause::kRead, gets.done());
    store.remove({numbered("none/", i)}, Cause::kReclaim, removes.done());
    if (i % 10 == 0) store.list("old/", "", 0, Cause::kOpen, lists.done());
  }
  for (const StoreStatus& status : puts.wait(kEach)) CHECK_MESSAGE(status.ok(), status.message);
  for (const StoreStatus& status : removes.wait(kEach)) {
    CHECK_MESSAGE(status.ok(), status.message);
  }
  std::set<std::vector<std::byte>> bodies;
  for (const GetResult& result : gets.wait(kEach)) {
    CHECK_MESSAGE(result.status.ok(), result.status.message);
    bodies.insert(result.bytes);
  }
  CHECK(bodies.size() == kEach);
  for (const ListResult& result : lists.wait(kEach / 10)) CHECK(result.objects.size() == kEach);
}

// Shut down amid work: every operation is answered before shutdown() returns, and what was answered
// kOk is there.
void check_shutdown(const Opener& open) {
  constexpr size_t kCount = 200;
  auto store = open();
  Answers<std::pair<size_t, Answer>> puts;
  Answers<GetResult> gets;
  Answers<ListResult> lists;
  Answers<StoreStatus> removes;
  for (size_t i = 0; i < kCount; ++i) {
    store->put_if_absent(numbered("k/", i), make_body(1000, i), Cause::kFlush,
                         [i, done = puts.done()](StoreStatus status) {
                           done({i, status.answer});
                         });
    store->get(numbered("k/", i), {}, Cause::kRead, gets.done());
    store->list("k/", "", 0, Cause::kOpen, lists.done());
    store->remove({"none"}, Cause::kReclaim, removes.done());
  }
  store->shutdown();
  CHECK(puts.count() == kCount);
  CHECK(gets.count() == kCount);
  CHECK(lists.count() == kCount);
  CHECK(removes.count() == kCount);

  const uint64_t requests = store->meter().requests();
  CHECK(put(*store, "late", make_body("x")).answer == Answer::kCancelled);
  CHECK(get(*store, "late").status.answer == Answer::kCancelled);
  CHECK(list(*store, "").status.answer == Answer::kCancelled);
  CHECK(remove(*store, {"late"}).answer == Answer::kCancelled);
  CHECK(store->meter().requests() == requests);  // nothing was asked any more
  store->shutdown();
  store.reset();

  const auto reopened = open();
  for (const auto& [i, answer] : puts.wait(kCount)) {
    CHECK((answer == Answer::kOk || answer == Answer::kCancelled));
    const GetResult result = get(*reopened, numbered("k/", i));
    if (answer == Answer::kOk) CHECK(result.status.ok());
    if (result.status.ok()) CHECK(result.bytes == *make_body(1000, i));
  }
  CHECK(get(*reopened, "late").status.answer == Answer::kNotFound);
}

void check_body_lives(ObjectStore& store) {
  auto body = make_body(1 << 20, 3);
  const std::weak_ptr<const std::vector<std::byte>> watched = body;
  Answers<bool> answers;
  store.put_if_absent("j/1", std::move(body), Cause::kFlush,
                      [watched, done = answers.done()](StoreStatus) { done(!watched.expired()); });
  CHECK(answers.wait(1).front());
  CHECK(get(store, "j/1").bytes == *make_body(1 << 20, 3));
}

void check_meter(ObjectStore& store) {
  const auto count = [&](Operation operation, Cause cause) {
    return store.meter().count(operation, cause);
  };
  const uint64_t before = store.meter().requests();
  REQUIRE(put(store, "k", make_body(300, 1), Cause::kFlush).ok());
  REQUIRE(put(store, "k", make_body(300, 1), Cause::kFlush).answer == Answer::kExists);
  REQUIRE(get(store, "k", {100, 50}, Cause::kProbe).status.ok());
  REQUIRE(!get(store, "none", {}, Cause::kProbe).status.ok());
  REQUIRE(list(store, "").status.ok());
  REQUIRE(remove(store, {"k", "none"}).ok());
  CHECK(count(Operation::kPut, Cause::kFlush).requests == 2);
  CHECK(count(Operation::kPut, Cause::kFlush).bytes == 600);
  CHECK(count(Operation::kPut, Cause::kFlush).failed == 0);
  CHECK(count(Operation::kGet, Cause::kProbe).requests == 2);
  CHECK(count(Operation::kGet, Cause::kProbe).bytes == 50);
  CHECK(count(Operation::kGet, Cause::kProbe).failed == 0);
  CHECK(count(Operation::kGet, Cause::kRead).requests == 0);
  CHECK(count(Operation::kList, Cause::kOpen).requests == 1);
  CHECK(count(Operation::kDelete, Cause::kReclaim).requests == 1);
  CHECK(store.meter().requests() - before == 6);
}

}  // namespace

void run_store_contract(const StoreKind& kind) {
  const Opener open = kind.new_place();
  SUBCASE("what was put comes back byte for byte") {
    check_round_trip(*open());
  }
  SUBCASE("an object is never replaced") {
    check_put_twice(open);
  }
  SUBCASE("C40 of any number of racing puts of one key exactly one wins") {
    for (size_t round = 0; round < 5; ++round) check_race(open, round);
  }
  SUBCASE("a range gives those bytes, cut at the end") {
    check_ranges(*open());
  }
  SUBCASE("what is not there is not found") {
    check_absent(*open());
  }
  SUBCASE("a list is in byte order, complete, and never stale") {
    check_list(*open());
  }
  SUBCASE("D24 more objects than fit on a page are all listed") {
    check_many(kind, *open());
  }
  SUBCASE("deleting what is not there is no error, and frees the place") {
    check_remove(*open());
  }
  SUBCASE("keys with odd characters are kept as they are") {
    check_keys(kind, *open());
  }
  SUBCASE("D24 keys that lead out of the root are refused") {
    check_wrong_keys(*open());
  }
  SUBCASE("a crowd of operations is answered one by one") {
    check_crowd(*open());
  }
  SUBCASE("a shutdown answers everything before it returns") {
    check_shutdown(open);
  }
  SUBCASE("a body lives until its put is answered") {
    check_body_lives(*open());
  }
  SUBCASE("the meter counts requests by kind and cause") {
    check_meter(*open());
  }
}

}  // namespace wp::store_test
