// An object store in the simulator: a bucket in memory behind a network that is slow, loses
// answers, applies late, reorders, throttles and goes away. One SimStore is what one machine sees
// of the bucket; several machines share the bucket. Beside it a view in memory that outlives its
// opening, and Site, which puts the parts together.
#ifndef WP_TESTS_SIM_STORE_H_
#define WP_TESTS_SIM_STORE_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/view.h"
#include "stores/memory.h"
#include "stores/object_store.h"
#include "tests/sim_runtime.h"

namespace wp {

// One request on its way.
struct SimRequest {
  Operation operation;
  std::string key;  // of a list: the prefix
  Cause cause;
  uint64_t number;   // of this store's requests, from 0
  uint64_t attempt;  // of this operation and key at this store, from 0
  bool put(std::string_view begin) const {
    return operation == Operation::kPut && key.starts_with(begin);
  }
  bool get(std::string_view begin) const {
    return operation == Operation::kGet && key.starts_with(begin);
  }
};

// What becomes of it. The default: applied, and answered truly.
struct SimFate {
  bool applied = true;
  std::optional<Answer> answer;           // instead of the true one
  std::optional<Duration> applied_after;  // later than its answer, if need be
  bool answered = true;                   // false: it hangs until the store is shut down
};
inline SimFate fate_lost_request(Answer answer = Answer::kUnknown) {
  return {false, answer, {}, true};
}
inline SimFate fate_lost_answer() {
  return {true, Answer::kUnknown, {}, true};
}
inline SimFate fate_late(Duration after) {
  return {true, Answer::kUnknown, after, true};
}

// How bad the network is, by probability per request.
struct SimFaults {
  double lost_request = 0;  // not applied, kUnknown
  double lost_answer = 0;   // applied, kUnknown
  double late = 0;          // kUnknown, applied within late_max
  double throttled = 0;     // not applied, kThrottled
  double conflict = 0;      // puts: not applied, kConflict
  double flipped = 0;       // gets: one bit is wrong, in one of four answers of a key at most
  Duration late_max{20'000};
  std::chrono::microseconds latency_min{1'000}, latency_max{20'000};
  bool down = false;  // everything is kUnknown and not applied
  static SimFaults some();
};

class SimStore final : public ObjectStore {
 public:
  SimStore(std::shared_ptr<SimMachine> machine, std::shared_ptr<MemoryBucket> bucket);
  ~SimStore() override;

  void put_if_absent(std::string key, Body body, Cause cause, PutDone done) override;
  void get(std::string key, ByteRange range, Cause cause, GetDone done) override;
  void list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
            ListDone done) override;
  void remove(std::vector<std::string> keys, Cause cause, RemoveDone done) override;
  void shutdown() override;
  std::string description() const override { return "sim://bucket"; }
  std::chrono::milliseconds linger_default() const override { return linger; }

  using Script = std::function<std::optional<SimFate>(const SimRequest&)>;

  SimFaults faults;
  std::chrono::milliseconds linger{0};
  // Decides before the faults do; nothing: as the faults say. Runs when the request is made.
  Script script;
  // Runs when a request reaches the bucket, before and after it is applied. It may call blocking
  // functions of other machines' engines.
  std::function<void(const SimRequest&)> before, after;

  uint64_t requests() const { return number_; }
  uint64_t count(Operation operation) const;  // as metered, all causes

 private:
  struct Shared;  // what outlives the store: requests that are applied later
  struct Outcome {
    StoreStatus status;
    GetResult got;
    ListResult listed;
  };
  using Apply = std::function<Outcome()>;
  using Finish = std::function<void(Outcome)>;
  void submit(Operation operation, std::string key, Cause cause, uint64_t put_bytes, Apply apply,
              Finish finish);
  SimFate fate_of(const SimRequest& request);
  void flip_a_bit(const std::string& key, std::vector<std::byte>& bytes);
  void arrive(const SimRequest& request, const SimFate& fate, uint64_t put_bytes,
              const Apply& apply, uint64_t id);

