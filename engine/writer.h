// The write path: entries gather in the open batch; closed batches stand in line, are compressed
// side by side, stored up to a window at once, and acknowledged from the front. A batch that is
// closed has its slot for good, and its body never changes between tries.
//
// Any thread may move the line on (pump): who appends durably does so itself, so that a lone append
// passes through no thread but the store's. Compressing and storing happen with no lock held.
#ifndef WP_ENGINE_WRITER_H_
#define WP_ENGINE_WRITER_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/batch.h"
#include "engine/core.h"

namespace wp {

class Writer {
 public:
  explicit Writer(EngineCore& core);

  // The slots from `first` on are ours, behind `prev`.
  void start(const SlotId& first, const Position& prev);

  // One entry, or all of a batch in one fragment with consecutive LSNs; returns the first. Durable:
  // waits for that. Otherwise `done` may be given, for the last of them.
  Result<Lsn> append(const LogStatePtr& log, std::span<const Bytes> payloads,
                     const AppendOptions& options, bool durable, Done done);
  Status flush(std::optional<Duration> timeout);
  Status truncate(const LogStatePtr& log, Lsn upto);
  Status drop(const LogStatePtr& log);
  // Stores one record of the log, durably on return; the log's creation before it if need be. With
  // the engine's lock held, which is free while it waits.
  Status store(MutexLock& lock, Record change, const LogStatePtr& log)
      WP_TSA(no_thread_safety_analysis);
  // Why nothing can be recorded of the log; with the engine's lock held.
  Status refusal(const LogState& log) WP_TSA(no_thread_safety_analysis);
  // Records that belong to no log, or to several: they ride along as entries of append_async do,
  // and `done` is told as theirs. Without records: an empty fragment.
  using Change = std::pair<Record, LogStatePtr>;  // the log, where it is one's
  void submit(std::vector<Change> changes, Done done);
  // Truncations by retention, of logs that are still as they were when that was judged; `done` is
  // told how many entries went.
  struct Expiry {
    LogStatePtr log;
    LogRow judged;
    Lsn keep_from = 0;
    uint64_t bytes_begin = 0;
  };
  void expire(std::vector<Expiry> expiries, Done done);
  // What was said about cursors goes now.
  void send_commits();
  // The next number for a segment of our own.
  SlotId next_segment();
  // A log that is new, and not yet in any batch: the next flush stores that it exists.
  void created(const LogStatePtr& log);

  // Refuses appends from now on, stores all there is and the record that says so. What was not
  // stored by the deadline is told and forgotten.
  Status close(TimePoint deadline);
  // Everyone who waits is told, and whoever calls later too.
  void fail(const Status& status);
  // Waits until the callbacks ran of all that was acknowledged or refused so far.
  void drain_callbacks();
  // Runs what is left of them, here. Only when the runtime has stopped.
  void run_callbacks_left();

  // Why nothing can be appended; ok: it can.
  Status failure() const;
  void fill(Stats& stats) const;

 private:
  using BatchPtr = std::shared_ptr<Batch>;
  // What is to be done with no lock held.
  struct Work {
    std::vector<BatchPtr> seal_here, seal_elsewhere, put, check;
    bool acknowledged = false;
    bool empty() const {
      return seal_here.empty() && seal_elsewhere.empty() && put.empty() && check.empty() &&
             !acknowledged;
    }
  };

  // Callbacks of one batch, and what they are to be told.
  struct Told {
    std::vector<std::pair<Done, Lsn>> dones;
    RamUse dones_use;
    Status status;
  };

  bool has_room(uint64_t bytes) WP_REQUIRES(core_.mutex);
  Status wait_for_room(MutexLock& lock, const LogState& log, uint64_t bytes, AtLimit at_limit,
                       TimePoint deadline) WP_REQUIRES(core_.mutex);
  void gather_entry(LogState& log, const LogStatePtr& hold, Bytes properties, Bytes payload,
                    int64_t wall_ms) WP_REQUIRES(core_.mutex);
  void add_done(Done done, Lsn lsn) WP_REQUIRES(core_.mutex);
  void begin_batch_if_empty() WP_REQUIRES(core_.mutex);
  void record(Record record, const LogStatePtr& log) WP_REQUIRES(core_.mutex);
  void record_created() WP_REQUIRES(core_.mutex);
  void record_commits() WP_REQUIRES(core_.mutex);
  void record_log(const LogStatePtr& log) WP_REQUIRES(core_.mutex);
  // Something was put into a batch that was empty: when it goes. True: post_pump() with no lock.
  bool begin_linger() WP_REQUIRES(core_.mutex);
  // With some changes made, or none.
  void tell_later(MutexLock& lock, bool first, Done done, Lsn told) WP_REQUIRES(core_.mutex);
  void close_open() WP_REQUIRES(core_.mutex);
  bool want_post() WP_REQUIRES(core_.mutex);
  Status wait_for(MutexLock& lock, const BatchPtr& batch, TimePoint deadline)
      WP_REQUIRES(core_.mutex);
  Status timeout_status() WP_REQUIRES(core_.mutex);
  TimePoint deadline_of(std::optional<Duration> timeout);
  Status record_and_wait(MutexLock& lock, Record record, const LogStatePtr& log)
      WP_REQUIRES(core_.mutex);
  uint64_t chunk_bytes() const;
  void count_gathering() WP_REQUIRES(core_.mutex);

