// What `wp doctor` looks at before it stores anything in a bucket: who we are there, the way to it,
// and the bucket itself; see doctor.h.
#include <cmath>
#include <memory>
#include <optional>

#include "cli/doctor.h"
#include "cli/values.h"
#include "engine/price.h"
#include "engine/sync.h"
#include "s3_minimal/client.h"

namespace wp::cli {
namespace {

using std::chrono::milliseconds;

// Somebody is waiting for the report.
constexpr s3::Deadlines kDeadlines{milliseconds(5'000), milliseconds(10'000), milliseconds(10'000),
                                   milliseconds(60'000)};
constexpr int64_t kClockSlowMs = 60'000;
constexpr int64_t kClockWrongMs = 300'000;  // stores refuse what is signed 15 minutes off

class S3Patient final : public Patient {
 public:
  explicit S3Patient(s3::S3Client& client) : client_(client) {}
  void put(std::string key, Body body, bool create_only, ObjectStore::PutDone done) override {
    client_.put(std::move(key), std::move(body), create_only, Cause::kProbe, std::move(done));
  }
  void get(std::string key, ByteRange range, ObjectStore::GetDone done) override {
    client_.get(std::move(key), range, Cause::kProbe, std::move(done));
  }
  void list(std::string prefix, ObjectStore::ListDone done) override {
    client_.list(std::move(prefix), "", 0, Cause::kProbe, std::move(done));
  }
  void remove(std::vector<std::string> keys, ObjectStore::RemoveDone done) override {
    client_.remove(std::move(keys), Cause::kProbe, std::move(done));
  }
  std::string create_words() const override {
    return std::string(s3::dialect_name(client_.config().dialect));
  }

 private:
  s3::S3Client& client_;
};

// The first answer that came, with its times, and what any answer said of the region.
class Observer {
 public:
  explicit Observer(s3::S3Client& client) {
    client.set_observer([this](const s3::HttpAnswer& answer) { saw(answer); });
  }
  std::optional<s3::HttpAnswer> first() const {
    MutexLock lock(mutex_);
    return first_;
  }
  std::string region() const {
    MutexLock lock(mutex_);
    return region_;
  }
  // Of the server's clock against ours, as far as whole seconds tell.
  std::optional<int64_t> clock_ms() const {
    MutexLock lock(mutex_);
    return clock_ms_;
  }

 private:
  void saw(const s3::HttpAnswer& answer) {
    const int64_t now = now_ms();
    MutexLock lock(mutex_);
    if (!first_) first_ = answer;
    if (const std::string* region = answer.header("x-amz-bucket-region")) {
      region_ = *region;
    } else if (answer.status >= 300) {
      if (const auto error = s3::parse_error(answer.text())) {
        if (!error->region.empty()) region_ = error->region;
      }
    }
    const std::string* date = answer.header("date");
    if (date == nullptr || clock_ms_) return;
    if (const auto server = s3::parse_http_date(*date)) {
      const auto took = std::chrono::duration_cast<milliseconds>(answer.total).count();
      clock_ms_ = *server + 500 - (now - took / 2);
    }
  }

  mutable Mutex mutex_;
  std::optional<s3::HttpAnswer> first_ WP_GUARDED_BY(mutex_);
  std::optional<int64_t> clock_ms_ WP_GUARDED_BY(mutex_);
  std::string region_ WP_GUARDED_BY(mutex_);
};

class S3Examination {
 public:
  S3Examination(Report& report, s3::S3Client& client)
      : report_(report), client_(client), config_(client.config()), observer_(client) {}

  bool credentials() {
    const auto got = answer_of<Result<s3::Credentials>>(
        [&](auto done) { client_.credentials().get(now_ms(), nullptr, std::move(done)); });
    if (!got) {
      report_.wrong("credentials", got.status().message(), "");
      return false;
    }
    // The access key names who one is; it is no secret, but nobody needs all of it here.
    const std::string& key = got->access_key;
    std::string what = "of " + got->source + ", access key " +
                       printable(key.size() > 8 ? key.substr(0, 8) + "..." : key);
    if (!got->session_token.empty()) what += ", with a session token";
    if (got->expiry_ms != 0) what += ", for " + human_duration(got->expiry_ms - now_ms());
    report_.ok("credentials", what);
    return true;
  }

  // One request tells about the way there, the clocks and the bucket.
  bool bucket() {
    const auto listed = answer_of<ListResult>(
        [&](auto done) { client_.list(config_.prefix, "", 1, Cause::kProbe, std::move(done)); });
    const auto first = observer_.first();
    if (first && !the_way(*first)) return false;
    clock();
    region();
    if (!listed.status.ok()) {
      report_.wrong("bucket", listed.status);
      return false;
    }
    const bool empty = listed.objects.empty();
    report_.ok("bucket", config_.bucket + " answers, and may be listed; " +
                             (config_.prefix.empty() ? "it" : "the prefix") +
                             (empty ? " is empty" : " holds objects"));
    versions();
    lifecycle();
    return true;
  }

  // Only for how many it were and what they cost.
  void price(const Meter& meter, const Prices& prices) {
    const double dollars = prices.of(meter);
    const double put = prices.per_1000_puts / 1000, get = prices.per_1000_gets / 1000;
    Finding finding{"price",
                    Verdict::kOk,
                    "this look: " + std::to_string(meter.requests()) + " requests, " +
                        human_dollars(dollars) + "; a durable append alone: " + human_dollars(put) +
                        "; a read of one object: " + human_dollars(get) +
                        " (dollars_per_1000_puts and _gets in the URL say other prices)",
                    {}};
    finding.numbers = {{"requests", static_cast<double>(meter.requests())},
                       {"dollars", dollars},
                       {"dollars_per_put", put},
                       {"dollars_per_get", get}};
    report_.add(finding);
  }

 private:
  // Name, connection and certificate. False: no answer came, and it was said why.
  bool the_way(const s3::HttpAnswer& answer) {
    const s3::Url& endpoint = config_.endpoint;
    const std::string host =
        config_.path_style ? endpoint.host : config_.bucket + "." + endpoint.host;
    using Error = s3::TransportError;
    if (answer.error == Error::kResolve) {
      report_.wrong("dns", answer.error_text, "check the endpoint's name, and this machine's DNS");
      return false;
    }
    if (s3::is_ip_address(endpoint.host)) {
      report_.ok("dns", host + " is an address");
    } else if (!answer.address.empty()) {
      report_.ok("dns", host + " is " + answer.address + ", in " + human_micros(answer.resolve));
    }
    if (answer.error == Error::kUntrusted) {
      report_.wrong("tls", answer.error_text,
                    config_.ca_file.empty()
                        ? "name the CA of the server's certificate: ca=FILE or AWS_CA_BUNDLE"
                        : "check that " + config_.ca_file + " holds the CA that signed it");
      return false;
    }
    if (answer.status == 0) {
      report_.wrong("connection", endpoint.origin() + " does not answer: " + answer.error_text,
                    "check the endpoint, the network on the way, and the proxy");
      return false;
    }
    const auto connect = answer.connect - answer.resolve;
    report_.ok("connection", endpoint.origin() + ", in " + human_micros(connect));
    tls(answer, host);
    return true;
  }

  void tls(const s3::HttpAnswer& answer, const std::string& host) {
    if (config_.endpoint.scheme == "https") {
      report_.ok("tls", "the certificate is good for " + host + " by " +
                            (config_.ca_file.empty() ? "the system's CAs" : config_.ca_file) +
                            ", in " + human_micros(answer.tls - answer.connect));
    } else if (host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") ||
               host == "::1") {
      report_.ok("tls", "none, to this machine itself");
    } else {
      report_.slow("tls", "none: everyone on the way can read along",
                   "use an https endpoint, if there is one");
    }
  }

  void clock() {
    const auto off = observer_.clock_ms();
    if (!off) return;
    const int64_t size = std::abs(*off);
    Finding finding{"clock", Verdict::kOk, "", {}};
    if (size < 2000) {
      finding.what = "agrees with the store's to 2 s";
    } else {
      finding.what = "the store's is " + human_duration(size) + (*off > 0 ? " ahead" : " behind");
    }
    if (size >= kClockSlowMs) {
      finding.verdict = size >= kClockWrongMs ? Verdict::kWrong : Verdict::kSlow;
      finding.todo = "set this machine's clock; wp signs by the store's as long as it is off";
    }
    finding.numbers = {{"ahead_ms", static_cast<double>(*off)}};
    report_.add(finding);
  }

  void region() {
    const std::string learned = observer_.region();
    if (!learned.empty() && learned != config_.region) {
      report_.slow("region",
                   "the bucket is in " + printable(learned) + ", not in " + config_.region +
                       " as " + config_.region_source + " says",
                   "give region=" + printable(learned) + ", or every opening has to ask");
    } else {
      report_.ok("region", config_.region + " by " + config_.region_source);
    }
  }

  // Old versions cost money for ever, as wp never deletes those.
  void versions() {
    using Versions = std::pair<StoreStatus, std::string>;
    const auto [status, state] = answer_of<Versions>([&](auto done) {
      client_.versioning(Cause::kProbe, [done](StoreStatus status, std::string state) {
        done(Versions(std::move(status), std::move(state)));
      });
    });
    if (!status.ok()) {
      report_.ok("versions", "whether the bucket keeps old versions may not be asked");
    } else if (state == "Enabled") {
      report_.slow("versions", "the bucket keeps old versions: what wp deletes goes on costing",
                   "suspend versioning, or have a lifecycle rule delete noncurrent versions only");
    } else {
      report_.ok("versions", "old ones are not kept");
    }
  }

  // What a rule takes is lost, long after it was acknowledged.
  void lifecycle() {
    using Rules = std::pair<StoreStatus, std::vector<s3::LifecycleRule>>;
    const auto [status, rules] = answer_of<Rules>([&](auto done) {
      client_.lifecycle(Cause::kProbe,
                        [done](StoreStatus status, std::vector<s3::LifecycleRule> rules) {
                          done(Rules(std::move(status), std::move(rules)));
                        });
    });
    std::string taking;
    for (const s3::LifecycleRule& rule : rules) {
      if (!rule.touches(config_.prefix)) continue;
      taking += (taking.empty() ? "rule '" : ", rule '") + printable(rule.id) + "' " +
                printable(rule.does);
    }
    if (!taking.empty()) {
      report_.wrong("lifecycle", taking, "exclude this root from it, or entries will be lost");
    } else if (!status.ok() && status.answer != Answer::kNotFound) {
      report_.ok("lifecycle", "whether rules delete objects may not be asked");
    } else {
      report_.ok("lifecycle", "no rule takes objects of this root away");
    }
  }

  Report& report_;
  s3::S3Client& client_;
  const s3::S3Config& config_;
  Observer observer_;
};

}  // namespace

Status examine_s3(Report& report, std::string_view url, const Options& options,
                  const StopSignals& signals) {
  auto config = s3::s3_config(url, options);
  if (!config) return config.status();
  config->deadlines = kDeadlines;
  config->on_message = nullptr;  // the report says it
  Meter meter;
  s3::S3Client client(std::move(config).value(), meter);
  S3Examination examination(report, client);
  if (examination.credentials() && examination.bucket()) {
    S3Patient patient(client);
    const Expectations expected{milliseconds(250), milliseconds(2000), 5e6, options.exclusive};
    examine_store(report, patient, client.config().prefix, expected, signals);
    examination.price(meter, Prices(options));
  }
  // Its observer goes before it.
  client.shutdown();
  return {};
}

}  // namespace wp::cli
