#include "s3_minimal/credentials.h"

#include <algorithm>
#include <utility>

#include "s3_minimal/json.h"
#include "s3_minimal/messages.h"
#include "s3_minimal/xml.h"

namespace wp::s3 {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kEarlyMs = 300'000;      // fetched again so long before they expire
constexpr int64_t kLastMs = 15'000;        // not used any more so shortly before
constexpr int64_t kEarlyPauseMs = 30'000;  // between tries while the old ones are still good
constexpr int kTries = 3;

Body make_body(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const std::vector<std::byte>>(bytes, bytes + text.size());
}

bool one_line(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != 0x7f; });
}

// Answered, but not now.
bool busy(const HttpAnswer& answer) {
  return answer.error == TransportError::kNone && (answer.status >= 500 || answer.status == 429);
}

Status denied(std::string message) {
  return Status(Code::kDenied, std::move(message));
}

// Credentials out of a container's or the machine's JSON.
Result<Credentials> read_json(std::string_view document, const std::string& source) {
  const std::string tried = "get credentials from " + source + ": ";
  const auto texts = parse_json_texts(document);
  if (!texts) {
    return Status(Code::kUnavailable, tried + "the answer is not JSON; check who answers there");
  }
  const auto text = [&](const char* name) {
    const auto it = texts->find(name);
    return it == texts->end() ? std::string() : it->second;
  };
  Credentials credentials{text("AccessKeyId"), text("SecretAccessKey"), text("Token"), 0, source};
  if (credentials.access_key.empty() || credentials.secret_key.empty()) {
    return denied(tried + "there are none in the answer; check the role of this machine or task");
  }
  if (const std::string expiry = text("Expiration"); !expiry.empty()) {
    const auto time = parse_iso_time(expiry);
    if (!time) return denied(tried + "their expiry cannot be read; check who answers there");
    credentials.expiry_ms = *time;
  }
  return credentials;
}

Result<Credentials> read_sts(std::string_view document, const std::string& source) {
  Credentials credentials;
  credentials.source = source;
  XmlReader reader(document);
  for (;;) {
    const XmlReader::Event event = reader.next();
    if (event == XmlReader::Event::kDone) break;
    if (event == XmlReader::Event::kError) {
      return Status(Code::kUnavailable, "get credentials from " + source +
                                            ": the answer is damaged; check who answers there");
    }
    if (event != XmlReader::Event::kText || reader.open().size() < 2) continue;
    const auto& open = reader.open();
    if (open[open.size() - 2] != "Credentials") continue;
    const std::string_view name = open.back();
    if (name == "AccessKeyId") credentials.access_key += reader.text();
    if (name == "SecretAccessKey") credentials.secret_key += reader.text();
    if (name == "SessionToken") credentials.session_token += reader.text();
    if (name == "Expiration") credentials.expiry_ms = parse_iso_time(reader.text()).value_or(0);
  }
  if (credentials.access_key.empty() || credentials.secret_key.empty()) {
    return denied("get credentials from " + source + ": there are none in the answer");
  }
  return credentials;
}

// One look through the sources. Lives as long as somebody may still answer it.
class Search : public std::enable_shared_from_this<Search> {
 public:
  Search(const S3Config& config, CredentialProvider::Fetch fetch, CredentialProvider::Got got)
      : config_(config), fetch_(std::move(fetch)), got_(std::move(got)) {}

  void run() {
    if (config_.credentials) {
      Credentials given = *config_.credentials;
      given.source = "the program";
      return got_(std::move(given));
    }
    if (config_.profile_chosen) {
      if (!try_profile()) {
        got_(denied("get credentials from profile '" + config_.profile + "': " + profile_lack_ +
                    "; check the files in ~/.aws"));
      }
      return;
    }
    if (try_environment() || try_web_identity() || try_profile() || try_container() ||
        try_machine()) {
      return;
    }
    nothing_found();
  }

 private:
  std::optional<std::string> variable(const char* name) const {
    return config_.surroundings.variable(name);
  }

