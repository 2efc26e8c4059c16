#include "s3_minimal/probe.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

namespace wp::s3 {
namespace {

Body body_of(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const std::vector<std::byte>>(bytes, bytes + text.size());
}

// One step after the other; each ends in the next, or in end().
class Probe : public std::enable_shared_from_this<Probe> {
 public:
  Probe(S3Client& client, std::string key, std::function<void(ProbeResult)> done)
      : client_(client),
        root_(client.config().prefix),
        key_(std::move(key)),
        done_(std::move(done)) {}

  // Two at once.
  void race() {
    for (size_t i = 0; i < 2; ++i) {
      client_.put(key_, bodies_[i], true, Cause::kProbe,
                  [self = shared_from_this(), i](StoreStatus status) {
                    bool both = false;
                    {
                      MutexLock lock(self->mutex_);
                      self->raced_[i] = std::move(status);
                      both = ++self->raced_count_ == 2;
                    }
                    if (both) self->race_ended();
                  });
    }
  }

 private:
  void race_ended() {
    std::array<StoreStatus, 2> raced;
    {
      MutexLock lock(mutex_);
      raced = raced_;
    }
    const auto count = [&](Answer answer) {
      return std::count_if(raced.begin(), raced.end(),
                           [&](const StoreStatus& status) { return status.answer == answer; });
    };
    if (count(Answer::kOk) == 2)
      return lacks(
          "of two who created one key at once both were told "
          "that they did");
    if (count(Answer::kUnsupported) + count(Answer::kInvalid) > 0) {
      const bool first =
          raced[0].answer == Answer::kUnsupported || raced[0].answer == Answer::kInvalid;
      return without_condition(std::move(raced[first ? 0 : 1]));
    }
    // "Exists" without a winner: the answer to the winner was lost.
    if (count(Answer::kOk) + count(Answer::kExists) == 0) {
      return end_with(std::move(raced[raced[0].passing() ? 1 : 0]));
    }
    if (count(Answer::kOk) == 1) winner_ = bodies_[raced[0].ok() ? 0 : 1];
    again();
  }

  // Is it the condition that was refused, or would any put be?
  void without_condition(StoreStatus refused) {
    client_.put(key_, bodies_[0], false, Cause::kProbe,
                [self = shared_from_this(), refused = std::move(refused)](StoreStatus status) {
                  if (!status.ok()) return self->end_with(std::move(status));
                  self->lacks("the condition was refused, where the same put without it was not (" +
                              refused.message + ")");
                });
  }

  void again() {
    client_.put(key_, body_of("again"), true, Cause::kProbe,
                [self = shared_from_this()](StoreStatus status) {
                  if (status.ok())
                    return self->lacks(
                        "the condition was ignored: a key that was "
                        "there was created once more");
                  if (status.answer != Answer::kExists) return self->end_with(std::move(status));
                  self->read_back();
                });
  }

  void read_back() {
    client_.get(key_, {}, Cause::kProbe, [self = shared_from_this()](GetResult result) {
      if (result.status.answer == Answer::kNotFound) {
        return self->lacks("an object that was just stored is not found");
      }
      if (!result.status.ok()) return self->end_with(std::move(result.status));
      const bool first = result.bytes == *self->bodies_[0],
                 second = result.bytes == *self->bodies_[1];
      if (self->winner_ != nullptr ? result.bytes != *self->winner_ : !first && !second) {
        return self->lacks("an object was replaced by one whose creation was refused");
      }
      self->list();
    });
  }

  void list() {
    client_.list(key_, "", 2, Cause::kProbe, [self = shared_from_this()](ListResult result) {
      if (!result.status.ok()) return self->end_with(std::move(result.status));
      if (result.objects.size() != 1 || result.objects[0].key != self->key_) {
        return self->lacks("a LIST does not show an object that was just stored");
      }
      self->result_.conditional = true;
      self->look_at_versioning();
    });
  }

  void look_at_versioning() {
    // Many may not ask for these, and some stores do not know of it: then nothing is said.
    client_.versioning(Cause::kProbe,
                       [self = shared_from_this()](StoreStatus status, std::string versioning) {
                         self->result_.versioned = status.ok() && !versioning.empty();
                         self->look_at_lifecycle();
                       });
  }

  void look_at_lifecycle() {
    client_.lifecycle(Cause::kProbe, [self = shared_from_this()](StoreStatus,
                                                                 std::vector<LifecycleRule> rules) {
      std::erase_if(rules, [&](const LifecycleRule& rule) { return !rule.touches(self->root_); });
      self->result_.lifecycle = std::move(rules);
      self->end();
    });
  }

  void lacks(std::string what) {
    result_.lack = std::move(what);
    look_at_versioning();
  }
  void end_with(StoreStatus status) {
    result_.status = std::move(status);
    end();
  }
  void end() {
    client_.remove({key_}, Cause::kProbe, [self = shared_from_this()](StoreStatus status) {
      self->result_.removed = std::move(status);
      self->done_(std::move(self->result_));
    });
  }

  S3Client& client_;
  const std::string root_, key_;
  const std::function<void(ProbeResult)> done_;
  const std::array<Body, 2> bodies_{body_of("one"), body_of("another")};
  Body winner_;
  ProbeResult result_;
  Mutex mutex_;
  // guarded by mutex_
  std::array<StoreStatus, 2> raced_ WP_GUARDED_BY(mutex_);
  int raced_count_ WP_GUARDED_BY(mutex_) = 0;
};

}  // namespace

void probe(S3Client& client, std::string key, std::function<void(ProbeResult)> done) {
  std::make_shared<Probe>(client, std::move(key), std::move(done))->race();
}

}  // namespace wp::s3
