#include "tests/s3_objects.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>

#include "tests/store_contract.h"

namespace wp::store_test {
namespace {

std::string bucket() {
  const char* value = getenv("WP_TEST_S3_BUCKET");
  return value == nullptr ? "" : value;
}

s3::S3Config config() {
  auto config = s3::s3_config("s3://" + bucket(), Options{});
  REQUIRE_MESSAGE(config.ok(), config.status().to_string());
  return std::move(config).value();
}

}  // namespace

bool s3_is_there() {
  return !bucket().empty();
}

S3Objects::S3Objects(std::string prefix)
    : prefix_(std::move(prefix) + "/"), client_(config(), meter_) {}

S3Objects::~S3Objects() {
  std::vector<std::string> all = keys();
  for (std::string& key : all) key.insert(0, prefix_);
  Answers<StoreStatus> answers;
  client_.remove(std::move(all), Cause::kReclaim, answers.done());
  answers.wait(1);
}

std::string S3Objects::url() const {
  return "s3://" + bucket() + "/" + prefix_.substr(0, prefix_.size() - 1);
}

std::vector<std::string> S3Objects::keys() {
  std::vector<std::string> keys;
  std::string after;
  for (;;) {
    Answers<ListResult> answers;
    client_.list(prefix_, after, 0, Cause::kRead, answers.done());
    const ListResult page = answers.wait(1).front();
    CHECK_MESSAGE(page.status.ok(), page.status.message);
    for (const ListedObject& object : page.objects) {
      keys.push_back(object.key.substr(prefix_.size()));
      after = object.key;
    }
    if (!page.more) return keys;
  }
}

std::vector<std::byte> S3Objects::bytes(const std::string& key) {
  Answers<GetResult> answers;
  client_.get(prefix_ + key, {}, Cause::kRead, answers.done());
  const GetResult got = answers.wait(1).front();
  REQUIRE_MESSAGE(got.status.ok(), got.status.message);
  return got.bytes;
}

void S3Objects::put(const std::string& key, const std::vector<std::byte>& bytes) {
  Answers<StoreStatus> answers;
  client_.put(prefix_ + key, std::make_shared<const std::vector<std::byte>>(bytes), false,
              Cause::kFlush, answers.done());
  const StoreStatus stored = answers.wait(1).front();
  REQUIRE_MESSAGE(stored.ok(), stored.message);
}

void S3Objects::erase(const std::string& key) {
  Answers<StoreStatus> answers;
  client_.remove({prefix_ + key}, Cause::kReclaim, answers.done());
  const StoreStatus removed = answers.wait(1).front();
  REQUIRE_MESSAGE(removed.ok(), removed.message);
}

}  // namespace wp::store_test
