#include "s3_minimal/s3_store.h"

#include <algorithm>
#include <utility>

#include "engine/bytes.h"
#include "stores/keys.h"

namespace wp {
namespace {

constexpr size_t kS3KeyBytesMax = 1024;
constexpr std::chrono::milliseconds kLinger{200};

}  // namespace

Result<std::unique_ptr<ObjectStore>> S3Store::open(std::string_view url, const Options& options,
                                                   S3Verdict verdict) {
  Result<s3::S3Config> config = s3::s3_config(url, options);
  if (!config.ok()) return config.status();
  return open(std::move(config).value(), std::move(verdict));
}

std::unique_ptr<ObjectStore> S3Store::open(s3::S3Config config, S3Verdict verdict) {
  return std::unique_ptr<ObjectStore>(new S3Store(std::move(config), std::move(verdict)));
}

S3Store::S3Store(s3::S3Config config, S3Verdict verdict)
    : learned_(std::move(verdict.learned)), client_(std::move(config), meter()) {
  // A lack is only believed where it is lived with: else the store may have learned since.
  const bool exclusive = verdict.known == verdict_text("missing") && client_.config().exclusive;
  {
    MutexLock lock(mutex_);
    if (verdict.known == verdict_text("proved")) puts_ = Puts::kConditional;
    if (exclusive) puts_ = Puts::kExclusive;
  }
  if (exclusive) say_exclusive("found by an earlier opening");
}

S3Store::~S3Store() {
  shutdown();
}

void S3Store::shutdown() {
  client_.shutdown();
}

std::string S3Store::description() const {
  const s3::S3Config& config = client_.config();
  std::string text = "s3://" + config.bucket;
  if (!config.prefix.empty()) text += "/" + config.prefix.substr(0, config.prefix.size() - 1);
  return text;
}

std::chrono::milliseconds S3Store::linger_default() const {
  return kLinger;
}

std::string S3Store::verdict_text(std::string_view word) const {
  const s3::S3Config& config = client_.config();
  return std::string(word) + ": " + std::string(s3::dialect_name(config.dialect)) + " at " +
         config.endpoint.origin() + "/" + config.bucket;
}

void S3Store::say(Level level, const std::string& text) const {
  if (client_.config().on_message) client_.config().on_message(level, description() + ": " + text);
}

void S3Store::say_exclusive(const std::string& lack) const {
  say(Level::kWarning, "this store has no conditional create (" + lack +
                           "); with exclusive=1 a second writer is not noticed, and the two "
                           "destroy each other's entries");
}

bool S3Store::holds(std::string_view key) const {
  return key_is_plain(key) && client_.config().prefix.size() + key.size() <= kS3KeyBytesMax;
}

StoreStatus S3Store::wrong_key(std::string_view tried, std::string_view key) const {
  return {Answer::kInvalid,
          std::string(tried) + " '" + printable_key(key) + "' in " + description() +
              ": no key of this store; keys have 1 to 1,000 bytes and no empty part",
          {}};
}

// ------------------------------------------------------------------------------------------- put

void S3Store::put_if_absent(std::string key, Body body, Cause cause, PutDone done) {
  if (!holds(key)) return done(wrong_key("put", key));
  Put one{std::move(key), std::move(body), cause, std::move(done)};
  Puts how{};
  {
    MutexLock lock(mutex_);
    how = puts_;
    if (how == Puts::kUnproved) puts_ = Puts::kProbing;
    if (how == Puts::kUnproved || how == Puts::kProbing) waiting_.push_back(std::move(one));
  }
  if (how == Puts::kProbing) return;
  if (how == Puts::kUnproved) return start_probe();
  put(how, std::move(one));
}

void S3Store::put(Puts how, Put put) {
  if (how == Puts::kExclusive) return put_unless_seen(std::move(put));
  if (how == Puts::kConditional) {
    return client_.put(whole(put.key), std::move(put.body), true, put.cause, std::move(put.done));
  }
  std::string lack;
  {
    MutexLock lock(mutex_);
    lack = lack_;
  }
  put.done({Answer::kUnsupported,
            "put " + client_.name_of(whole(put.key)) + ": this store has no conditional create (" +
                std::string(s3::dialect_name(client_.config().dialect)) + "): " + lack +
                "; use a store that has it, or exclusive=1 where no second writer can exist",
            {}});
}

void S3Store::put_unless_seen(Put put) {
  const std::string key = whole(put.key);
  const Cause cause = put.cause;
  client_.head(key, cause, [this, key, put = std::move(put)](GetResult seen) mutable {
    if (seen.status.answer == Answer::kNotFound) {
      return client_.put(key, std::move(put.body), false, put.cause, std::move(put.done));
    }
    if (seen.status.ok())
      seen.status = {Answer::kExists, "put " + client_.name_of(key) + ": exists", {}};
    put.done(std::move(seen.status));
  });
}

void S3Store::start_probe() {
  const uint64_t random = client_.config().surroundings.random();
  s3::probe(client_, whole("probe/" + hex_number(random, 16)),
            [this](s3::ProbeResult result) { probed(std::move(result)); });
}

void S3Store::probed(s3::ProbeResult result) {
  const bool exclusive = client_.config().exclusive;
  const Puts how = !result.status.ok()  ? Puts::kUnproved
                   : result.conditional ? Puts::kConditional
                   : exclusive          ? Puts::kExclusive
                                        : Puts::kRefused;
  if (how == Puts::kExclusive) say_exclusive(result.lack);
  if (result.status.ok() && result.versioned) {
    say(Level::kWarning,
        "the bucket keeps old versions, so what wp deletes goes on costing; add a lifecycle rule "
        "that expires them");
  }
  for (const s3::LifecycleRule& rule : result.lifecycle) {
    say(Level::kWarning, "the bucket's lifecycle rule '" + printable_key(rule.id) + "' for '" +
                             printable_key(rule.prefix) + "' " + printable_key(rule.does) +
                             ": entries will be lost to it; exclude this root from the rule");
  }
  if (!result.removed.ok() && result.removed.answer != Answer::kCancelled) {
    say(Level::kWarning, "the probe's object stays behind: " + result.removed.message);
  }
  if (result.status.ok() && learned_) {
    learned_(verdict_text(result.conditional ? "proved" : "missing"));
  }
  std::vector<Put> waiting;
  {
    MutexLock lock(mutex_);
    puts_ = how;
    lack_ = result.lack;
    std::swap(waiting, waiting_);
  }
  for (Put& one : waiting) {
    if (how != Puts::kUnproved) {
      put(how, std::move(one));
      continue;
    }
    StoreStatus status = result.status;
    status.message = "put " + client_.name_of(whole(one.key)) +
                     ": nothing was sent, for what the " +
                     "store does with it could not be proved: " + status.message;
    one.done(std::move(status));
  }
}

// ------------------------------------------------------------------------------ get, list, remove

void S3Store::get(std::string key, ByteRange range, Cause cause, GetDone done) {
  if (!holds(key)) {
    GetResult result;
    result.status = wrong_key("get", key);
    return done(std::move(result));
  }
  client_.get(whole(key), range, cause, std::move(done));
}

void S3Store::list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                   ListDone done) {
  const std::string& root = client_.config().prefix;
  // Some tools make an object of the prefix itself, to look like a folder. It is no key of ours.
  const bool from_root = after.empty() && prefix.empty();
  std::string behind = after.empty() && !from_root ? "" : whole(after);
  client_.list(whole(prefix), std::move(behind), count_max, cause,
               [root, done = std::move(done)](ListResult result) {
                 for (ListedObject& object : result.objects) object.key.erase(0, root.size());
                 done(std::move(result));
               });
}

void S3Store::remove(std::vector<std::string> keys, Cause cause, RemoveDone done) {
  const auto wrong =
      std::find_if(keys.begin(), keys.end(), [&](const std::string& key) { return !holds(key); });
  if (wrong != keys.end()) return done(wrong_key("delete", *wrong));
  for (std::string& key : keys) key = whole(key);
  client_.remove(std::move(keys), cause, std::move(done));
}

}  // namespace wp