  void nothing_found() {
    got_(denied("get credentials for s3://" + config_.bucket +
                ": none found [environment: AWS_ACCESS_KEY_ID is not set, web identity: "
                "AWS_WEB_IDENTITY_TOKEN_FILE is not set, profile '" +
                config_.profile + "': " + profile_lack_ +
                ", container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set, "
                "machine: " +
                machine_lack_ + "]; set one of them up"));
  }

  // Each `try_` is false where its source is not set up; else it sees to the answer.
  bool try_environment() {
    const auto access = variable("AWS_ACCESS_KEY_ID"), secret = variable("AWS_SECRET_ACCESS_KEY");
    if (!access && !secret) return false;
    if (!access || !secret) {
      got_(denied(std::string("get credentials from the environment: ") +
                  (access ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID") +
                  " is not set; set both, or neither"));
      return true;
    }
    got_(Credentials{std::string(trim(*access)), std::string(trim(*secret)),
                     std::string(trim(variable("AWS_SESSION_TOKEN").value_or(""))), 0,
                     "the environment"});
    return true;
  }

  bool try_profile() {
    const auto settings = profile_settings(config_.profile, config_.surroundings);
    const auto text = [&](const char* name) {
      const auto it = settings.find(name);
      return it == settings.end() ? std::string() : it->second;
    };
    const std::string source = "profile '" + config_.profile + "'";
    const std::string access = text("aws_access_key_id"), secret = text("aws_secret_access_key");
    if (!access.empty() && !secret.empty()) {
      got_(Credentials{access, secret, text("aws_session_token"), 0, source});
      return true;
    }
    const std::string role = text("role_arn"), file = text("web_identity_token_file");
    if (!role.empty() && !file.empty()) {
      assume_role(role, file, text("role_session_name"), source);
      return true;
    }
    profile_lack_ = settings.empty() ? "not in the profile files" : "no keys in it";
    for (const char* way :
         {"credential_process", "sso_session", "sso_start_url", "source_profile"}) {
      if (!text(way).empty()) {
        profile_lack_ = std::string(way) +
                        " is not supported: export keys with `aws configure "
                        "export-credentials` instead";
      }
    }
    return false;
  }

  bool try_web_identity() {
    const auto file = variable("AWS_WEB_IDENTITY_TOKEN_FILE"), role = variable("AWS_ROLE_ARN");
    if (!file || !role) return false;
    assume_role(*role, *file, variable("AWS_ROLE_SESSION_NAME").value_or(""), "web identity");
    return true;
  }

  void assume_role(const std::string& role, const std::string& file, const std::string& session,
                   const std::string& source) {
    const auto token = config_.surroundings.read_file(file);
    if (!token || trim(*token).empty()) {
      return got_(denied("get credentials from " + source + ": " + file +
                         " cannot be read; check AWS_WEB_IDENTITY_TOKEN_FILE"));
    }
    const std::string host = "https://sts." + config_.region + ".amazonaws.com" +
                             (config_.region.starts_with("cn-") ? ".cn" : "");
    HttpRequest request;
    request.method = "POST";
    request.url = variable("AWS_ENDPOINT_URL_STS").value_or(host);
    if (!request.url.ends_with('/')) request.url += '/';
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
    request.body = make_body(canonical_query({{"Action", "AssumeRoleWithWebIdentity"},
                                              {"Version", "2011-06-15"},
                                              {"RoleArn", role},
                                              {"RoleSessionName", session.empty() ? "wp" : session},
                                              {"WebIdentityToken", std::string(trim(*token))}}));
    ask(std::move(request), source, &read_sts);
  }

  bool try_container() {
    const auto relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const auto full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full) return false;
    const std::string source = "the container";
    const auto url = parse_url(relative ? "http://169.254.170.2" + *relative : *full);
    if (!url || !safe_container(*url)) {
      got_(
          denied("get credentials from the container: AWS_CONTAINER_CREDENTIALS_FULL_URI is "
                 "neither https nor an address of this machine; check it"));
      return true;
    }
    HttpRequest request;
    request.method = "GET";
    request.url = relative ? "http://169.254.170.2" + *relative : *full;
    request.direct = url->scheme == "http";
    std::string token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").value_or("");
    if (const auto file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
      const auto text = config_.surroundings.read_file(*file);
      if (!text) {
        got_(denied("get credentials from the container: " + *file +
                    " cannot be read; check AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
        return true;
      }
      token = trim(*text);
    }
    if (!one_line(token)) {
      got_(denied("get credentials from the container: its token has more than one line"));
      return true;
    }
    if (!token.empty()) request.headers.push_back({"Authorization", token});
    ask(std::move(request), source, &read_json);
    return true;
  }

  // The token goes nowhere but over TLS, or to this machine.
  static bool safe_container(const Url& url) {
    if (url.scheme == "https") return true;
    const bool loopback = is_ip_address(url.host) && url.host.starts_with("127.");
    return url.scheme == "http" && (url.host == "localhost" || loopback || url.host == "::1" ||
                                    url.host == "169.254.170.2" || url.host == "169.254.170.23" ||
                                    url.host == "fd00:ec2::23");
  }

  bool try_machine() {
    if (lower(variable("AWS_EC2_METADATA_DISABLED").value_or("")) == "true") {
      machine_lack_ = "AWS_EC2_METADATA_DISABLED is set";
      return false;
    }
    const bool ipv6 =
        lower(variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").value_or("")) == "ipv6";
    machine_ = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT")
                   .value_or(ipv6 ? "http://[fd00:ec2::254]" : "http://169.254.169.254");
    if (machine_.ends_with('/')) machine_.pop_back();
    HttpRequest request = machine_request("PUT", "/latest/api/token");
    request.headers.push_back({"X-aws-ec2-metadata-token-ttl-seconds", "21600"});
    fetch_(std::move(request), [self = shared_from_this()](HttpAnswer answer) {
      const std::string token(trim(answer.text()));
      if (busy(answer)) return self->machine_failed(answer);
      if (answer.error != TransportError::kNone || answer.status != 200 || token.empty() ||
          !one_line(token)) {
        self->machine_lack_ =
            answer.error != TransportError::kNone
                ? "no metadata service here (" + answer.error_text + ")"
                : "the metadata service gave no token (HTTP " + std::to_string(answer.status) + ")";
        return self->nothing_found();
      }
      self->ask_role(token);
    });
    return true;
  }

  void machine_failed(const HttpAnswer& answer) {
    got_(Status(Code::kUnavailable, "get credentials from the machine's role: " +
                                        (answer.error != TransportError::kNone
                                             ? answer.error_text
                                             : "HTTP " + std::to_string(answer.status)) +
                                        "; try again"));
  }

  HttpRequest machine_request(const char* method, const std::string& path) const {
    HttpRequest request;
    request.method = method;
    request.url = machine_ + path;
    request.direct = true;
    request.deadlines.connect = milliseconds(1000);
    request.deadlines.first_byte = milliseconds(2000);
    if (std::string_view(method) == "PUT") request.body = make_body("");
    return request;
  }

  void ask_role(const std::string& token) {
    const std::string path = "/latest/meta-data/iam/security-credentials/";
    HttpRequest request = machine_request("GET", path);
    request.headers.push_back({"X-aws-ec2-metadata-token", token});
    fetch_(std::move(request), [self = shared_from_this(), token, path](HttpAnswer answer) {
      std::string role(trim(answer.text()));
      role = role.substr(0, role.find('\n'));
      // Who gave a token is there, so an answer that does not come is a failure.
      if (busy(answer) || answer.error != TransportError::kNone) {
        return self->machine_failed(answer);
      }
      if (answer.status != 200 || role.empty() || !one_line(role)) {
        self->machine_lack_ =
            "this machine has no role (HTTP " + std::to_string(answer.status) + ")";
        return self->nothing_found();
      }
      HttpRequest next = self->machine_request("GET", path + encode_path(role));
      next.headers.push_back({"X-aws-ec2-metadata-token", token});
      self->ask(std::move(next), "the machine's role", &read_json);
    });
  }

  // Asks for the credentials themselves; again where it is worth it.
  void ask(HttpRequest request, const std::string& source,
           Result<Credentials> (*read)(std::string_view, const std::string&), int tries = kTries) {
    HttpRequest again = request;
    fetch_(std::move(request), [self = shared_from_this(), again = std::move(again), source, read,
                                tries](HttpAnswer answer) mutable {
      const bool broken = answer.error != TransportError::kNone || busy(answer);
      if (broken && tries > 1 && answer.error != TransportError::kCancelled) {
        again.fresh_connection = true;
        return self->ask(std::move(again), source, read, tries - 1);
      }
      const std::string tried = "get credentials from " + source + ": ";
      if (answer.error != TransportError::kNone) {
        return self->got_(
            Status(Code::kUnavailable, tried + answer.error_text + "; check the network to it"));
      }
      if (answer.status != 200) {
        // The body is not shown: it may repeat a token.
        return self->got_(Status(busy(answer) ? Code::kUnavailable : Code::kDenied,
                                 tried + "refused with HTTP " + std::to_string(answer.status) +
                                     "; check the role and its trust"));
      }
      self->got_(read(answer.text(), source));
    });
  }

  const S3Config& config_;  // the provider's, which outlives every fetch
  const CredentialProvider::Fetch fetch_;
  const CredentialProvider::Got got_;
  std::string profile_lack_ = "not in the profile files", machine_lack_, machine_;
};

bool same(const Credentials& a, const Credentials& b) {
  return a.access_key == b.access_key && a.secret_key == b.secret_key &&
         a.session_token == b.session_token;
}

}  // namespace

void fetch_credentials(const S3Config& config, const CredentialProvider::Fetch& fetch,
                       CredentialProvider::Got got) {
  std::make_shared<Search>(config, fetch, std::move(got))->run();
}

CredentialProvider::CredentialProvider(const S3Config& config, Fetch fetch)
    : config_(config), fetch_(std::move(fetch)) {}

void CredentialProvider::get(int64_t now_ms, const Credentials* refused, Got got) {
  std::optional<Credentials> good;
  bool begin = false;
  {
    MutexLock lock(mutex_);
    if (current_) {
      const int64_t left = current_->expiry_ms == 0 ? INT64_MAX : current_->expiry_ms - now_ms;
      const bool usable = left > kLastMs && (refused == nullptr || !same(*current_, *refused));
      if (usable) good = current_;
      if (usable && left < kEarlyMs && !fetching_ && now_ms >= early_try_ms_) {
        early_try_ms_ = now_ms + kEarlyPauseMs;
        begin = true;
      }
    }
    if (!good) {
      waiting_.push_back(std::move(got));
      begin = !fetching_;
    }
    if (begin) fetching_ = true;
  }
  if (begin) start_fetch();
  if (good) got(std::move(*good));
}

void CredentialProvider::start_fetch() {
  fetch_credentials(config_, fetch_,
                    [this](Result<Credentials> result) { finish_fetch(std::move(result)); });
}

void CredentialProvider::finish_fetch(Result<Credentials> result) {
  std::vector<Got> waiting;
  {
    MutexLock lock(mutex_);
    fetching_ = false;
    if (result.ok()) current_ = *result;
    std::swap(waiting, waiting_);
  }
  for (const Got& got : waiting) got(result);
}

Credentials CredentialProvider::last() const {
  MutexLock lock(mutex_);
  return current_.value_or(Credentials{});
}

std::string redact(std::string text, const Credentials& credentials) {
  for (const std::string* secret : {&credentials.secret_key, &credentials.session_token}) {
    if (secret->size() < 4) continue;
    const std::string_view shown = "[secret]";
    for (size_t at = 0; (at = text.find(*secret, at)) != std::string::npos; at += shown.size()) {
      text.replace(at, secret->size(), shown);
    }
  }
  return text;
}

}  // namespace wp::s3