  const std::shared_ptr<SimMachine> machine_;
  const std::shared_ptr<MemoryBucket> bucket_;
  const std::shared_ptr<Shared> shared_;
  uint64_t number_ = 0;
  std::map<std::pair<Operation, std::string>, uint64_t> attempts_;
  std::map<std::string, int> right_;  // how many answers of a key are to be right now
};

// ------------------------------------------------------------------------------------------ view

// The rows of a view, which outlive the MemView that shows them: a machine's disk.
struct MemViewData {
  Mutex mutex;
  std::optional<ViewHead> head WP_GUARDED_BY(mutex);
  std::map<LogId, LogRow> logs WP_GUARDED_BY(mutex);
  std::map<std::string, LogId, std::less<>> names WP_GUARDED_BY(mutex);
  std::map<std::pair<LogId, Lsn>, RunRow> runs WP_GUARDED_BY(mutex);
  std::map<Epoch, EpochRow> epochs WP_GUARDED_BY(mutex);
  std::map<std::pair<Epoch, Seq>, SlotRow> slots WP_GUARDED_BY(mutex);
  Status broken WP_GUARDED_BY(mutex);      // what every change answers while it is an error
  Status unreadable WP_GUARDED_BY(mutex);  // what everything but reset() answers; reset() ends it
  uint64_t applied WP_GUARDED_BY(mutex) = 0;

  void trim(const LogRow& log) WP_REQUIRES(mutex);  // its runs wholly before its lsn_first
  void publish(const RunRow& run) WP_REQUIRES(mutex);
  // What of each object is in use.
  std::map<ObjectId, ObjectUse> uses() WP_REQUIRES(mutex);

  std::shared_ptr<MemViewData> copy();
  void set_broken(Status status);
  void set_unreadable(Status status);
  uint64_t times_applied();
};

// A View without a database, written from the words of engine/view.h alone.
class MemView final : public View {
 public:
  explicit MemView(std::shared_ptr<MemViewData> data) : data_(std::move(data)) {}

  Result<std::optional<ViewHead>> head() override;
  Status apply(const ViewDelta& delta) override;
  Status reset() override;
  Result<std::optional<LogRow>> log_by_name(std::string_view name) override;
  Result<std::optional<LogRow>> log_by_id(LogId id) override;
  Result<std::vector<LogRow>> logs(std::string_view after, size_t count_max) override;
  Result<std::vector<RunRow>> runs(LogId log, Lsn lsn, size_t count_max) override;
  Result<std::optional<RunRow>> run_at_time(LogId log, int64_t time_ms) override;
  Result<std::optional<EpochRow>> epoch(Epoch epoch) override;
  Result<std::vector<EpochRow>> epochs() override;
  Result<std::vector<SlotRow>> slots(Epoch epoch, Seq seq, size_t count_max) override;
  Result<std::vector<ObjectUse>> objects(Epoch epoch, Seq seq, size_t count_max) override;
  Result<std::vector<SlotRow>> unused(Epoch epoch, Seq seq, size_t count_max) override;
  Result<std::vector<SlotRow>> dead(uint64_t dead_max, size_t count_max) override;
  Result<std::vector<RunRow>> runs_in(const ObjectId& object, LogId log, Lsn lsn,
                                      size_t count_max) override;
  Result<std::vector<LogRow>> logs_with_settings(LogId after, size_t count_max) override;
  Status close() override { return {}; }
  std::string path() const override { return ""; }

 private:
  const std::shared_ptr<MemViewData> data_;
};

// ------------------------------------------------------------------------------------------ site

// One engine with its machine and its store.
struct Site {
  std::shared_ptr<SimMachine> machine;
  std::shared_ptr<SimStore> store;
  std::shared_ptr<Engine> engine;
  Status status;  // of the opening

  Engine* operator->() const { return engine.get(); }
  bool ok() const { return engine != nullptr; }
};

// A bucket, and openings of it. `prepare` sees the store before the engine does.
class SimWorld {
 public:
  explicit SimWorld(uint64_t seed) : sim(seed), bucket(std::make_shared<MemoryBucket>()) {}

  using Prepare = std::function<void(SimStore&)>;
  // The parts on a new machine, without the engine.
  Site site(const std::string& name, const Prepare& prepare = {}, Duration wall_offset = {});
  // Opens the engine there. `view`: the machine's disk; a new one if null.
  void open(Site& site, const Options& options = {}, std::shared_ptr<MemViewData> view = nullptr);
  Site open(const std::string& name, const Options& options = {},
            std::shared_ptr<MemViewData> view = nullptr, const Prepare& prepare = {});

  SimRuntime sim;
  std::shared_ptr<MemoryBucket> bucket;
};

}  // namespace wp

#endif  // WP_TESTS_SIM_STORE_H_
