// As whom requests are signed: every source, what is renewed when, and that no secret is ever
// shown.
#include <doctest/doctest.h>

#include <algorithm>

#include "s3_minimal/credentials.h"
#include "tests/s3_test.h"

namespace wp {
namespace {

using namespace s3_test;
using s3::Credentials;
using s3_stub::refusal;
using s3_stub::Request;
using std::chrono::minutes;
using std::chrono::seconds;
using store_test::Answers;

constexpr const char* kAccess = "AKSTUB";
constexpr const char* kSecret = "secret/of+the=stub";  // of the stub's settings

std::string iso(int64_t ms) {
  const time_t seconds = ms / 1000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char out[64];
  return {out, strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string json(const std::string& access, const std::string& secret, const std::string& token,
                 int64_t expiry_ms) {
  return "{\"Code\":\"Success\",\"AccessKeyId\":\"" + access + "\",\"SecretAccessKey\":\"" +
         secret + "\",\"Token\":\"" + token + "\",\"Expiration\":\"" + iso(expiry_ms) + "\"}";
}

s3_stub::Answer page(std::string body, int status = 200) {
  s3_stub::Answer answer;
  answer.status = status;
  answer.body = std::move(body);
  return answer;
}

// A client whose credentials are to be found in a world of the test's own.
struct Lab : Bench {
  World world;
  Lab() {
    config.credentials.reset();
    config.surroundings = world.surroundings();
    config.deadlines.connect = config.deadlines.first_byte = seconds(2);
    world.set("HOME", "/home/me");
    world.set("AWS_EC2_METADATA_DISABLED", "true");
  }
  void session_token(const std::string& token) {
    server.set([&](auto& settings) { settings.session_token = token; });
  }
  // Time passes, here and at the server.
  void advance(std::chrono::milliseconds by) {
    world.advance(by);
    server.set([&](auto& settings) { settings.clock_ahead_ms += by.count(); });
  }
  StoreStatus try_put() { return put(client(), "k" + std::to_string(++puts_), make_body("x")); }

 private:
  int puts_ = 0;
};

// The machine's metadata service.
struct Machine {
  Server server;
  Mutex mutex;
  std::string role WP_GUARDED_BY(mutex) = "my-role", answer WP_GUARDED_BY(mutex);
  explicit Machine(Lab& lab) {
    lab.world.unset("AWS_EC2_METADATA_DISABLED");
    lab.world.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint());
    server.serve([this](const Request& request) { return serve(request); });
    set_answer(json(kAccess, kSecret, "", s3_stub::now_ms() + 3'600'000));
  }
  void set_answer(std::string text) {
    MutexLock lock(mutex);
    answer = std::move(text);
  }
  s3_stub::Answer serve(const Request& request) {
    const std::string base = "/latest/meta-data/iam/security-credentials/";
    if (request.target == "/latest/api/token") {
      if (request.method != "PUT" ||
          request.header("x-aws-ec2-metadata-token-ttl-seconds").empty()) {
        return page("", 400);
      }
      return page("session-of-metadata");
    }
    if (request.header("x-aws-ec2-metadata-token") != "session-of-metadata") return page("", 401);
    MutexLock lock(mutex);
    if (request.target == base) return page(role + "\n");
    if (request.target == base + role) return page(answer);
    return page("", 404);
  }
};

}  // namespace

TEST_CASE("credentials of the program come before all others") {
  Lab lab;
  lab.world.set("AWS_ACCESS_KEY_ID", "other");
  lab.world.set("AWS_SECRET_ACCESS_KEY", "other");
  lab.config.credentials = Credentials{kAccess, kSecret, "", 0, ""};
  CHECK(lab.try_put().ok());
  CHECK(lab.client().credentials().last().source == "the program");
}

TEST_CASE("credentials of the environment, with a session's token that is signed") {
  Lab lab;
  lab.session_token("a/session+token==");
  lab.world.set("AWS_ACCESS_KEY_ID", std::string(" ") + kAccess + "\n");
  lab.world.set("AWS_SECRET_ACCESS_KEY", std::string(kSecret) + "\n");
  lab.world.set("AWS_SESSION_TOKEN", "a/session+token==");
  CHECK(lab.try_put().ok());
  CHECK(lab.client().credentials().last().source == "the environment");

  for (const char* missing : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}) {
    Lab half;
    half.world.set("AWS_ACCESS_KEY_ID", kAccess);
    half.world.set("AWS_SECRET_ACCESS_KEY", kSecret);
    half.world.unset(missing);
    const StoreStatus status = half.try_put();
    CHECK(status.answer == Answer::kDenied);
    CHECK(mentions(status, std::string(missing) + " is not set"));
  }
}

TEST_CASE("credentials of profile files") {
  Lab lab;
  lab.world.file("/home/me/.aws/credentials",
                 "[default]\naws_access_key_id = " + std::string(kAccess) +
                     "\naws_secret_access_key = " + kSecret + "\n");
  CHECK(lab.try_put().ok());
  CHECK(lab.client().credentials().last().source == "profile 'default'");

  // A profile that was chosen is the only source.
  Lab chosen;
  chosen.world.set("AWS_ACCESS_KEY_ID", kAccess);
  chosen.world.set("AWS_SECRET_ACCESS_KEY", kSecret);
  chosen.config.profile = "mine";
  chosen.config.profile_chosen = true;
  StoreStatus status = chosen.try_put();
  CHECK(status.answer == Answer::kDenied);
  CHECK(mentions(status, "not in the profile files"));
  chosen.world.file("/home/me/.aws/config", "[profile mine]\ncredential_process = x\n");
  CHECK(mentions(chosen.try_put(), "credential_process is not supported"));
  chosen.world.file("/home/me/.aws/credentials",
                    "[mine]\naws_access_key_id = " + std::string(kAccess) +
                        "\naws_secret_access_key = " + kSecret + "\n");
  CHECK(chosen.try_put().ok());
}

TEST_CASE("credentials of a web identity") {
  Lab lab;
  Server sts;
  lab.session_token("sts-token");
  sts.serve([](const Request& request) -> std::optional<s3_stub::Answer> {
    const bool right =
        request.method == "POST" && request.target == "/" &&
        request.header("content-type") == "application/x-www-form-urlencoded" &&
        request.body.find("Action=AssumeRoleWithWebIdentity") != std::string::npos &&
        request.body.find("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr") != std::string::npos &&
        request.body.find("WebIdentityToken=web.token%3D") != std::string::npos;
    if (!right) return page("<ErrorResponse><Error><Code>x</Code></Error></ErrorResponse>", 400);
    return page(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
        "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKSTUB</AccessKeyId>"
        "<SecretAccessKey>secret/of+the=stub</SecretAccessKey><SessionToken>sts-token"
        "</SessionToken><Expiration>" +
        iso(s3_stub::now_ms() + 3'600'000) +
        "</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
        "</AssumeRoleWithWebIdentityResponse>");
  });
  lab.world.set("AWS_ENDPOINT_URL_STS", sts.endpoint());
  SUBCASE("by the environment") {
    lab.world.set("AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
    lab.world.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
  }
  SUBCASE("by a profile") {
    lab.world.file(
        "/home/me/.aws/config",
        "[default]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /token\n");
  }
  StoreStatus status = lab.try_put();
  CHECK(status.answer == Answer::kDenied);
  CHECK(mentions(status, "/token cannot be read"));
  lab.world.file("/token", "wrong");
  status = lab.try_put();
  CHECK(status.answer == Answer::kDenied);
  CHECK(mentions(status, "HTTP 400"));
  lab.world.file("/token", "web.token=\n");
  status = lab.try_put();
  CHECK_MESSAGE(status.ok(), status.message);
  const Credentials last = lab.client().credentials().last();
  CHECK(last.expiry_ms > s3_stub::now_ms());
}

TEST_CASE("credentials of a container") {
  Lab lab;
  Server container;
  container.serve([](const Request& request) -> std::optional<s3_stub::Answer> {
    if (request.target != "/creds?x=1" || request.header("authorization") != "Bearer abc") {
      return page("no", 403);
    }
    return page(json(kAccess, kSecret, "", s3_stub::now_ms() + 3'600'000));
  });
  lab.world.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.endpoint() + "/creds?x=1");
  CHECK(lab.try_put().answer == Answer::kDenied);
  lab.world.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer abc");
  CHECK(lab.try_put().ok());
  CHECK(lab.client().credentials().last().source == "the container");

  lab.new_client();
  lab.world.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token");
  CHECK(mentions(lab.try_put(), "/token cannot be read"));
  lab.world.file("/token", "two\nlines");
  CHECK(mentions(lab.try_put(), "more than one line"));
  lab.world.file("/token", "Bearer abc\n");
  CHECK(lab.try_put().ok());
}

TEST_CASE("a container's token goes to this machine or over TLS, and nowhere else") {
  for (const char* uri :
       {"http://10.0.0.1/creds", "http://example.com/creds", "http://127.0.0.1.example.com/creds",
        "http://127.evil/creds", "nonsense", "ftp://127.0.0.1/creds"}) {
    CAPTURE(uri);
    Lab lab;
    lab.world.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
    const StoreStatus status = lab.try_put();
    CHECK(status.answer == Answer::kDenied);
    CHECK(mentions(status, "AWS_CONTAINER_CREDENTIALS_FULL_URI"));
  }
  Lab lab;
  lab.world.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".example.com/creds");
  CHECK(lab.try_put().answer == Answer::kDenied);
}