  void pump(int passes);
  void post_pump();
  void pump_at(TimePoint when) WP_REQUIRES(core_.mutex);
  void plan(Work& work) WP_REQUIRES(core_.mutex);
  void close_open_if_due() WP_REQUIRES(core_.mutex);
  void plan_seals(Work& work) WP_REQUIRES(core_.mutex);
  void finalize() WP_REQUIRES(core_.mutex);
  void plan_puts(Work& work) WP_REQUIRES(core_.mutex);
  bool may_put_now(TimePoint now) WP_REQUIRES(core_.mutex);
  void acknowledge(Work& work) WP_REQUIRES(core_.mutex);
  void finish(Batch& batch, const Status& status) WP_REQUIRES(core_.mutex);
  void fail_locked(const Status& entries, const Status& sticky) WP_REQUIRES(core_.mutex);

  void do_work(Work& work);
  void seal_batch(const BatchPtr& batch);
  void put(const BatchPtr& batch);
  void put_done(const BatchPtr& batch, const StoreStatus& status);
  void check(const BatchPtr& batch);
  void check_done(const BatchPtr& batch, const GetResult& result);
  void retry_later(Batch& batch, Batch::State state, const StoreStatus& status)
      WP_REQUIRES(core_.mutex);
  void deliver();

  EngineCore& core_;

  BatchPtr open_ WP_GUARDED_BY(core_.mutex);
  std::deque<BatchPtr> line_ WP_GUARDED_BY(core_.mutex);
  uint64_t batch_next_ WP_GUARDED_BY(core_.mutex) = 2;
  SlotId slot_next_ WP_GUARDED_BY(core_.mutex);
  Seq segment_next_ WP_GUARDED_BY(core_.mutex) = kSegmentFirst;
  Position chain_ WP_GUARDED_BY(core_.mutex);         // the last slot whose header is made
  uint32_t unfilled_ WP_GUARDED_BY(core_.mutex) = 0;  // batches in line that were not full
  uint32_t sealing_ WP_GUARDED_BY(core_.mutex) = 0;
  std::map<LogId, std::weak_ptr<LogState>> uncreated_ WP_GUARDED_BY(core_.mutex);

  bool pumping_ WP_GUARDED_BY(core_.mutex) = false;
  bool pump_again_ WP_GUARDED_BY(core_.mutex) = false;
  bool pump_posted_ WP_GUARDED_BY(core_.mutex) = false;
  TimerId linger_timer_ WP_GUARDED_BY(core_.mutex) = 0;
  TimerId pump_timer_ WP_GUARDED_BY(core_.mutex) = 0;
  TimePoint pump_timer_at_ WP_GUARDED_BY(core_.mutex) = kNever;
  TimePoint put_next_ WP_GUARDED_BY(core_.mutex){};  // by the budget of PUTs

  bool closing_ WP_GUARDED_BY(core_.mutex) = false;
  Status failed_ WP_GUARDED_BY(core_.mutex);
  StoreStatus last_answer_ WP_GUARDED_BY(core_.mutex);
  uint32_t waiting_for_room_ WP_GUARDED_BY(core_.mutex) = 0;
  CondVar room_;

  std::deque<Told> callbacks_ WP_GUARDED_BY(core_.mutex);  // as many as made, less those run
  uint64_t callbacks_made_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t callbacks_run_ WP_GUARDED_BY(core_.mutex) = 0;
  bool delivering_ WP_GUARDED_BY(core_.mutex) = false;
  CondVar delivered_;

  uint64_t entries_appended_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t bytes_appended_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t entries_durable_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t bytes_durable_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t fragments_stored_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t fragment_bytes_stored_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t backlog_entries_ WP_GUARDED_BY(core_.mutex) = 0;
  uint64_t backlog_bytes_ WP_GUARDED_BY(core_.mutex) = 0;
  Histogram flush_latency_ WP_GUARDED_BY(core_.mutex);
  uint64_t retries_ WP_GUARDED_BY(core_.mutex) = 0;
  RetryCounts retries_by_cause_ WP_GUARDED_BY(core_.mutex);
};

}  // namespace wp

#endif  // WP_ENGINE_WRITER_H_
