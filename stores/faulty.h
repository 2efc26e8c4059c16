// A store for tests that does what real ones do on bad days, by script: fails before or after an
// operation was applied, holds operations back and lets them go in any order, applies late, cuts
// and damages what is read. It also keeps a record of all that was asked of it.
//
// Faults are looked through in the order they were added; the first one that matches an operation
// and has not run out decides. Everything from any thread.
#ifndef WP_STORES_FAULTY_H_
#define WP_STORES_FAULTY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sync.h"
#include "stores/object_store.h"

namespace wp {

struct Fault {
  enum class Kind : uint8_t {
    kFail,        // not applied; answered with `status`
    kLoseAnswer,  // applied; answered with `status`
    kHold,        // neither applied nor answered before release()
    kHoldAnswer,  // applied at once; answered by release()
    kApplyLate,   // answered with `status` at once; applied by release(), its answer lost
    kShortRead,   // get: only the first `at` bytes come, and that is called good
    kFlipByte,    // get: byte `at` of what was asked for is turned over; behind the end: none is
  };
  Kind kind = Kind::kFail;
  std::optional<Operation> operation;  // none: any
  std::string prefix;  // of the key; of the prefix that is listed; of any of the keys deleted
  uint64_t skip = 0;   // so many matching operations pass first,
  uint64_t times = 1;  // then so many meet the fault; UINT64_MAX: all
  StoreStatus status{Answer::kUnknown, "scripted fault", {}};
  uint64_t at = 0;
};

class FaultyStore final : public ObjectStore {
 public:
  struct Record {
    Operation operation{};
    std::string key;  // the prefix of a list; the first key of a delete
    Cause cause{};
    size_t keys = 1;     // of a delete
    uint64_t bytes = 0;  // of a put's body
    std::optional<Fault::Kind> fault;
  };
  struct Held {
    uint64_t id = 0;
    Operation operation{};
    std::string key;
  };

  explicit FaultyStore(std::unique_ptr<ObjectStore> inner);
  ~FaultyStore() override;

  uint64_t add(Fault fault);  // an id, from 1
  void clear(uint64_t id);    // what it holds stays held
  // From now on everything is answered with this, and nothing applied; none: up again.
  void set_down(std::optional<StoreStatus> status);

  std::vector<Held> held() const;  // in the order they came to be held
  void wait_held(size_t count);    // until so many are
  // Lets it go on, in the calling thread. False: no such one is held.
  bool release(uint64_t id);
  size_t release_all();  // in order, those too that come to be held meanwhile; their number

  std::vector<Record> records() const;
  size_t count(std::optional<Operation> operation = {}, std::string_view prefix = "") const;
  ObjectStore& inner() { return *inner_; }

  void put_if_absent(std::string key, Body body, Cause cause, PutDone done) override;
  void get(std::string key, ByteRange range, Cause cause, GetDone done) override;
  void list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
            ListDone done) override;
  void remove(std::vector<std::string> keys, Cause cause, RemoveDone done) override;
  // What is held is answered with kCancelled; what was not applied never is.
  void shutdown() override;
  std::string description() const override { return inner_->description(); }
  std::chrono::milliseconds linger_default() const override { return inner_->linger_default(); }

 private:
  // The answer of any operation.
  struct Outcome {
    StoreStatus status;
    GetResult get;
    ListResult list;
  };
  using Answered = std::function<void(Outcome)>;
  struct Call {
    Record record;
    std::vector<std::string> keys;        // for matching
    std::function<void(Answered)> apply;  // on the inner store
    Answered answer;                      // to the caller
  };
  struct Script {
    uint64_t id = 0;
    Fault fault;
  };
  struct Waiting {
    Held held;
    std::function<void()> go, cancel;
  };

  void start(Call call);
  // The fault that this call meets, if any; counts it.
  std::optional<Fault> decide(Call& call) WP_REQUIRES(mutex_);
  void meet(Fault fault, Call call);
  // Calls `cancel` at once where the store is shut down.
  void hold(const Record& record, std::function<void()> go, std::function<void()> cancel);
  void measure(Operation operation, Cause cause, Answer answer, uint64_t bytes);
  static StoreStatus cancelled(const Record& record);

  const std::unique_ptr<ObjectStore> inner_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<Script> scripts_ WP_GUARDED_BY(mutex_);
  std::optional<StoreStatus> down_ WP_GUARDED_BY(mutex_);
  std::vector<Waiting> waiting_ WP_GUARDED_BY(mutex_);
  std::vector<Record> records_ WP_GUARDED_BY(mutex_);
  uint64_t id_next_ WP_GUARDED_BY(mutex_) = 1;
  bool closed_ WP_GUARDED_BY(mutex_) = false;
};

}  // namespace wp

#endif  // WP_STORES_FAULTY_H_