TEST_CASE("credentials of the machine's role, by IMDSv2") {
  Lab lab;
  Machine machine(lab);
  CHECK(lab.try_put().ok());
  CHECK(lab.client().credentials().last().source == "the machine's role");
  CHECK(machine.server.requests() == 3);
  CHECK(lab.try_put().ok());
  CHECK(machine.server.requests() == 3);
  // Their fetching costs no request of the store's.
  CHECK(lab.meter.requests() == 2);
}

TEST_CASE("D10 a metadata service that fails for a while is no lack of credentials") {
  Lab lab;
  Machine machine(lab);
  machine.server.script(refusal(503, "x", 3));
  const StoreStatus status = lab.try_put();
  CHECK_MESSAGE(status.answer == Answer::kUnknown, status.message);
  machine.server.clear_script();
  CHECK(lab.try_put().ok());
  lab.new_client();
  Fault broken;
  broken.answer_bytes = 0;
  broken.part = "my-role";
  machine.server.script(broken);
  CHECK(lab.try_put().ok());  // asked again
  lab.new_client();
  machine.set_answer("<html>");
  CHECK(lab.try_put().answer == Answer::kUnknown);
  machine.set_answer("{\"Code\":\"Failed\"}");
  CHECK(lab.try_put().answer == Answer::kDenied);
}

