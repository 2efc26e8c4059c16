// The store in a bucket: it keeps the contract, and it trusts no store before it saw it refuse a
// second creation.
#include <doctest/doctest.h>

#include "tests/s3_test.h"

namespace wp {
namespace {

using namespace s3_test;
using s3_stub::Conditional;
using store_test::Answers;
using store_test::Opener;

// Openings of one root on one server, that hand the verdict on as the log does.
struct Root {
  std::shared_ptr<Server> server = std::make_shared<Server>();
  std::shared_ptr<std::string> kept = std::make_shared<std::string>();
  Messages messages;
  bool exclusive = false;

  std::unique_ptr<ObjectStore> open() const {
    s3::S3Config config = config_of(*server);
    config.exclusive = exclusive;
    config.on_message = messages.listener();
    return S3Store::open(std::move(config),
                         {*kept, [kept = kept](std::string text) { *kept = std::move(text); }});
  }
};

Opener stub_place() {
  auto root = std::make_shared<Root>();
  // The contract counts requests, so what is asked only once was asked before.
  const auto store = root->open();
  REQUIRE(store_test::put(*store, "k", make_body("x")).ok());
  REQUIRE(store_test::remove(*store, {"k"}).ok());
  return [root] { return root->open(); };
}

uint64_t probes(const ObjectStore& store) {
  uint64_t sum = 0;
  for (const Operation operation :
       {Operation::kPut, Operation::kGet, Operation::kList, Operation::kDelete}) {
    sum += store.meter().count(operation, Cause::kProbe).requests;
  }
  return sum;
}

}  // namespace

TEST_CASE("the store in a bucket keeps the contract") {
  store_test::StoreKind kind;
  kind.new_place = stub_place;
  store_test::run_store_contract(kind);
}

TEST_CASE("an opening that may write is probed once, and the verdict serves later ones") {
  Root root;
  {
    const auto store = root.open();
    CHECK(store->description() == "s3://bucket/pre fix");
    CHECK(store->linger_default() == std::chrono::milliseconds(200));
    CHECK(root.server->requests() == 0);
    // All that come at once wait for the one probe.
    Answers<StoreStatus> puts;
    for (const char* key : {"a", "b", "c"}) {
      store->put_if_absent(key, make_body(key), Cause::kFlush, puts.done());
    }
    for (const StoreStatus& status : puts.wait(3)) CHECK_MESSAGE(status.ok(), status.message);
    CHECK(probes(*store) == 8);
    CHECK(store->meter().requests() == 11);
    CHECK(root.server->requests() == 11);
    CHECK(store_test::put(*store, "a", make_body("x")).answer == Answer::kExists);
    CHECK(probes(*store) == 8);
  }
  // Nothing of it stays.
  CHECK(root.server->bucket().keys() ==
        std::vector<std::string>{"pre fix/a", "pre fix/b", "pre fix/c"});
  CHECK(root.kept->find("proved") != std::string::npos);
  {
    const auto store = root.open();
    CHECK(store_test::put(*store, "d", make_body("d")).ok());
    CHECK(probes(*store) == 0);
  }
  CHECK(root.messages.all().empty());
}

TEST_CASE("a verdict holds only for the place where it was found") {
  Root root;
  CHECK(store_test::put(*root.open(), "a", make_body("a")).ok());
  root.server = std::make_shared<Server>();  // another port, so another endpoint
  const auto store = root.open();
  CHECK(store_test::put(*store, "a", make_body("a")).ok());
  CHECK(probes(*store) == 8);
}

TEST_CASE("an opening that only reads never probes") {
  Root root;
  root.server->bucket().put("pre fix/a", "text");
  root.server->set([](auto& settings) { settings.conditional = Conditional::kUnsupported; });
  const auto store = root.open();
  CHECK(text_of(store_test::get(*store, "a").bytes) == "text");
  CHECK(store_test::list(*store, "").objects.size() == 1);
  CHECK(store_test::remove(*store, {"a"}).ok());
  CHECK(probes(*store) == 0);
  CHECK(root.server->requests() == 3);
}

TEST_CASE("D8 a store without conditional create is refused for writing") {
  Root root;
  const char* reason = "";
  SUBCASE("501") {
    root.server->set([](auto& settings) { settings.conditional = Conditional::kUnsupported; });
    reason = "NotImplemented";
  }
  SUBCASE("400") {
    root.server->set([](auto& settings) { settings.conditional = Conditional::kInvalid; });
    reason = "InvalidArgument";
  }
  SUBCASE("200, and the condition ignored") {
    root.server->set([](auto& settings) { settings.conditional = Conditional::kIgnored; });
    reason = "both were told that they did";
  }
  SUBCASE("two that race are both told that they won") {
    root.server->set([](auto& settings) { settings.conditional = Conditional::kRacy; });
    reason = "both were told that they did";
  }
  SUBCASE("only a creation that comes later is let through") {
    Fault second;
    second.method = "PUT";
    second.part = "/probe/";
    second.skip = 2;
    second.change = [](const auto&, auto& answer) {
      answer = {};
      answer.set("ETag", "\"again\"");
    };
    root.server->script(second);
    reason = "was created once more";
  }
  SUBCASE("a LIST that does not show what was stored") {
    root.server->set([](auto& settings) { settings.stale_lists = true; });
    reason = "LIST does not show";
  }
  SUBCASE("what was stored is not found") {
    root.server->script(s3_stub::refusal(404, "NoSuchKey", 1, "GET"));
    reason = "is not found";
  }
  SUBCASE("the loser's bytes are there") {
    Fault other;
    other.method = "GET";
    other.part = "/probe/";
    other.change = [](const auto&, auto& answer) { answer.body = "again"; };
    root.server->script(other);
    reason = "was replaced";
  }
  const auto store = root.open();
  for (int i = 0; i < 2; ++i) {
    const StoreStatus status = store_test::put(*store, "a", make_body("a"));
    CHECK(status.answer == Answer::kUnsupported);
    CHECK_MESSAGE(mentions(status, reason), status.message);
    CHECK(mentions(status, "exclusive=1"));
  }
  CHECK(root.server->bucket().keys().empty());
  CHECK(root.kept->find("missing") != std::string::npos);
  const uint64_t before = probes(*store);
  CHECK(store_test::put(*store, "b", make_body("b")).answer == Answer::kUnsupported);
  CHECK(probes(*store) == before);  // one probe for an opening
}

TEST_CASE("D8 a store without conditional create can be used exclusively, and that is told") {
  Root root;
  root.exclusive = true;
  root.server->set([](auto& settings) { settings.conditional = Conditional::kUnsupported; });
  {
    const auto store = root.open();
    CHECK(store_test::put(*store, "a", make_body("a")).ok());
    CHECK(root.messages.all().size() == 1);
    CHECK(root.messages.mention("a second writer is not noticed"));
    CHECK(probes(*store) > 0);
    CHECK(store_test::put(*store, "a", make_body("b")).answer == Answer::kExists);
    CHECK(text_of(store_test::get(*store, "a").bytes) == "a");
    // Where nobody can say whether it is there, nothing is written.
    root.server->script(s3_stub::refusal(500, "InternalError", 1, "HEAD"));
    CHECK(store_test::put(*store, "b", make_body("b")).answer == Answer::kUnknown);
    CHECK(root.server->bucket().keys().size() == 1);
  }
  const auto store = root.open();
  CHECK(root.messages.all().size() == 2);  // every opening says it
  CHECK(store_test::put(*store, "b", make_body("b")).ok());
  CHECK(probes(*store) == 0);
}

TEST_CASE("a store that has conditional create uses it also when opened exclusively") {
  Root root;
  root.exclusive = true;
  const auto store = root.open();
  CHECK(store_test::put(*store, "a", make_body("a")).ok());
  CHECK(root.server->requests("HEAD") == 0);
  CHECK(root.messages.all().empty());
}

TEST_CASE("a store that learned conditional create is probed anew where it was refused before") {
  Root root;
  root.server->set([](auto& settings) { settings.conditional = Conditional::kUnsupported; });
  CHECK(!store_test::put(*root.open(), "a", make_body("a")).ok());
  root.server->set([](auto& settings) { settings.conditional = Conditional::kHonoured; });
  CHECK(store_test::put(*root.open(), "a", make_body("a")).ok());
}

TEST_CASE("a probe that failed says nothing about the store, and the next put probes again") {
  Root root;
  Answer expected{};
  SUBCASE("throttled") {
    root.server->script(s3_stub::refusal(503, "SlowDown", 2, "PUT"));
    expected = Answer::kThrottled;
  }
  SUBCASE("denied") {
    root.server->script(s3_stub::refusal(403, "AccessDenied", 2, "PUT"));
    expected = Answer::kDenied;
  }
  SUBCASE("the second creation has no clear answer") {
    Fault fault = s3_stub::refusal(500, "InternalError", 1, "PUT");
    fault.skip = 2;
    root.server->script(fault);
    expected = Answer::kUnknown;
  }
  SUBCASE("its object cannot be read") {
    root.server->script(s3_stub::refusal(500, "InternalError", 1, "GET"));
    expected = Answer::kUnknown;
  }
  SUBCASE("its list fails") {
    Fault fault = s3_stub::refusal(503, "SlowDown", 1, "GET");
    fault.part = "list-type";
    root.server->script(fault);
    expected = Answer::kThrottled;
  }
  SUBCASE("also plain puts are refused") {
    root.server->script(s3_stub::refusal(405, "MethodNotAllowed", 3, "PUT"));
    expected = Answer::kUnsupported;
  }
  const auto store = root.open();
  const StoreStatus status = store_test::put(*store, "a", make_body("a"));
  CHECK_MESSAGE(status.answer == expected, status.message);
  CHECK(mentions(status, "could not be proved"));
  CHECK(root.kept->empty());
  const StoreStatus again = store_test::put(*store, "a", make_body("a"));
  CHECK_MESSAGE(again.ok(), again.message);
  CHECK(root.server->bucket().keys() == std::vector<std::string>{"pre fix/a"});
}

TEST_CASE("one loser of the probe's race without a clear answer is no fault of the store") {
  // Ceph answers some losers with 500.
  Root root;
  Fault fault;
  fault.method = "PUT";
  fault.skip = 1;
  fault.change = [](const auto&, auto& answer) { answer = s3_stub::error(500, "InternalError"); };
  root.server->script(fault);
  CHECK(store_test::put(*root.open(), "a", make_body("a")).ok());
}

TEST_CASE("a winner of the probe's race whose answer is lost is no fault of the store") {
  Root root;
  Fault fault;
  fault.method = "PUT";
  fault.change = [](const auto&, auto& answer) { answer = s3_stub::error(500, "InternalError"); };
  root.server->script(fault);
  CHECK(store_test::put(*root.open(), "a", make_body("a")).ok());
}

TEST_CASE("a bucket that keeps versions is told as such") {
  Root root;
  root.server->set([](auto& settings) { settings.versioning = "Enabled"; });
  CHECK(store_test::put(*root.open(), "a", make_body("a")).ok());
  CHECK(root.messages.mention("keeps old versions"));
}

TEST_CASE(
    "D26 a lifecycle rule that takes away what lies in the root is named at the first opening") {
  const std::string expires = "<Expiration><Days>30</Days></Expiration>";
  const auto rule = [](const std::string& id, const std::string& rest) {
    return "<Rule><ID>" + id + "</ID><Status>Enabled</Status>" + rest + "</Rule>";
  };
  Root root;
  root.server->set([&](auto& settings) {
    settings.lifecycle =
        rule("all", "<Filter/>" + expires) + rule("elsewhere", "<Prefix>else/</Prefix>" + expires) +
        rule("cold",
             "<Prefix/><Transition><Days>0</Days><StorageClass>GLACIER</StorageClass>"
             "</Transition>") +
        rule("cool", "<Prefix/><Transition><StorageClass>STANDARD_IA</StorageClass></Transition>");
  });
  CHECK(store_test::put(*root.open(), "a", make_body("a")).ok());
  CHECK(root.messages.mention("lifecycle rule 'all' for '' deletes objects after 30 days"));
  CHECK(root.messages.mention("lifecycle rule 'cold' for '' moves objects to GLACIER"));
  CHECK_FALSE(root.messages.mention("elsewhere"));
  CHECK_FALSE(root.messages.mention("cool"));
}

TEST_CASE("where nothing may be deleted the probe's object stays, and that is told") {
  Root root;
  root.server->set([](auto& settings) { settings.deletes = false; });
  CHECK(store_test::put(*root.open(), "a", make_body("a")).ok());
  CHECK(root.messages.mention("stays behind"));
}

TEST_CASE("each store is asked to create in its own words") {
  Root root;
  struct Row {
    s3::Dialect dialect;
    const char *header, *code;
    int status;
  };
  for (const Row& row :
       {Row{s3::Dialect::kIfNoneMatch, "if-none-match", "PreconditionFailed", 412},
        Row{s3::Dialect::kGoogle, "x-goog-if-generation-match", "PreconditionFailed", 412},
        Row{s3::Dialect::kAlibaba, "x-oss-forbid-overwrite", "FileAlreadyExists", 409},
        Row{s3::Dialect::kTencent, "x-cos-forbid-overwrite", "FileAlreadyExists", 409}}) {
    CAPTURE(row.header);
    Server server;
    server.set([&](auto& settings) {
      settings.condition = row.header;
      settings.exists_code = row.code;
      settings.exists_status = row.status;
    });
    s3::S3Config config = config_of(server);
    config.dialect = row.dialect;
    const auto store = S3Store::open(std::move(config), {});
    const StoreStatus status = store_test::put(*store, "a", make_body("a"));
    CHECK_MESSAGE(status.ok(), status.message);
    CHECK(store_test::put(*store, "a", make_body("b")).answer == Answer::kExists);
    CHECK(text_of(store_test::get(*store, "a").bytes) == "a");
    CHECK(store_test::remove(*store, {"a", "b"}).ok());
    CHECK(server.bucket().keys().empty());
  }
}

TEST_CASE("a shutdown in the middle of the probe answers all who wait for it") {
  Root root;
  Fault fault;
  fault.hold = true;
  fault.times = -1;
  root.server->script(fault);
  const auto store = root.open();
  Answers<StoreStatus> puts;
  for (const char* key : {"a", "b", "c"}) {
    store->put_if_absent(key, make_body(key), Cause::kFlush, puts.done());
  }
  root.server->wait_held(2);
  store->shutdown();
  REQUIRE(puts.count() == 3);
  for (const StoreStatus& status : puts.wait(3)) CHECK(status.answer == Answer::kCancelled);
}

TEST_CASE("an object that stands for the folder itself is none of the root's") {
  Root root;
  root.server->bucket().put("pre fix/", "");
  root.server->bucket().put("pre fix/a", "text");
  root.server->bucket().put("pre fixed/b", "text");
  const auto store = root.open();
  const ListResult all = store_test::list(*store, "");
  REQUIRE(all.objects.size() == 1);
  CHECK(all.objects[0].key == "a");
}

TEST_CASE("a key that S3 cannot hold under the prefix is refused before anything is sent") {
  Root root;
  s3::S3Config config = config_of(*root.server);
  config.prefix = std::string(100, 'p') + "/";
  const auto store = S3Store::open(std::move(config), {});
  std::string key;
  while (key.size() < 900) key += "0123456789/";
  CHECK(store_test::put(*store, key + std::string(923 - key.size(), 'x'), make_body("a")).ok());
  const size_t before = root.server->requests();
  CHECK(store_test::put(*store, key + std::string(924 - key.size(), 'x'), make_body("a")).answer ==
        Answer::kInvalid);
  CHECK(root.server->requests() == before);
}

}  // namespace wp
