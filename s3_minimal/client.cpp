// Signing, sending, healing: what all requests share. What they ask for is in operations.cpp.
#include "s3_minimal/client.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "s3_minimal/client_call.h"
#include "stores/keys.h"

namespace wp::s3 {
namespace {

using std::chrono::milliseconds;

constexpr int kHopsMax = 3;
constexpr int64_t kSkewMs = 300'000;  // a difference of clocks that explains a refusal

// What stands in a message of a server's words: printable, and not without end.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 300)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return out;
}

milliseconds retry_after(const HttpAnswer& http, int64_t now_ms) {
  const std::string* value = http.header("retry-after");
  if (value == nullptr) return milliseconds{0};
  if (const auto date = parse_http_date(*value)) return milliseconds(*date - now_ms);
  const long seconds = strtol(value->c_str(), nullptr, 10);
  return milliseconds(std::clamp<int64_t>(seconds, 0, 86'400) * 1000);
}

Verdict judge_transport(TransportError error) {
  switch (error) {
    case TransportError::kUntrusted:
      return {Answer::kDenied};
    case TransportError::kCancelled:
      return {Answer::kCancelled};
    case TransportError::kTooLarge:
      return {Answer::kCorrupt};
    default:
      return {Answer::kUnknown};
  }
}

std::string_view transport_advice(TransportError error) {
  switch (error) {
    case TransportError::kResolve:
      return "check the endpoint's name and the DNS";
    case TransportError::kConnect:
      return "check the endpoint, the network and the proxy";
    case TransportError::kUntrusted:
      return "check the endpoint's certificate, or name its CA by the option ca";
    case TransportError::kTooLarge:
      return "check that the endpoint speaks S3";
    default:
      return "try again";
  }
}

bool region_is_plain(std::string_view region) {
  return !region.empty() && region.size() < 64 &&
         region.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
             std::string_view::npos;
}

// Where a redirect leads: by its header, else by S3's own words.
std::optional<Url> redirected_to(const HttpAnswer& http, const ErrorDocument& error,
                                 const std::string& scheme) {
  if (http.status < 300 || http.status >= 400) return {};
  if (const std::string* location = http.header("location")) return parse_url(*location);
  if (error.endpoint.empty()) return {};
  return parse_url(scheme + "://" + error.endpoint);
}

std::string_view advice(const Verdict& verdict, const ErrorDocument& error) {
  if (error.code == "NoSuchBucket") return "create the bucket, or fix its name or endpoint";
  if (error.code == "SignatureDoesNotMatch") return "check the secret key";
  if (error.code == "InvalidObjectState") {
    return "objects were moved to an archive: remove that lifecycle rule, and restore them";
  }
  switch (verdict.heal) {
    case Heal::kClock:
      return "set this machine's clock";
    case Heal::kCredentials:
      return "renew the credentials";
    case Heal::kRegion:
      return "set the bucket's region and endpoint";
    case Heal::kNothing:
      break;
  }
  switch (verdict.answer) {
    case Answer::kDenied:
      return "check the permissions of these credentials on the bucket";
    case Answer::kNoSpace:
      return "free space, or raise the quota";
    case Answer::kUnsupported:
      return "use a store that has it";
    case Answer::kUnknown:
      return error.code.empty() ? "check what answers at the endpoint" : "";
    case Answer::kInvalid:
      return "run `wp doctor` on this URL";
    default:
      return "";
  }
}

}  // namespace

S3Client::S3Client(S3Config config, Meter& meter)
    : config_(std::move(config)),
      meter_(meter),
      google_(config_.dialect == Dialect::kGoogle),
      signer_(google_ ? kGoogleNames : kAwsNames),
      place_{config_.endpoint, config_.path_style, config_.region},
      transport_(config_.in_flight_max, config_.ca_file),
      credentials_(config_, [this](HttpRequest request, Transport::Done done) {
        transport_.send(std::move(request), std::move(done));
      }) {}

S3Client::~S3Client() {
  shutdown();
}

void S3Client::shutdown() {
  closed_ = true;
  transport_.shutdown();
}

milliseconds S3Client::clock_offset() const {
  MutexLock lock(mutex_);
  return milliseconds(clock_offset_ms_);
}

void S3Client::set_observer(std::function<void(const HttpAnswer&)> observer) {
  MutexLock lock(mutex_);
  observer_ = std::move(observer);
}

S3Client::Place S3Client::place() const {
  MutexLock lock(mutex_);
  return place_;
}

int64_t S3Client::server_now_ms() const {
  return config_.surroundings.wall_ms() + clock_offset().count();
}

std::string S3Client::name_of(std::string_view key) const {
  return "s3://" + config_.bucket + "/" + printable_key(key);
}

S3Client::CallPtr S3Client::make_call(Verb verb, std::string method, std::string tried,
                                      std::string key, Cause cause) {
  auto call = std::make_shared<Call>();
  call->verb = verb;
  call->method = std::move(method);
  call->tried = std::move(tried);
  call->key = std::move(key);
  call->cause = cause;
  call->payload_hash = kEmptyPayload;
  call->used = place();
  return call;
}

// -------------------------------------------------------------------------------- there and back

void S3Client::start(CallPtr call) {
  call->failures_before = backoff_.failures();
  const Credentials* refused = call->refused ? &*call->refused : nullptr;
  credentials_.get(server_now_ms(), refused, [this, call](Result<Credentials> result) {
    if (result.ok()) {
      if (call->refused && call->refused->access_key == result->access_key &&
          call->refused->secret_key == result->secret_key &&
          call->refused->session_token == result->session_token) {
        // There are no others: what the store said stands.
        return finish(call, call->refusal, std::move(call->refused_reply));
      }
      call->refused.reset();
      return send(call, *result);
    }
    Reply reply;
    const bool passing = result.code() == Code::kUnavailable;
    // Credentials that were being fetched when the end came are not missing.
    const Verdict verdict{closed_   ? Answer::kCancelled
                          : passing ? Answer::kUnknown
                                    : Answer::kDenied};
    reply.status = {verdict.answer, call->tried + ": " + result.status().message(), {}};
    finish(call, verdict, std::move(reply));
  });
}

void S3Client::send(const CallPtr& call, const Credentials& credentials) {
  const Place to = call->redirect ? *call->redirect : place();
  HttpRequest request;
  request.method = call->method;
  request.headers = call->headers;
  request.body = call->body;
  request.answer_bytes_max = call->answer_bytes_max;
  request.deadlines = config_.deadlines;
  request.fresh_connection = call->fresh_connection;
  const std::string authority = to.endpoint.authority();
  const std::string host = to.path_style ? authority : config_.bucket + "." + authority;
  const std::string path =
      encode_path(to.path_style ? "/" + config_.bucket + "/" + call->key : "/" + call->key);
  const std::string query = canonical_query(call->query);
  request.url = to.endpoint.scheme + "://" + host + path;
  // Sent as it is signed: "?delete=" means the same as "?delete".
  if (!query.empty()) request.url += "?" + query;
  request.headers.insert(request.headers.begin(), {"Host", host});
  call->credentials = credentials;
  call->used = to;
  call->signed_ms = server_now_ms();
  const SigningScope scope{to.region, google_ ? "storage" : "s3"};
  signer_.sign(credentials, scope, call->signed_ms, call->method, path, query, call->payload_hash,
               request.headers);
  transport_.send(std::move(request),
                  [this, call](HttpAnswer http) { answered(call, std::move(http)); });
}

// What an answer means, and in which words.
S3Client::Judged S3Client::judge_answer(const Call& call, const HttpAnswer& http) {
  Judged judged{{Answer::kOk, Heal::kNothing, false}, {}, {}};
  const bool came = http.error == TransportError::kNone;
  const bool success = http.status >= 200 && http.status < 300;
  if (!came && (success || http.status == 0 || http.error == TransportError::kUntrusted)) {
    judged.verdict = judge_transport(http.error);
    judged.words = http.error_text;
    if (http.reused) judged.words += " (on a kept connection)";
    return judged;
  }
  // Errors come under status 200, too, where they are found only after the status was sent. In a
  // successful GET the body is the object's, whatever it looks like.
  if (!success || call.verb != Verb::kGet) {
    if (auto document = parse_error(http.text())) {
      judged.verdict = judge(call.verb, success ? 500 : http.status, document->code);
      judged.words = document->code;
      if (!document->message.empty()) judged.words += ": " + document->message;
      judged.error = std::move(*document);
      return judged;
    }
  }
  if (!success) {
    // S3 says why it refuses, but to HEAD, which has no room for it.
    const bool head = call.verb == Verb::kHead;
    judged.verdict = judge(call.verb, http.status, head ? std::string_view() : kNoDocument);
    judged.words = head ? "refused" : "an answer that is not S3's";
  } else if (call.sound && !call.sound(http)) {
    judged.verdict = {Answer::kUnknown};
    judged.words = "a success as no S3 says it";
  }
  return judged;
}

void S3Client::answered(const CallPtr& call, HttpAnswer http) {
  std::function<void(const HttpAnswer&)> observer;
  {
    MutexLock lock(mutex_);
    observer = observer_;
  }
  if (observer) observer(http);
  Judged judged = judge_answer(*call, http);
  const Verdict verdict = judged.verdict;
  if (verdict.answer != Answer::kCancelled) {
    transport_.note(http.round, verdict.slow_down);
    const uint64_t sent = call->body == nullptr ? 0 : call->body->size();
    const uint64_t got = verdict.answer == Answer::kOk ? http.body.size() : 0;
    if (http.sent) meter_.add(call->operation(), call->cause, verdict.answer, sent + got);
  }
  Reply reply;
  if (verdict.answer == Answer::kOk) {
    reply.http = std::move(http);
    return finish(call, verdict, std::move(reply));
  }
  const bool came = http.error == TransportError::kNone;
  reply.status = explain(*call, verdict.answer, judged.words,
                         came ? advice(verdict, judged.error) : transport_advice(http.error), &http,
                         &judged.error);
  reply.http = std::move(http);
  reply.error = std::move(judged.error);
  if (came && heal(call, verdict, reply.http, reply.error)) return;
  if (came && verdict.heal == Heal::kCredentials && !call->credentials_tried) {
    // Others, if there are others; else this reply is the answer.
    call->credentials_tried = true;
    call->refused = call->credentials;
    call->refusal = verdict;
    call->refused_reply = std::move(reply);
    return start(call);
  }
  finish(call, verdict, std::move(reply));
}

void S3Client::finish(const CallPtr& call, const Verdict& verdict, Reply reply) {
  if (reply.status.passing()) {
    reply.status.retry_after = backoff_.failed(call->failures_before, config_.surroundings.random(),
                                               retry_after(reply.http, server_now_ms()));
  } else if (verdict.answer != Answer::kCancelled) {
    backoff_.succeeded();
  }
  // The callback may hold the call itself.
  const ReplyDone done = std::exchange(call->done, nullptr);
  done(std::move(reply));
}

StoreStatus S3Client::explain(const Call& call, Answer answer, std::string_view what,
                              std::string_view todo, const HttpAnswer* http,
                              const ErrorDocument* error) {
  std::string message = call.tried + ": " + shown(redact(std::string(what), call.credentials));
  message += " [";
  if (http != nullptr && http->status != 0) {
    message += "HTTP " + std::to_string(http->status) + ", ";
  }
  if (error != nullptr && !error->request_id.empty()) {
    message += "request " + shown(redact(error->request_id, call.credentials)) + ", ";
  }
  message += "endpoint " + call.used.endpoint.origin() + ", region " + call.used.region +
             ", credentials of " + call.credentials.source + "]";
  if (!todo.empty()) message += "; " + std::string(todo);
  return {answer, redact(std::move(message), call.credentials), {}};
}

// --------------------------------------------------------------------------------- what heals

bool S3Client::heal(const CallPtr& call, const Verdict& verdict, const HttpAnswer& http,
                    const ErrorDocument& error) {
  // A refusal without words, as to HEAD, is explained by the clocks too.
  if (verdict.heal == Heal::kClock || (verdict.answer == Answer::kDenied && http.status == 403)) {
    if (heal_clock(call, http, error)) return true;
  }
  if (verdict.heal == Heal::kRegion || http.header("x-amz-bucket-region") != nullptr) {
    if (verdict.answer != Answer::kNotFound && heal_region(call, http, error)) return true;
  }
  return false;
}

bool S3Client::heal_clock(const CallPtr& call, const HttpAnswer& http, const ErrorDocument& error) {
  if (call->clock_tried) return false;
  std::optional<int64_t> server_ms = error.server_time_ms;
  if (!server_ms) {
    if (const std::string* date = http.header("date")) server_ms = parse_http_date(*date);
  }
  if (!server_ms || std::abs(*server_ms - call->signed_ms) < kSkewMs) return false;
  call->clock_tried = true;
  const int64_t offset = *server_ms - config_.surroundings.wall_ms();
  bool news = false;
  {
    MutexLock lock(mutex_);
    news = std::abs(offset - clock_offset_ms_) >= kSkewMs;
    clock_offset_ms_ = offset;
  }
  if (news && config_.on_message) {
    config_.on_message(Level::kWarning, "sign for s3://" + config_.bucket +
                                            ": this machine's clock is off by " +
                                            std::to_string(offset / 1000) +
                                            " s against the store's, whose time is used from now "
                                            "on; set the clock");
  }
  start(call);
  return true;
}

bool S3Client::heal_region(const CallPtr& call, const HttpAnswer& http,
                           const ErrorDocument& error) {
  if (call->hops >= kHopsMax) return false;
  // What is news is measured by what this request used: meanwhile another may have learned it.
  Place learned = call->used;
  const std::string* header = http.header("x-amz-bucket-region");
  const std::string& region = header != nullptr ? *header : error.region;
  const bool other_region = region_is_plain(region) && region != learned.region;
  if (other_region) learned.region = region;
  bool other_endpoint = false;
  if (other_region && config_.endpoint_from_region) {
    learned.endpoint = *parse_url(amazon_endpoint(region));
  } else if (const auto to = redirected_to(http, error, learned.endpoint.scheme)) {
    // Signed requests carry a session's token: they stay on the site that was configured.
    if (!same_site(config_.endpoint, *to) || !to->user_info.empty()) return false;
    go_to(*to, learned);
    other_endpoint = learned.endpoint.origin() != call->used.endpoint.origin() ||
                     learned.path_style != call->used.path_style;
  }
  if (!other_region && !other_endpoint) return false;
  ++call->hops;
  // 301 is for ever, the others only for this request.
  const bool temporary = other_endpoint && http.status != 301 && http.status != 308;
  if (temporary || call->redirect) {
    call->redirect = std::move(learned);
  } else {
    MutexLock lock(mutex_);
    place_ = std::move(learned);
  }
  start(call);
  return true;
}

// The endpoint and style in which the bucket is at a redirect's target.
void S3Client::go_to(const Url& target, Place& place) const {
  const std::string own = lower(config_.bucket) + ".";
  place.endpoint = target;
  place.endpoint.path.clear();
  place.endpoint.query.clear();
  if (target.host.starts_with(own)) {
    place.endpoint.host = target.host.substr(own.size());
    place.path_style = false;
  } else if (target.path.starts_with("/" + config_.bucket + "/")) {
    place.path_style = true;
  }
}

}  // namespace wp::s3