TEST_CASE("sources that answer without credentials, or not at all, are told as what they are") {
  Lab lab;
  SUBCASE("a web identity without keys") {
    Server sts;
    sts.serve([](const Request&) { return page("<R><Credentials></Credentials></R>"); });
    lab.world.set("AWS_ENDPOINT_URL_STS", sts.endpoint());
    lab.world.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
    lab.world.set("AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
    lab.world.file("/token", "web.token");
    const StoreStatus status = lab.try_put();
    CHECK(status.answer == Answer::kDenied);
    CHECK(mentions(status, "there are none in the answer"));
  }
  SUBCASE("a machine without a role") {
    Machine machine(lab);
    {
      MutexLock lock(machine.mutex);
      machine.role = "";
    }
    const StoreStatus status = lab.try_put();
    CHECK(status.answer == Answer::kDenied);
    CHECK(mentions(status, "this machine has no role"));
  }
  SUBCASE("a container's service that is not there") {
    uint16_t port;
    {
      const Server gone;
      port = gone.port();
    }
    lab.world.set("AWS_CONTAINER_CREDENTIALS_FULL_URI",
                  "http://127.0.0.1:" + std::to_string(port) + "/creds");
    const StoreStatus status = lab.try_put();
    CHECK(status.answer == Answer::kUnknown);
    CHECK(mentions(status, "check the network to it"));
  }
  CHECK(lab.server.requests() == 0);
}

TEST_CASE("where there are no credentials the message says where was looked") {
  Lab lab;
  const StoreStatus status = lab.try_put();
  CHECK(status.answer == Answer::kDenied);
  for (const char* part : {"AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "profile 'default'",
                           "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_EC2_METADATA_DISABLED"}) {
    CHECK_MESSAGE(mentions(status, part), status.message);
  }
  Lab nobody;
  nobody.world.unset("AWS_EC2_METADATA_DISABLED");
  {
    Server gone;
    nobody.world.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", gone.endpoint());
  }
  CHECK(mentions(nobody.try_put(), "no metadata service here"));
  CHECK(lab.server.requests() == 0);
}

TEST_CASE("D10 credentials are fetched anew before they expire, without holding anybody up") {
  Lab lab;
  Machine machine(lab);
  const int64_t expiry = s3_stub::now_ms() + 3'600'000;
  machine.set_answer(json(kAccess, kSecret, "", expiry));
  CHECK(lab.try_put().ok());
  lab.advance(minutes(50));
  CHECK(lab.try_put().ok());
  CHECK(machine.server.requests() == 3);
  // Five minutes before they expire a fetch starts; requests go on with the old ones meanwhile.
  Fault held;
  held.hold = true;
  machine.server.script(held);
  machine.set_answer(json(kAccess, kSecret, "", expiry + 3'600'000));
  lab.advance(minutes(6));
  CHECK(lab.try_put().ok());
  CHECK(lab.try_put().ok());
  machine.server.wait_held(1);
  machine.server.release();
  while (lab.client().credentials().last().expiry_ms < expiry + 3'000'000) {
    std::this_thread::yield();
  }
  CHECK(machine.server.requests() == 6);
  // One that fails is tried again, but not for every request.
  machine.server.forget_log();
  machine.server.script(refusal(500, "x", 1000));
  lab.advance(minutes(60));
  for (int i = 0; i < 5; ++i) CHECK(lab.try_put().ok());
  lab.advance(seconds(31));
  CHECK(lab.try_put().ok());
  lab.client().shutdown();
  CHECK(machine.server.requests() <= 2);
  CHECK(machine.server.requests() >= 1);
}

TEST_CASE("D10 credentials that expired are fetched before they are used") {
  Lab lab;
  Machine machine(lab);
  machine.set_answer(json("OLD", kSecret, "", s3_stub::now_ms() + 3'600'000));
  lab.server.set([](auto& settings) { settings.access_key = "OLD"; });
  CHECK(lab.try_put().ok());
  lab.server.set([](auto& settings) { settings.access_key = "NEW"; });
  machine.set_answer(json("NEW", kSecret, "", s3_stub::now_ms() + 2 * 3'600'000));
  lab.advance(minutes(60));
  CHECK(lab.try_put().ok());
  CHECK(lab.server.requests() == 2);
}

TEST_CASE("D10 credentials that the store calls expired are fetched anew, once for all who wait") {
  Lab lab;
  Machine machine(lab);
  machine.set_answer(json("OLD", kSecret, "", s3_stub::now_ms() + 3'600'000));
  lab.server.set([](auto& settings) {
    settings.access_key = "NEW";
    settings.expired_access_key = "OLD";
  });
  Fault held;
  held.hold = true;
  held.times = 5;
  lab.server.script(held);
  Answers<StoreStatus> puts;
  for (int i = 0; i < 5; ++i) {
    lab.client().put("p" + std::to_string(i), make_body("x"), true, Cause::kFlush, puts.done());
  }
  lab.server.wait_held(5);
  machine.set_answer(json("NEW", kSecret, "", s3_stub::now_ms() + 3'600'000));
  lab.server.release();
  for (const StoreStatus& status : puts.wait(5)) CHECK_MESSAGE(status.ok(), status.message);
  CHECK(machine.server.requests() == 6);
  CHECK(lab.server.requests() == 10);
  CHECK(lab.meter.requests() == 10);
}

TEST_CASE("D10 credentials that stay refused are an error that says so, at once") {
  Lab lab;
  lab.world.set("AWS_ACCESS_KEY_ID", kAccess);
  lab.world.set("AWS_SECRET_ACCESS_KEY", kSecret);
  lab.server.set([](auto& settings) { settings.expired_access_key = kAccess; });
  const StoreStatus status = lab.try_put();
  CHECK(status.answer == Answer::kDenied);
  CHECK(mentions(status, "ExpiredToken"));
  CHECK(mentions(status, "renew the credentials"));
  CHECK(lab.server.requests() == 1);
  // New ones in the environment are seen.
  lab.server.set([](auto& settings) { settings.access_key = "AKNEW"; });
  lab.world.set("AWS_ACCESS_KEY_ID", "AKNEW");
  CHECK(lab.try_put().ok());
}

TEST_CASE("a wrong secret is no reason to look for others") {
  Lab lab;
  lab.world.set("AWS_ACCESS_KEY_ID", kAccess);
  lab.world.set("AWS_SECRET_ACCESS_KEY", "wrong");
  const StoreStatus status = lab.try_put();
  CHECK(status.answer == Answer::kDenied);
  CHECK(mentions(status, "check the secret key"));
  CHECK(lab.server.requests() == 1);
}

TEST_CASE("a shutdown while credentials are being fetched cancels, and is no lack of them") {
  Lab lab;
  Machine machine(lab);
  Fault held;
  held.hold = true;
  machine.server.script(held);
  Answers<StoreStatus> puts;
  lab.client().put("k", make_body("x"), true, Cause::kFlush, puts.done());
  machine.server.wait_held(1);
  lab.client().shutdown();
  REQUIRE(puts.count() == 1);
  CHECK(puts.wait(1)[0].answer == Answer::kCancelled);
  CHECK(lab.try_put().answer == Answer::kCancelled);
}

TEST_CASE("no secret stands in any message, whatever a server repeats") {
  const std::string secret = "SeCrEt/KeY+0123456789abcdefghijklmnopqrs",
                    token = "ToKeN//with+and=0123456789", web = "WeB.IdEnTiTy.0123456789",
                    container = "CoNtAiNeR-0123456789";
  std::vector<std::string> texts;
  const auto collect = [&](Lab& lab, const std::function<void(Lab&)>& prepare) {
    Messages messages;
    lab.config.on_message = messages.listener();
    prepare(lab);
    for (const StoreStatus& status :
         {put(lab.client(), "k", make_body("x")), get(lab.client(), "k").status,
          head(lab.client(), "k").status, list(lab.client()).status,
          remove(lab.client(), {"k", "l"}), remove(lab.client(), {"k"})}) {
      texts.push_back(status.message);
    }
    for (const std::string& text : messages.all()) texts.push_back(text);
  };
  // Servers that repeat everything they were told, in every kind of answer.
  const std::string all = secret + " " + token + " " + web + " " + container;
  const std::string more = "<Message>" + all + "</Message><Region>" + all + "</Region><Endpoint>" +
                           all + "</Endpoint><RequestId>" + all + "</RequestId>";
  const auto in_environment = [&](Lab& lab) {
    lab.world.set("AWS_ACCESS_KEY_ID", kAccess);
    lab.world.set("AWS_SECRET_ACCESS_KEY", secret);
    lab.world.set("AWS_SESSION_TOKEN", token);
  };
  std::vector<std::pair<int, std::string>> errors;
  for (const s3::AnswerRow& row : s3::answer_rows()) {
    const int status = row.status == 0 ? 599 : row.status < 10 ? row.status * 100 : row.status;
    errors.emplace_back(status, row.code.empty() ? "Other" : row.code);
  }
  for (const auto& [status, code] : errors) {
    Lab lab;
    Fault fault;
    fault.times = -1;
    fault.apply = false;
    fault.change = [&, status = status, code = code](const auto& request, auto& answer) {
      answer = s3_stub::error(status, code, more);
      answer.set("Location", "http://" + all + "/");
      answer.set("x-amz-bucket-region", all);
      answer.head_only = request.method == "HEAD";
    };
    collect(lab, [&](Lab& l) {
      in_environment(l);
      l.server.script(fault);
    });
  }
  // Codes and pages that are secrets themselves, a broken wire, nobody there.
  for (const std::string& body :
       {"<Error><Code>" + secret + "</Code></Error>", all, std::string()}) {
    for (const int status : {200, 206, 301, 400, 403, 404, 500}) {
      Lab lab;
      Fault fault;
      fault.times = -1;
      fault.apply = false;
      fault.change = [&, status](const auto& request, auto& answer) {
        answer = page(body, status);
        answer.set("ETag", secret);
        answer.set("Content-Range", secret);
        answer.head_only = request.method == "HEAD";
      };
      collect(lab, [&](Lab& l) {
        in_environment(l);
        l.server.script(fault);
      });
    }
  }
  {
    Lab lab;
    Fault reset;
    reset.times = -1;
    reset.answer_bytes = 5;
    collect(lab, [&](Lab& l) {
      in_environment(l);
      l.server.script(reset);
    });
  }
  // Sources that fail. What only they know must not come out of that either.
  const size_t from_sources = texts.size();
  const auto source = [&](const std::function<void(Lab&, Server&)>& prepare) {
    for (const int status : {200, 400, 403, 500}) {
      Lab lab;
      Server server;
      server.serve([&, status](const Request& request) -> std::optional<s3_stub::Answer> {
        return page(request.body + request.header("authorization") + all, status);
      });
      collect(lab, [&](Lab& l) { prepare(l, server); });
    }
  };
  source([&](Lab& lab, Server& server) {
    lab.world.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.endpoint() + "/");
    lab.world.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", container);
  });
  source([&](Lab& lab, Server& server) {
    lab.world.set("AWS_ENDPOINT_URL_STS", server.endpoint());
    lab.world.set("AWS_ROLE_ARN", "r");
    lab.world.set("AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
    lab.world.file("/token", web);
  });
  source([&](Lab& lab, Server& server) {
    lab.world.unset("AWS_EC2_METADATA_DISABLED");
    lab.world.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint());
  });
  collect(*std::make_unique<Lab>(), [&](Lab& lab) {
    lab.world.set("AWS_SECRET_ACCESS_KEY", secret);
    lab.world.set("AWS_SESSION_TOKEN", token);
  });
  size_t said = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i].empty()) ++said;
    for (const std::string& hidden : {secret, token, web, container}) {
      if (i < from_sources && (hidden == web || hidden == container)) continue;
      CHECK_MESSAGE(texts[i].find(hidden.substr(0, 12)) == std::string::npos, texts[i]);
    }
  }
  CHECK(said > 300);
}

TEST_CASE("a secret is taken out of a text wherever it stands") {
  const Credentials credentials{"AK", "secret", "token", 0, ""};
  CHECK(s3::redact("a secret, a token, secretsecret", credentials) ==
        "a [secret], a [secret], [secret][secret]");
  CHECK(s3::redact("nothing", Credentials{}) == "nothing");
}

}  // namespace wp
