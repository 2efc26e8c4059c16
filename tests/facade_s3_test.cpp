// Roots in a bucket as wp.cpp opens them: where their view and lock lie, and what an opening tells
// the next one. On the stub server.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "tests/s3_test.h"
#include "tests/test_root.h"

namespace wp {
namespace {

namespace fs = std::filesystem;

// The environment of a user who has the stub's credentials, for as long as it lives.
class User {
 public:
  User() {
    set("AWS_ACCESS_KEY_ID", "AKSTUB");
    set("AWS_SECRET_ACCESS_KEY", "secret/of+the=stub");
    set("HOME", home_.path());
    for (const char* none : {"XDG_STATE_HOME", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION",
                             "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
                             "AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}) {
      set(none, "");
    }
  }
  ~User() {
    for (const auto& [name, value] : before_) change(name, value);
  }
  User(const User&) = delete;
  User& operator=(const User&) = delete;

  // Empty: unset.
  void set(const std::string& name, const std::string& value) {
    const char* before = std::getenv(name.c_str());
    before_.emplace(name, before == nullptr ? "" : before);
    change(name, value);
  }
  std::string home() const { return home_.path(); }
  // The names in the state directory of wp.
  std::vector<std::string> state() const {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(home() + "/.local/state/wp", none)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  static void change(const std::string& name, const std::string& value) {
    value.empty() ? unsetenv(name.c_str()) : setenv(name.c_str(), value.c_str(), 1);
  }
  const TestDirectory home_;
  std::map<std::string, std::string> before_;
};

std::string url_of(const s3_stub::Server& server, const std::string& prefix = "root") {
  return "s3://bucket/" + prefix + "?endpoint=" + server.endpoint();
}

std::unique_ptr<Wal> open_url(const std::string& url, const Options& options = {}) {
  auto wal = Wal::open(url, options);
  require_ok(wal.status());
  return *std::move(wal);
}

}  // namespace

TEST_CASE("a root in a bucket has its view and lock in the user's state directory") {
  const User user;
  s3_stub::Server server;
  {
    const auto wal = open_url(url_of(server));
    Log log = log_of(*wal, "a");
    append_text(log, "1");
    const fs::path view = wal->info().view_path;
    CHECK(view.parent_path() == user.home() + "/.local/state/wp");
    CHECK(view.filename().string().starts_with("bucket-"));
    CHECK(fs::status(view.parent_path()).permissions() == fs::perms::owner_all);
    CHECK(user.state().size() >= 2);
    require_ok(wal->close());
  }
  const auto names = user.state();
  REQUIRE(names.size() == 2);
  CHECK(names[0] + ".lock" == names[1]);
  // The same root by another spelling, and others.
  const auto wal = open_url(url_of(server, "root/"));
  CHECK(read_texts(log_of(*wal, "a")) == texts("", 1));
  CHECK(user.state().size() <= 3);  // and the log of the view
  const auto other = open_url(url_of(server, "other"));
  const auto top = open_url(url_of(server, ""));
  CHECK(other->info().view_path != wal->info().view_path);
  CHECK(top->info().view_path != wal->info().view_path);
  CHECK(other->logs()->empty());
}

TEST_CASE("XDG_STATE_HOME and meta_path say where the view lies") {
  User user;
  s3_stub::Server server;
  const TestDirectory directory;
  user.set("XDG_STATE_HOME", directory.path() + "/state");
  {
    const auto wal = open_url(url_of(server));
    CHECK(wal->info().view_path.starts_with(directory.path() + "/state/wp/bucket-"));
  }
  user.set("XDG_STATE_HOME", "not/absolute");  // then it does not count
  {
    const auto wal = open_url(url_of(server));
    CHECK(wal->info().view_path.starts_with(user.home() + "/.local/state/wp/"));
  }
  Options options;
  options.meta_path = directory.path() + "/mine.sqlite";
  const auto wal = open_url(url_of(server), options);
  CHECK(wal->info().view_path == options.meta_path);
  CHECK(fs::exists(options.meta_path + ".lock"));
}

TEST_CASE("a process that holds a root in a bucket is told to the next by its pid") {
  const User user;
  s3_stub::Server server;
  const auto one = open_url(url_of(server));
  const auto two = open_url(url_of(server));  // here it is the same root
  Log log = log_of(*one, "a"), same = log_of(*two, "a");
  append_text(log, "1");
  CHECK(append_text(same, "2") == 2);
  const std::string parent = std::to_string(getpid());
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const auto refused = Wal::open(url_of(server));
    const bool names = refused.status().message().find(parent) != std::string::npos;
    _exit(refused.code() == Code::kBusy && names ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  append_text(log, "3");
}

TEST_CASE("what the store can do is asked once, as long as the view remembers") {
  const User user;
  s3_stub::Server server;
  const auto probes = [&] {
    const auto wal = open_url(url_of(server));
    Log log = log_of(*wal, "a");
    append_text(log, "x");
    require_ok(wal->close());
    return requests_of(wal->stats(), "", "probe");
  };
  CHECK(probes() > 0);
  CHECK(probes() == 0);
  CHECK(probes() == 0);
  fs::remove_all(user.home() + "/.local");
  CHECK(probes() > 0);
  CHECK(probes() == 0);
}

TEST_CASE("whoever only reads a root in a bucket leaves nothing, here or there") {
  const User user;
  s3_stub::Server server;
  Options look;
  look.read_only = true;
  CHECK_CODE(Wal::open(url_of(server), look), Code::kNotFound);
  look.read_only = false;
  look.create = false;
  CHECK_CODE(Wal::open(url_of(server), look), Code::kNotFound);
  {
    const auto wal = open_url(url_of(server));
    Log log = log_of(*wal, "a");
    append_text(log, "1");
  }
  fs::remove_all(user.home() + "/.local");
  server.forget_log();
  look.read_only = true;
  const auto wal = open_url(url_of(server), look);
  CHECK(wal->info().view_path.empty());
  auto log = wal->find("a");
  require_ok(log.status());
  CHECK(read_texts(*log) == texts("", 1));
  CHECK(user.state().empty());
  CHECK(server.requests("PUT") + server.requests("POST") + server.requests("DELETE") == 0);
}

TEST_CASE("without a place for the view a root in a bucket works, and says what it lacks") {
  User user;
  s3_stub::Server server;
  s3_test::Messages messages;
  Options options;
  options.on_message = messages.listener();
  std::string part;
  SUBCASE("nobody says where the home is") {
    user.set("HOME", "");
    part = "meta_path";
  }
  SUBCASE("no directory can be made there") {
    std::ofstream(user.home() + "/file") << "x";
    user.set("XDG_STATE_HOME", user.home() + "/file");
    part = user.home() + "/file/wp/bucket-";
  }
  const auto wal = open_url(url_of(server), options);
  CHECK(wal->info().view_path.empty());
  CHECK(messages.mention(part));
  Log log = log_of(*wal, "a");
  append_text(log, "1");
  require_ok(wal->close());
  CHECK(read_texts(log_of(*open_url(url_of(server), options), "a")) == texts("", 1));
}

TEST_CASE("an S3 URL that is wrong is refused without what may be a secret") {
  const User user;
  for (const char* url :
       {"s3://AKIA:hunter2@bucket/x", "s3://b/x", "s3:///x", "s3://bucket/x?endpoint=ftp://host",
        "s3://bucket/x?endpoint=http://user:hunter2@host", "s3://bucket/x?region=a%20b",
        "s3://bucket/x?path_style=perhaps", "s3://bucket/x?unsigned_payload=1&endpoint=http://h"}) {
    CAPTURE(url);
    const auto wal = Wal::open(url);
    CHECK_CODE(wal, Code::kInvalid);
    CHECK(wal.status().message().find("hunter2") == std::string::npos);
  }
  CHECK(user.state().empty());
}

}  // namespace wp
