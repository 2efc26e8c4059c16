#include "tests/s3_test.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <utility>

namespace wp::s3_test {

using store_test::Answers;

struct World::State {
  Mutex mutex;
  // guarded by mutex
  std::map<std::string, std::string, std::less<>> variables WP_GUARDED_BY(mutex);
  std::map<std::string, std::string> files WP_GUARDED_BY(mutex);
  int64_t ahead_ms WP_GUARDED_BY(mutex) = 0;
  std::mt19937_64 random WP_GUARDED_BY(mutex);
};

std::shared_ptr<World::State> World::make_state() {
  return std::make_shared<State>();
}

void World::set(const std::string& variable, const std::string& value) {
  MutexLock lock(state_->mutex);
  state_->variables[variable] = value;
}

void World::unset(const std::string& variable) {
  MutexLock lock(state_->mutex);
  state_->variables.erase(variable);
}

void World::file(const std::string& path, const std::string& text) {
  MutexLock lock(state_->mutex);
  state_->files[path] = text;
}

void World::advance(std::chrono::milliseconds by) {
  MutexLock lock(state_->mutex);
  state_->ahead_ms += by.count();
}

s3::Surroundings World::surroundings() const {
  s3::Surroundings out;
  out.variable = [state = state_](std::string_view name) -> std::optional<std::string> {
    MutexLock lock(state->mutex);
    const auto it = state->variables.find(name);
    if (it == state->variables.end() || it->second.empty()) return {};
    return it->second;
  };
  out.read_file = [state = state_](const std::string& path) -> std::optional<std::string> {
    MutexLock lock(state->mutex);
    const auto it = state->files.find(path);
    if (it == state->files.end()) return {};
    return it->second;
  };
  out.wall_ms = [state = state_] {
    MutexLock lock(state->mutex);
    return s3_stub::now_ms() + state->ahead_ms;
  };
  out.random = [state = state_] {
    MutexLock lock(state->mutex);
    return state->random();
  };
  return out;
}

struct Messages::State {
  Mutex mutex;
  std::vector<std::string> all WP_GUARDED_BY(mutex);
};

std::shared_ptr<Messages::State> Messages::make_state() {
  return std::make_shared<State>();
}

std::function<void(Level, std::string_view)> Messages::listener() const {
  return [state = state_](Level, std::string_view text) {
    MutexLock lock(state->mutex);
    state->all.emplace_back(text);
  };
}

std::vector<std::string> Messages::all() const {
  MutexLock lock(state_->mutex);
  return state_->all;
}

bool Messages::mention(std::string_view part) const {
  const std::vector<std::string> texts = all();
  return std::any_of(texts.begin(), texts.end(),
                     [&](const std::string& text) { return text.find(part) != std::string::npos; });
}

s3::Credentials credentials_of(Server& server) {
  const s3_stub::Settings settings = server.bucket().settings();
  return {settings.access_key, settings.secret_key, settings.session_token, 0, ""};
}

s3::S3Config config_of(const Server& server) {
  Options options;
  options.endpoint = server.endpoint();
  options.ca = server.ca_file();
  Result<s3::S3Config> config =
      s3::s3_config("s3://bucket/pre fix", options, World().surroundings());
  REQUIRE_MESSAGE(config.ok(), config.status().message());
  const s3_stub::Settings settings;
  config->credentials = s3::Credentials{settings.access_key, settings.secret_key, "", 0, ""};
  return *std::move(config);
}

StoreStatus put(s3::S3Client& client, std::string key, Body body, bool create_only) {
  Answers<StoreStatus> answers;
  client.put(std::move(key), std::move(body), create_only, Cause::kFlush, answers.done());
  return answers.wait(1).front();
}

GetResult get(s3::S3Client& client, std::string key, ByteRange range) {
  Answers<GetResult> answers;
  client.get(std::move(key), range, Cause::kFlush, answers.done());
  return answers.wait(1).front();
}

GetResult head(s3::S3Client& client, std::string key) {
  Answers<GetResult> answers;
  client.head(std::move(key), Cause::kFlush, answers.done());
  return answers.wait(1).front();
}

ListResult list(s3::S3Client& client, std::string prefix, std::string after, uint32_t count_max) {
  Answers<ListResult> answers;
  client.list(std::move(prefix), std::move(after), count_max, Cause::kFlush, answers.done());
  return answers.wait(1).front();
}

StoreStatus remove(s3::S3Client& client, std::vector<std::string> keys) {
  Answers<StoreStatus> answers;
  client.remove(std::move(keys), Cause::kFlush, answers.done());
  return answers.wait(1).front();
}

s3::S3Client& Bench::client() {
  if (made == nullptr) made = std::make_unique<s3::S3Client>(config, meter);
  return *made;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool mentions(const StoreStatus& status, std::string_view part) {
  return status.message.find(part) != std::string::npos;
}

}  // namespace wp::s3_test
