// The small stores: each keeps the contract, also behind the faulty store; and the faulty store
// does what its script says.
#include <doctest/doctest.h>

#include <thread>

#include "stores/directory.h"
#include "stores/faulty.h"
#include "stores/keys.h"
#include "stores/memory.h"
#include "tests/store_contract.h"

namespace wp {
namespace {

using namespace store_test;
using Kind = Fault::Kind;

Opener memory_place() {
  auto bucket = std::make_shared<MemoryBucket>();
  return [bucket] { return std::make_unique<MemoryStore>(bucket); };
}

Opener directory_place(DirectoryOptions options) {
  auto dir = std::make_shared<TempDir>();
  return [dir, options] {
    auto store = DirectoryStore::open(dir->path(), options);
    REQUIRE_MESSAGE(store.ok(), store.status().message());
    return std::move(store).value();
  };
}

// A FaultyStore over memory, with what a test needs.
struct Bench {
  std::shared_ptr<MemoryBucket> bucket = std::make_shared<MemoryBucket>();
  FaultyStore store{std::make_unique<MemoryStore>(bucket)};
};

Fault fault(Kind kind, std::optional<Operation> operation = {}, std::string prefix = "") {
  Fault fault;
  fault.kind = kind;
  fault.operation = operation;
  fault.prefix = std::move(prefix);
  return fault;
}

}  // namespace

TEST_CASE("the store in memory keeps the contract") {
  run_store_contract({memory_place});
}

TEST_CASE("the store in a directory keeps the contract") {
  run_store_contract({[] { return directory_place({}); }});
}

TEST_CASE("the store in a directory keeps the contract without syncs") {
  DirectoryOptions options;
  options.sync = false;
  run_store_contract({[&] { return directory_place(options); }});
}

TEST_CASE("the store in a directory keeps the contract where files must have names") {
  DirectoryOptions options;
  options.sync = false;
  options.named_files = true;
  run_store_contract({[&] { return directory_place(options); }});
}

TEST_CASE("the faulty store keeps the contract while nothing is scripted") {
  run_store_contract({[]() -> Opener {
    const Opener inner = memory_place();
    return [inner] { return std::make_unique<FaultyStore>(inner()); };
  }});
}

TEST_CASE("a named bucket in memory outlives its openings") {
  CHECK(memory_bucket("stores_test/none", false) == nullptr);
  {
    MemoryStore store(memory_bucket("stores_test/a", true), "stores_test/a");
    CHECK(put(store, "k", make_body("v")).ok());
    CHECK(store.description() == "mem://stores_test/a");
    CHECK(store.linger_default().count() == 0);
  }
  MemoryStore again(memory_bucket("stores_test/a", false));
  CHECK(get(again, "k").bytes == *make_body("v"));
  MemoryStore other(memory_bucket("stores_test/b", true));
  CHECK(get(other, "k").status.answer == Answer::kNotFound);
}

TEST_CASE("a test can copy, damage and thin out a bucket in memory") {
  MemoryBucket bucket;
  CHECK(bucket.put_if_absent("a", make_body("1")));
  CHECK(bucket.put_if_absent("b", make_body("2")));
  const auto copy = bucket.copy();
  bucket.overwrite("a", *make_body("damaged"));
  CHECK(bucket.erase("b"));
  CHECK(!bucket.erase("b"));
  CHECK(bucket.keys() == std::vector<std::string>{"a"});
  CHECK(*bucket.get("a") == *make_body("damaged"));
  CHECK(copy->keys() == std::vector<std::string>{"a", "b"});
  CHECK(*copy->get("a") == *make_body("1"));
}

TEST_CASE("a fault before the operation leaves nothing behind, one after it does") {
  Bench b;
  b.store.add(fault(Kind::kFail, Operation::kPut, "j/"));
  CHECK(put(b.store, "root", make_body("r")).ok());
  CHECK(put(b.store, "j/1", make_body("1")).answer == Answer::kUnknown);
  CHECK(b.bucket->get("j/1") == nullptr);
  CHECK(put(b.store, "j/1", make_body("1")).ok());

  b.store.add(fault(Kind::kLoseAnswer, Operation::kPut));
  CHECK(put(b.store, "j/2", make_body("2")).answer == Answer::kUnknown);
  CHECK(put(b.store, "j/2", make_body("2")).answer == Answer::kExists);

  b.store.add(fault(Kind::kLoseAnswer, Operation::kDelete, "j/2"));
  CHECK(remove(b.store, {"j/1", "j/2"}).answer == Answer::kUnknown);
  CHECK(b.bucket->keys() == std::vector<std::string>{"root"});
}

TEST_CASE("a fault skips, counts and ends as the script says") {
  Bench b;
  Fault throttled = fault(Kind::kFail, Operation::kGet);
  throttled.skip = 2;
  throttled.times = 3;
  throttled.status = {Answer::kThrottled, "slower", std::chrono::milliseconds{7}};
  b.store.add(throttled);
  std::vector<Answer> answers;
  for (int i = 0; i < 7; ++i) answers.push_back(get(b.store, "k").status.answer);
  const auto n = Answer::kNotFound, t = Answer::kThrottled;
  CHECK(answers == std::vector<Answer>{n, n, t, t, t, n, n});
  CHECK(b.store.meter().count(Operation::kGet, Cause::kRead).failed == 3);

  throttled.skip = 0;
  throttled.times = UINT64_MAX;
  const uint64_t id = b.store.add(throttled);
  CHECK(get(b.store, "k").status.retry_after.count() == 7);
  b.store.clear(id);
  CHECK(get(b.store, "k").status.answer == Answer::kNotFound);

  CHECK(b.store.count(Operation::kGet) == 9);
  CHECK(b.store.count(Operation::kGet, "k") == 9);
  CHECK(b.store.count(Operation::kPut) == 0);
  CHECK(b.store.records()[2].fault == Kind::kFail);
  CHECK(!b.store.records()[8].fault);
}

TEST_CASE("a store that is down does nothing until it is up again") {
  Bench b;
  b.store.set_down(StoreStatus{Answer::kUnknown, "unplugged", {}});
  CHECK(put(b.store, "k", make_body("v")).message == "unplugged");
  CHECK(list(b.store, "").status.answer == Answer::kUnknown);
  CHECK(b.bucket->keys().empty());
  b.store.set_down({});
  CHECK(put(b.store, "k", make_body("v")).ok());
}

TEST_CASE("held operations go on in the order in which a test lets them go") {
  Bench b;
  Fault hold = fault(Kind::kHold, Operation::kPut);
  hold.times = 2;
  b.store.add(hold);
  b.store.add(fault(Kind::kHoldAnswer, Operation::kPut));
  std::string order;
  for (const char* key : {"a", "b", "c", "d"}) {
    b.store.put_if_absent(key, make_body(key), Cause::kFlush, [&order, key](StoreStatus status) {
      CHECK(status.ok());
      order += key;
    });
  }
  CHECK(order == "d");
  CHECK(b.bucket->keys() == std::vector<std::string>{"c", "d"});  // c waits only for its answer
  const auto held = b.store.held();
  REQUIRE(held.size() == 3);
  CHECK(held[1].key == "b");
  CHECK(b.store.release(held[1].id));
  CHECK(!b.store.release(held[1].id));
  CHECK(order == "db");
  CHECK(b.store.release_all() == 2);
  CHECK(order == "dbac");
  CHECK(b.bucket->keys().size() == 4);
}

TEST_CASE("an operation can be applied long after it was called failed") {
  Bench b;
  b.store.add(fault(Kind::kApplyLate, Operation::kPut));
  CHECK(put(b.store, "k", make_body("first")).answer == Answer::kUnknown);
  CHECK(get(b.store, "k").status.answer == Answer::kNotFound);
  b.store.release_all();
  CHECK(get(b.store, "k").bytes == *make_body("first"));
  CHECK(put(b.store, "k", make_body("second")).answer == Answer::kExists);
}

TEST_CASE("reads can be cut short and damaged") {
  Bench b;
  REQUIRE(put(b.store, "k", make_body("abcdef")).ok());
  Fault cut = fault(Kind::kShortRead, Operation::kGet);
  cut.at = 2;
  b.store.add(cut);
  CHECK(get(b.store, "k").bytes == *make_body("ab"));
  Fault flip = fault(Kind::kFlipByte, Operation::kGet);
  flip.at = 1;
  b.store.add(flip);
  CHECK(get(b.store, "k", {2, 3}).bytes == *make_body("c\x9b"
                                                      "e"));
  CHECK(get(b.store, "k").bytes == *make_body("abcdef"));
}

TEST_CASE("a shutdown answers what is held, and applies none of it") {
  Bench b;
  Fault hold = fault(Kind::kHold);
  hold.times = 2;
  b.store.add(hold);
  b.store.add(fault(Kind::kApplyLate));
  Answers<StoreStatus> puts;
  Answers<GetResult> gets;
  b.store.put_if_absent("a", make_body("a"), Cause::kFlush, puts.done());
  b.store.get("a", {}, Cause::kRead, gets.done());
  b.store.put_if_absent("b", make_body("b"), Cause::kFlush, puts.done());
  b.store.shutdown();
  CHECK(puts.count() == 2);
  CHECK(puts.wait(2)[1].answer == Answer::kCancelled);
  CHECK(gets.wait(1)[0].status.answer == Answer::kCancelled);
  CHECK(b.bucket->keys().empty());
}

TEST_CASE("an answer that would be held after a shutdown is a cancellation at once") {
  // Over its own kind, whose shutdown falls between what is done and what is answered.
  auto inner = std::make_unique<FaultyStore>(
      std::make_unique<MemoryStore>(std::make_shared<MemoryBucket>(), "inner"));
  FaultyStore& slow = *inner;
  FaultyStore store(std::move(inner));
  CHECK(store.description() == "mem://inner");
  CHECK(store.linger_default() == slow.linger_default());
  slow.add(fault(Kind::kHold));
  store.add(fault(Kind::kHoldAnswer));
  Answers<StoreStatus> puts;
  store.put_if_absent("k", make_body("v"), Cause::kFlush, puts.done());
  CHECK(puts.count() == 0);
  store.shutdown();
  CHECK(puts.wait(1)[0].answer == Answer::kCancelled);
  CHECK(store.held().empty());
}

TEST_CASE("a test on real threads can wait until an operation is held") {
  Bench b;
  b.store.add(fault(Kind::kHold, Operation::kPut));
  std::thread writer([&] { CHECK(put(b.store, "k", make_body("v")).ok()); });
  b.store.wait_held(1);
  CHECK(b.bucket->keys().empty());
  b.store.release_all();
  writer.join();
  CHECK(b.bucket->keys().size() == 1);
}

TEST_CASE("every answer, cause and operation has its name") {
  CHECK(answer_name(Answer::kOk) == "kOk");
  CHECK(answer_name(Answer::kCancelled) == "kCancelled");
  CHECK(operation_name(Operation::kDelete) == "delete");
  for (size_t i = 0; i <= static_cast<size_t>(Answer::kCancelled); ++i) {
    CHECK(answer_name(static_cast<Answer>(i)).starts_with("k"));
  }
  for (size_t i = 0; i < kCauses; ++i) CHECK(cause_name(static_cast<Cause>(i)) != "?");
  for (size_t i = 0; i < kOperations; ++i) CHECK(operation_name(static_cast<Operation>(i)) != "?");
}

TEST_CASE("a key in a message is printable, and no longer than a line or two") {
  CHECK(printable_key("j/0-a~") == "j/0-a~");
  CHECK(printable_key(std::string_view("a\0\n\xff", 4)) == "a\\x00\\x0a\\xff");
  CHECK(printable_key(std::string(200, 'x')) == std::string(200, 'x'));
  CHECK(printable_key(std::string(201, 'x')) == std::string(200, 'x') + "...");
}

}  // namespace wp
