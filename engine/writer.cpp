#include "engine/writer.h"

#include <algorithm>
#include <cstring>

#include "engine/bug.h"
#include "engine/cursors.h"
#include "engine/status.h"
#include "engine/view_keeper.h"

namespace wp {
namespace {

// Fewer bytes than this are compressed where they are: handing them to a worker would take longer.
constexpr uint64_t kSealHereBytes = 32u << 10;
// What compresses at once. More would only lie in RAM twice.
constexpr uint32_t kSealingMax = 4;
// So often a slot that is taken is read before what lies there is believed to be garbage.
constexpr uint32_t kUnreadableTries = 5;
constexpr size_t kDonesFirst = 16;
// How far a thread that did not come for it moves the line on.
constexpr int kPassesOfGuests = 6;
constexpr int kPassesOfEventThread = 64;

constexpr std::chrono::milliseconds kRetryFirst{50}, kRetryMax{30'000};
// How long closing waits for what nobody would miss.
constexpr std::chrono::seconds kCourtesy{1};

uint64_t& count_of(RetryCounts& counts, Answer failed_with) {
  switch (failed_with) {
    case Answer::kThrottled:
      return counts.throttled;
    case Answer::kUnknown:
      return counts.unknown;
    case Answer::kConflict:
      return counts.conflict;
    case Answer::kDenied:
      return counts.denied;
    case Answer::kNoSpace:
      return counts.no_space;
    default:
      return counts.other;
  }
}

}  // namespace

Writer::Writer(EngineCore& core) : core_(core), open_(std::make_shared<Batch>(1)) {}

void Writer::start(const SlotId& first, const Position& prev) {
  MutexLock lock(core_.mutex);
  slot_next_ = first;
  chain_ = prev;
}

// ------------------------------------------------------------------------------------ gathering

TimePoint Writer::deadline_of(std::optional<Duration> timeout) {
  if (!timeout) return kNever;
  const TimePoint now = core_.runtime->now();
  return *timeout > std::chrono::hours{24 * 365 * 100} ? kNever : now + *timeout;
}

Status Writer::refusal(const LogState& log) {
  if (!failed_.ok()) return failed_;
  if (closing_) return Status(Code::kClosed, "append to " + core_.url + ": it was closed; reopen");
  if (log.dropping) {
    return Status(Code::kDropped,
                  "append to " + log.name + ": the log was dropped; ask for it by name again");
  }
  return {};
}

uint64_t Writer::chunk_bytes() const {
  return std::min<uint64_t>(core_.options.block_bytes, core_.options.fragment_bytes_max);
}

bool Writer::has_room(uint64_t bytes) {
  if (!open_->chunks.empty()) {
    const Block& chunk = *open_->chunks.back();
    if (chunk.capacity - chunk.size >= bytes) return true;
  }
  // What is alone may be of any size: nothing would ever make more room for it.
  if (line_.empty() && open_->empty()) return true;
  const uint64_t used =
      core_.ram.of(Ram::kGathering) + core_.ram.of(Ram::kUploading) + core_.ram.of(Ram::kIndex);
  return used + std::max<uint64_t>(bytes, chunk_bytes()) <= core_.ram.writing_max();
}

WP_TSA(no_thread_safety_analysis)  // the caller's lock is given back and taken again
Status Writer::wait_for_room(MutexLock& lock, const LogState& log, uint64_t bytes, AtLimit at_limit,
                             TimePoint deadline) {
  if (at_limit == AtLimit::kDefault) at_limit = core_.options.at_limit;
  while (!has_room(bytes)) {
    const bool may_not = at_limit == AtLimit::kBusy || core_.runtime->on_event_thread();
    if (may_not || (deadline != kNever && core_.runtime->now() >= deadline)) {
      std::string why = last_answer_.ok() ? "" : " (" + last_answer_.message + ")";
      return Status(Code::kBusy, "append to " + log.name +
                                     ": the store does not keep up, and ram_bytes_max is used up" +
                                     why + "; try again, or raise it");
    }
    // What fills RAM must be on its way out.
    open_->wanted = true;
    if (unfilled_ == 0) {
      lock.unlock();
      pump(kPassesOfGuests);
      lock.lock();
      if (Status status = refusal(log); !status.ok()) return status;
      if (has_room(bytes)) break;
    }
    ++waiting_for_room_;
    core_.runtime->wait(lock, room_, deadline);
    --waiting_for_room_;
    if (Status status = refusal(log); !status.ok()) return status;
  }
  return {};
}

void Writer::begin_batch_if_empty() {
  if (!open_->empty()) return;
  open_->oldest = core_.runtime->now();
  open_->time_base_ms = core_.runtime->wall_ms();
}

void Writer::gather_entry(LogState& log, const LogStatePtr& hold, Bytes properties, Bytes payload,
                          int64_t wall_ms) {
  Batch& batch = *open_;
  if (log.batch != batch.number) {
    record_log(hold);
    log.batch = batch.number;
    log.batch_run = static_cast<uint32_t>(batch.runs.size());
    batch.runs.push_back({hold, log.lsn_given + 1, 0, 0, 0, 0});
  }
  BatchRun& run = batch.runs[log.batch_run];
  const int64_t time = std::max(log.time_given_ms, wall_ms);
  if (run.count == 0) run.time_first_ms = time;
  run.time_last_ms = log.time_given_ms = time;
  ++run.count;
  run.bytes += payload.size() + properties.size();
  ++log.lsn_given;
  ++batch.entries;

  const size_t most = payload.size() + properties.size() + kEntryOverheadBytesMax;
  if (batch.chunks.empty() || batch.chunks.back()->capacity - batch.chunks.back()->size < most) {
    batch.chunks.push_back(
        std::make_shared<Block>(std::max(core_.blocks->usual_bytes(), most), *core_.blocks));
    batch.chunk_bytes += batch.chunks.back()->capacity;
  }
  Block& chunk = *batch.chunks.back();
  std::byte* const at = chunk.data.get() + chunk.size;
  const auto bytes =
      static_cast<uint32_t>(store_entry(at, time - batch.time_base_ms, properties, payload) - at);
  const auto chunk_number = static_cast<uint32_t>(batch.chunks.size() - 1);
  if (batch.spans.empty() || batch.spans.back().run != log.batch_run ||
      batch.spans.back().chunk != chunk_number) {
    batch.spans.push_back(
        {log.batch_run, chunk_number, static_cast<uint32_t>(chunk.size), 0, 0, 0});
  }
  BatchSpan& span = batch.spans.back();
  span.bytes += bytes;
  ++span.count;
  span.time_last_ms = time;
  chunk.size += bytes;
  batch.bytes += bytes;
}

// The chunks, and what is kept beside them: of small entries that may be more.
void Writer::count_gathering() {
  Batch& batch = *open_;
  const uint64_t bytes = batch.chunk_bytes + batch.spans.capacity() * sizeof(BatchSpan) +
                         batch.runs.capacity() * sizeof(BatchRun);
  if (bytes == batch.gathering_bytes) return;
  core_.ram.add(Ram::kGathering, bytes - batch.gathering_bytes);
  batch.gathering_bytes = bytes;
}

void Writer::add_done(Done done, Lsn lsn) {
  auto& dones = open_->dones;
  if (dones.size() == dones.capacity()) {
    dones.reserve(std::max(kDonesFirst, dones.size() * 2));
    open_->dones_use = RamUse(core_.ram, Ram::kGathering, dones.capacity() * sizeof(dones.front()));
  }
  dones.emplace_back(std::move(done), lsn);
}

Result<Lsn> Writer::append(const LogStatePtr& log, std::span<const Bytes> payloads,
                           const AppendOptions& options, bool durable, Done done) {
  Bytes properties = encoded_properties(options.properties);
  uint64_t bytes = 0;  // as the limit counts them
  uint64_t each = 0;
  for (const Property& property : options.properties) {
    each += property.key.size() + property.value.size();
  }
  for (const Bytes& payload : payloads) bytes += payload.size() + each;
  if (bytes > core_.options.entry_bytes_max) {
    return too_large("append to " + log->name, bytes, core_.options.entry_bytes_max,
                     "raise entry_bytes_max, or split it");
  }
  const uint64_t encoded =
      bytes + payloads.size() * (properties.size() - each + kEntryOverheadBytesMax);
  if (encoded > core_.options.ram_bytes_max / 2) {
    return too_large("append to " + log->name, bytes, core_.options.ram_bytes_max / 2,
                     "raise ram_bytes_max, or split it");
  }

  const TimePoint deadline = options.timeout ? deadline_of(options.timeout) : kNever;
  MutexLock lock(core_.mutex);
  if (Status status = refusal(*log); !status.ok()) return status;
  if (!has_room(encoded)) {
    Status status = wait_for_room(lock, *log, encoded, options.at_limit, deadline);
    if (!status.ok()) return status;
    // A simulated wait runs others on this thread, which may have appended as well.
    properties = encoded_properties(options.properties);
  }
  const bool first = open_->empty();
  begin_batch_if_empty();
  const int64_t wall_ms = first ? open_->time_base_ms : core_.runtime->wall_ms();
  const Lsn lsn = log->lsn_given + 1;
  for (const Bytes& payload : payloads) {
    gather_entry(*log, log, properties, payload, wall_ms);
    if (WP_BUG(25) && &payload != &payloads.back()) close_open(), begin_batch_if_empty();
  }
  if (!properties.empty()) open_->has_properties = true;
  // As runs count them, so that what is appended and what becomes durable can be compared.
  const uint64_t stored = bytes + payloads.size() * (properties.size() - each);
  entries_appended_ += payloads.size();
  bytes_appended_ += stored;
  backlog_entries_ += payloads.size();
  backlog_bytes_ += stored;

  if (done) add_done(std::move(done), log->lsn_given);
  const BatchPtr waited_for = durable ? open_ : nullptr;
  if (durable) open_->wanted = true;
  count_gathering();
  const bool full = open_->bytes >= core_.options.fragment_bytes_max;
  bool post = false;
  if (full) {
    open_->full = true;
    close_open();
    post = !durable && want_post();
  } else if (first && !durable) {
    post = begin_linger();
  }
  lock.unlock();
  if (post) post_pump();
  if (!durable) return lsn;
  pump(kPassesOfGuests);
  lock.lock();
  Status status = wait_for(lock, waited_for, deadline);
  if (!status.ok()) return status;
  return lsn;
}

bool Writer::begin_linger() {
  if (core_.options.linger == Duration{0}) return unfilled_ == 0 && want_post();
  linger_timer_ = core_.runtime->call_at(open_->oldest + core_.options.linger,
                                         [this] { pump(kPassesOfEventThread); });
  return false;
}

void Writer::record_log(const LogStatePtr& log) {
  if (log->recorded) return;
  record({RecordType::kCreate, log->id, log->name, 0, 0}, log);
  uncreated_.erase(log->id);
  log->recorded = true;
}

// -------------------------------------------------------------------------------------- recording

void Writer::record(Record record, const LogStatePtr& log) {
  begin_batch_if_empty();
  open_->records.push_back(std::move(record));
  open_->record_logs.push_back(log);
}

void Writer::created(const LogStatePtr& log) {
  MutexLock lock(core_.mutex);
  if (!log->recorded) uncreated_[log->id] = log;
}

void Writer::record_created() {
  for (const auto& [id, weak] : uncreated_) {
    const LogStatePtr log = weak.lock();
    if (log == nullptr || log->recorded || log->dropping) continue;
    record({RecordType::kCreate, log->id, log->name, 0, 0}, log);
    log->recorded = true;
  }
  uncreated_.clear();
}

void Writer::record_commits() {
  for (auto& [change, log] : core_.cursors->take()) record(std::move(change), log);
}

void Writer::send_commits() {
  {
    MutexLock lock(core_.mutex);
    if (!failed_.ok() || closing_) return;
    record_commits();
    if (open_->empty()) return;
    open_->wanted = true;
  }
  pump(kPassesOfEventThread);
}

void Writer::submit(std::vector<Change> changes, Done done) {
  MutexLock lock(core_.mutex);
  if (!failed_.ok() || closing_) {
    const Status why = failed_.ok() ? Status(Code::kClosed, core_.url + " was closed") : failed_;
    lock.unlock();
    return done(why);
  }
  const bool first = open_->empty();
  for (auto& [change, log] : changes) {
    if (log == nullptr || !log->dropping) record(std::move(change), log);
  }
  if (changes.empty()) {
    begin_batch_if_empty();
    open_->forced = true;
  }
  tell_later(lock, first, std::move(done), 0);
}

WP_TSA(no_thread_safety_analysis)  // the caller's lock is given back
void Writer::tell_later(MutexLock& lock, bool first, Done done, Lsn told) {
  const bool later = !open_->empty();
  bool post = false;
  if (later) {
    if (first) post = begin_linger();
    add_done(std::move(done), told);
    count_gathering();
  }
  lock.unlock();
  if (!later) done(told);
  if (post) post_pump();
}

namespace {

// What holds entries may have grown since: a cursor that is new, or went back.
bool holds_more(const LogState& log, const LogRow& judged) {
  if (log.retains_in_flight != 0 || !(log.row.settings == judged.settings)) return true;
  for (const auto& each : log.said) {
    const SaidCursor& said = each.second;
    const auto& rows = judged.settings.cursors;
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const CursorRow& known) { return known.name == each.first; });
    if (row == rows.end() || said.dropped || said.committed < row->committed) return true;
  }
  return false;
}

}  // namespace

void Writer::expire(std::vector<Expiry> expiries, Done done) {
  MutexLock lock(core_.mutex);
  const bool first = open_->empty();
  Lsn entries = 0;
  for (Expiry& expiry : expiries) {
    const LogState& log = *expiry.log;
    if (!refusal(log).ok() || holds_more(log, expiry.judged))
      continue;  // the next pass judges anew
    if (log.row.lsn_first != expiry.judged.lsn_first) continue;
    entries += expiry.keep_from - log.row.lsn_first;
    record({RecordType::kTruncate, log.id, "", expiry.keep_from, expiry.bytes_begin}, expiry.log);
  }
  tell_later(lock, first, std::move(done), entries);
}

SlotId Writer::next_segment() {
  MutexLock lock(core_.mutex);
  return {slot_next_.epoch, slot_next_.owner, segment_next_++};
}

void Writer::close_open() {
  record_commits();
  Batch& batch = *open_;
  if (linger_timer_ != 0) core_.runtime->cancel(linger_timer_);
  linger_timer_ = 0;
  batch.state = Batch::State::kClosed;
  batch.closed_at = core_.runtime->now();
  batch.header.kind = SlotKind::kFragment;
  batch.header.root = core_.root.id;
  batch.header.slot = slot_next_;
  batch.header.author = slot_next_.owner;
  ++slot_next_.seq;
  if (!batch.full) ++unfilled_;
  line_.push_back(std::move(open_));
  open_ = std::make_shared<Batch>(batch_next_++);
}

// ---------------------------------------------------------------------------------------- waiting

Status Writer::timeout_status() {
  const std::string what = "wait for " + core_.url + ": not stored in time";
  const std::string why = last_answer_.ok() ? "" : " (" + last_answer_.message + ")";
  if (last_answer_.answer == Answer::kDenied) {
    return Status(Code::kDenied, what + why +
                                     "; mend the credentials or the permission: what is "
                                     "pending is kept and tried again");
  }
  if (last_answer_.answer == Answer::kNoSpace) {
    return Status(Code::kNoSpace,
                  what + why + "; free space: what is pending is kept and tried again");
  }
  return Status(Code::kTimeout, what + why + "; it may still become durable: look, or wait again");
}

Status Writer::wait_for(MutexLock& lock, const BatchPtr& batch, TimePoint deadline) {
  while (!batch->finished) {
    core_.runtime->wait(lock, batch->changed, deadline);
    if (!batch->finished && deadline != kNever && core_.runtime->now() >= deadline) {
      return timeout_status();
    }
  }
  return batch->status;
}

Status Writer::flush(std::optional<Duration> timeout) {
  const TimePoint deadline = deadline_of(timeout);
  MutexLock lock(core_.mutex);
  if (!failed_.ok()) return failed_;
  if (closing_) return Status(Code::kClosed, "flush " + core_.url + ": it was closed; reopen");
  record_created();
  record_commits();
  BatchPtr batch;
  if (!open_->empty()) {
    open_->wanted = true;
    batch = open_;
  } else if (!line_.empty() && !WP_BUG(29)) {
    batch = line_.back();
  } else {
    return {};
  }
  lock.unlock();
  pump(kPassesOfGuests);
  lock.lock();
  return wait_for(lock, batch, deadline);
}

WP_TSA(no_thread_safety_analysis)  // the caller's lock is given back and taken again
Status Writer::record_and_wait(MutexLock& lock, Record change, const LogStatePtr& log) {
  record(std::move(change), log);
  open_->wanted = true;
  const BatchPtr batch = open_;
  lock.unlock();
  pump(kPassesOfGuests);
  lock.lock();
  return wait_for(lock, batch, kNever);
}

Status Writer::store(MutexLock& lock, Record change, const LogStatePtr& log) {
  if (Status status = refusal(*log); !status.ok()) return status;
  record_log(log);
  if (change.type == RecordType::kRetain) ++log->retains_in_flight;
  return record_and_wait(lock, std::move(change), log);
}

Status Writer::truncate(const LogStatePtr& log, Lsn upto) {
  Record change{RecordType::kTruncate, log->id, "", WP_BUG(18) ? upto + 2 : upto + 1, 0};
  bool stored = false;
  {
    MutexLock lock(core_.mutex);
    if (Status status = refusal(*log); !status.ok()) return status;
    if (upto == 0 || upto > log->lsn_given) {
      return Status(Code::kInvalid, "truncate " + log->name + " up to LSN " + std::to_string(upto) +
                                        ": it has LSNs from 1 to " +
                                        std::to_string(log->lsn_given));
    }
    if (upto < log->row.lsn_first) return {};
    stored = upto < log->row.lsn_next;
  }
  if (!stored) {  // what is not there cannot go
    if (Status status = flush({}); !status.ok()) return status;
  }
  {
    MutexLock lock(core_.mutex);
    if (upto + 1 == log->row.lsn_next) change.bytes_begin = log->row.bytes_end;
  }
  if (change.bytes_begin == 0) {
    const auto runs = core_.runs_from(*log, upto + 1, 1);
    if (!runs) return runs.status();
    if (!runs->empty()) change.bytes_begin = runs->front().bytes_begin;
  }
  MutexLock lock(core_.mutex);
  if (Status status = refusal(*log); !status.ok()) return status;  // it may be dropped by now
  return record_and_wait(lock, std::move(change), log);
}

// In one go: whoever takes the name from then on comes behind it in the journal.
Status Writer::drop(const LogStatePtr& log) {
  MutexLock lock(core_.mutex);
  if (Status status = refusal(*log); !status.ok()) return status;
  log->dropping = true;
  core_.ledger.unname(log, !log->recorded);
  if (!log->recorded) {
    log->dropped = true;
    log->news.notify_all();
    return {};
  }
  return record_and_wait(lock, {RecordType::kDrop, log->id, "", 0, 0}, log);
}

// --------------------------------------------------------------------------------------- the line

bool Writer::want_post() {
  if (pump_posted_) return false;
  return pump_posted_ = true;
}

void Writer::post_pump() {
  core_.runtime->post([this] {
    {
      MutexLock lock(core_.mutex);
      pump_posted_ = false;
    }
    pump(kPassesOfEventThread);
  });
}

void Writer::pump_at(TimePoint when) {
  if (when >= pump_timer_at_) return;
  if (pump_timer_ != 0) core_.runtime->cancel(pump_timer_);
  pump_timer_at_ = when;
  pump_timer_ = core_.runtime->call_at(when, [this] {
    {
      MutexLock lock(core_.mutex);
      pump_timer_ = 0;
      pump_timer_at_ = kNever;
    }
    pump(kPassesOfEventThread);
  });
}

void Writer::pump(int passes) {
  bool post = false;
  for (;; --passes) {
    Work work;
    {
      MutexLock lock(core_.mutex);
      if (pumping_) {
        pump_again_ = true;
        return;
      }
      if (passes == 0) {
        post = want_post();
        break;
      }
      pumping_ = true;
      pump_again_ = false;
      plan(work);
    }
    do_work(work);
    MutexLock lock(core_.mutex);
    pumping_ = false;
    if (work.empty() && !pump_again_) break;
  }
  if (post) post_pump();
}

void Writer::plan(Work& work) {
  if (!failed_.ok()) return;
  acknowledge(work);
  if (!failed_.ok()) return;
  close_open_if_due();
  plan_seals(work);
  finalize();
  plan_puts(work);
}

void Writer::close_open_if_due() {
  if (open_->empty() || unfilled_ != 0 || line_.size() >= core_.options.puts_in_flight_max) return;
  const bool due = open_->wanted || core_.options.linger == Duration{0} ||
                   core_.runtime->now() >= open_->oldest + core_.options.linger;
  if (due) close_open();
}

void Writer::plan_seals(Work& work) {
  const size_t most = std::min<size_t>(line_.size(), core_.options.puts_in_flight_max + 2u);
  for (size_t i = 0; i < most && sealing_ < kSealingMax; ++i) {
    const BatchPtr& batch = line_[i];
    if (batch->state != Batch::State::kClosed) continue;
    batch->state = Batch::State::kSealing;
    ++sealing_;
    batch->uploading = RamUse(core_.ram, Ram::kUploading, batch->bytes);
    (batch->bytes <= kSealHereBytes ? work.seal_here : work.seal_elsewhere).push_back(batch);
  }
}

// Makes the headers, in order: each holds the digest of the one before.
void Writer::finalize() {
  for (const BatchPtr& batch : line_) {
    if (batch->state == Batch::State::kClosed || batch->state == Batch::State::kSealing) return;
    if (batch->state != Batch::State::kSealed) continue;
    SlotHeader& header = batch->header;
    header.prev = chain_;
    encode_header(header, batch->body->data());
    batch->digest = header_digest(header, *batch->body);
    chain_ = {header.slot, batch->digest};
    batch->state = Batch::State::kReady;
    auto index = std::make_shared<FragmentIndex>(FragmentIndex{header, batch->index});
    const SlotId& slot = header.slot;
    core_.cache.put(slot.epoch, slot.seq, std::move(index));
    for (uint32_t i = 0; i < batch->blocks.size(); ++i) {
      core_.cache.put(slot.epoch, slot.seq, i, std::move(batch->blocks[i]));
    }
    batch->blocks.clear();
  }
}

bool Writer::may_put_now(TimePoint now) {
  const double rate = core_.options.puts_per_second_max;
  if (rate <= 0) return true;
  if (now < put_next_) {
    pump_at(put_next_);
    return false;
  }
  put_next_ = now + std::chrono::duration_cast<std::chrono::nanoseconds>(
                        std::chrono::duration<double>(1 / rate));
  return true;
}

void Writer::plan_puts(Work& work) {
  const TimePoint now = core_.runtime->now();
  const size_t window = std::min<size_t>(line_.size(), core_.options.puts_in_flight_max);
  TimePoint next = kNever;
  for (size_t i = 0; i < window; ++i) {
    const BatchPtr& batch = line_[i];
    // Nothing behind a slot that is another's will ever be ours.
    const auto state = batch->state;
    if (state == Batch::State::kForeign || state == Batch::State::kGone ||
        state == Batch::State::kUnreadable) {
      break;
    }
    if (batch->state != Batch::State::kReady && batch->state != Batch::State::kExists) continue;
    if (batch->retry_at > now) {
      next = std::min(next, batch->retry_at);
      continue;
    }
    if (batch->state == Batch::State::kExists) {
      batch->state = Batch::State::kChecking;
      work.check.push_back(batch);
      continue;
    }
    if (!may_put_now(now)) break;
    batch->state = Batch::State::kPutting;
    if (batch->tries++ != 0) {
      ++retries_;
      ++count_of(retries_by_cause_, batch->failed_with);
    }
    work.put.push_back(batch);
  }
  if (next != kNever) pump_at(next);
}

void Writer::acknowledge(Work& work) {
  while (!line_.empty()) {
    Batch& batch = *line_.front();
    if (batch.state == Batch::State::kForeign) {
      const Status fenced(Code::kFenced,
                          "append to " + core_.url + ": slot " + slot_key(batch.header.slot) +
                              " is another's; another opener took the root over: find out who, "
                              "then reopen");
      return fail_locked(WP_BUG(27) ? Status() : fenced, fenced);
    }
    if (batch.state == Batch::State::kUnreadable) {
      const Status unreadable(Code::kCorrupt,
                              "append to " + core_.url + ": what lies at slot " +
                                  slot_key(batch.header.slot) +
                                  " is no slot, so whether ours was stored cannot be known; see "
                                  "docs/OPERATIONS.md, then reopen");
      return fail_locked(unreadable, unreadable);
    }
    if (batch.state == Batch::State::kGone) {
      const std::string what = "append to " + core_.url + ": another opener took the root over";
      return fail_locked(
          Status(Code::kUnavailable, what + " and reclaimed slot " + slot_key(batch.header.slot) +
                                         ", which may have been ours; reopen and look"),
          Status(Code::kFenced, what + "; reopen"));
    }
    const bool early = WP_BUG(7) && batch.state == Batch::State::kPutting;
    if (early) (void)core_.ledger.apply(batch.header, batch.digest, batch.index);
    if (batch.state != Batch::State::kStored) return;
    const bool known = WP_BUG(7) && core_.ledger.head().last.slot == batch.header.slot;
    const Status applied =
        known ? Status() : core_.ledger.apply(batch.header, batch.digest, batch.index);
    if (!applied.ok()) {
      const Status broken(Code::kInternal, "acknowledge slot " + slot_key(batch.header.slot) +
                                               ": " + applied.message() +
                                               "; a bug in wp, please report it");
      return fail_locked(broken, broken);
    }
    entries_durable_ += batch.entries;
    for (const BatchRun& run : batch.runs) bytes_durable_ += run.bytes;
    ++fragments_stored_;
    fragment_bytes_stored_ += batch.header.object_bytes();
    flush_latency_.add(core_.runtime->now() - batch.closed_at);
    finish(batch, {});
    line_.pop_front();
    work.acknowledged = true;
  }
}

void Writer::finish(Batch& batch, const Status& status) {
  if (!batch.full && batch.state != Batch::State::kGathering) --unfilled_;
  core_.ram.sub(Ram::kGathering, batch.gathering_bytes);
  batch.gathering_bytes = 0;
  batch.uploading.release();
  backlog_entries_ -= batch.entries;
  for (const BatchRun& run : batch.runs) backlog_bytes_ -= run.bytes;
  batch.finished = true;
  batch.status = status;
  batch.changed.notify_all();
  if (!batch.dones.empty()) {
    callbacks_.push_back({std::move(batch.dones), std::move(batch.dones_use), status});
    batch.dones.clear();
    ++callbacks_made_;
  }
  if (waiting_for_room_ != 0) room_.notify_all();
  if (callbacks_.empty() || delivering_) return;
  delivering_ = true;
  core_.runtime->post([this] { deliver(); });
}

void Writer::fail_locked(const Status& entries, const Status& sticky) {
  if (!failed_.ok()) return;
  failed_ = sticky;
  for (const BatchPtr& batch : line_) finish(*batch, entries);
  line_.clear();
  finish(*open_, entries);
  open_ = std::make_shared<Batch>(batch_next_++);
  core_.cursors->forget();
  if (linger_timer_ != 0) core_.runtime->cancel(linger_timer_);
  linger_timer_ = 0;
  room_.notify_all();
}

void Writer::fail(const Status& status) {
  MutexLock lock(core_.mutex);
  fail_locked(status, status);
}

// ------------------------------------------------------------------------- with no lock held

void Writer::do_work(Work& work) {
  if (work.acknowledged) core_.keeper->slots_applied();
  for (const BatchPtr& batch : work.seal_elsewhere) {
    core_.runtime->work([this, batch] {
      seal_batch(batch);
      pump(kPassesOfGuests);
    });
  }
  for (const BatchPtr& batch : work.check) check(batch);
  for (const BatchPtr& batch : work.put) put(batch);
  for (const BatchPtr& batch : work.seal_here) seal_batch(batch);
}

void Writer::seal_batch(const BatchPtr& batch) {
  seal(*batch, core_.options.block_bytes, core_.options.compression_level, *core_.blocks);
  // What is freed is freed behind the lock.
  const auto chunks = std::exchange(batch->chunks, {});
  const auto spans = std::exchange(batch->spans, {});
  MutexLock lock(core_.mutex);
  --sealing_;
  if (batch->finished) return;  // failed meanwhile
  batch->state = Batch::State::kSealed;
  batch->uploading = RamUse(core_.ram, Ram::kUploading, batch->body->size());
  core_.ram.sub(Ram::kGathering, batch->gathering_bytes);
  batch->gathering_bytes = 0;
  if (waiting_for_room_ != 0) room_.notify_all();
}

void Writer::put(const BatchPtr& batch) {
  if (WP_BUG(6) && batch->tries > 1) {
    ++batch->header.time_base_ms;
    encode_header(batch->header, batch->body->data());
  }
  core_.store->put_if_absent(slot_key(batch->header.slot), batch->body, Cause::kFlush,
                             [this, batch](StoreStatus status) { put_done(batch, status); });
}

void Writer::put_done(const BatchPtr& batch, const StoreStatus& status) {
  {
    MutexLock lock(core_.mutex);
    if (batch->finished || batch->state != Batch::State::kPutting) return;
    if (status.ok() || (WP_BUG(22) && status.answer == Answer::kUnknown)) {
      batch->state = Batch::State::kStored;
      last_answer_ = {};
      if (WP_BUG(1)) batch->finished = true, batch->changed.notify_all();
    } else if (status.answer == Answer::kExists) {
      batch->state = WP_BUG(2) ? Batch::State::kStored : Batch::State::kExists;
      batch->failures = 0;
    } else if (status.answer != Answer::kCancelled) {
      retry_later(*batch, Batch::State::kReady, status);
    }
  }
  pump(kPassesOfGuests);
}

void Writer::check(const BatchPtr& batch) {
  core_.store->get(slot_key(batch->header.slot), {0, kSlotHeaderBytes}, Cause::kFlush,
                   [this, batch](GetResult result) { check_done(batch, result); });
}

// The header is the proof: it holds our nonce, and the digest of all the rest.
void Writer::check_done(const BatchPtr& batch, const GetResult& result) {
  {
    MutexLock lock(core_.mutex);
    if (batch->finished || batch->state != Batch::State::kChecking) return;
    if (result.status.ok()) {
      const Bytes mine = Bytes(*batch->body).first(kSlotHeaderBytes);
      const bool same =
          std::equal(result.bytes.begin(), result.bytes.end(), mine.begin(), mine.end()) &&
          result.object_bytes == batch->body->size();
      const auto header = decode_header(result.bytes);
      const bool whole =
          header && header->root == batch->header.root && header->slot == batch->header.slot;
      if (same) {
        batch->state = Batch::State::kStored;
        last_answer_ = {};
      } else if (whole) {
        batch->state = Batch::State::kForeign;
      } else if (batch->failures >= kUnreadableTries) {
        batch->state = Batch::State::kUnreadable;
      } else {  // perhaps it was the way here
        retry_later(*batch, Batch::State::kExists,
                    {Answer::kUnknown, "get " + slot_key(batch->header.slot) + ": no slot", {}});
      }
    } else if (result.status.answer == Answer::kNotFound) {
      batch->state = Batch::State::kGone;
    } else if (result.status.answer != Answer::kCancelled) {
      retry_later(*batch, Batch::State::kExists, result.status);
    }
  }
  pump(kPassesOfGuests);
}

void Writer::retry_later(Batch& batch, Batch::State state, const StoreStatus& status) {
  batch.state = state;
  batch.failed_with = status.answer;
  last_answer_ = status;
  const auto most =
      std::min(kRetryMax, kRetryFirst * (1 << std::min<uint32_t>(batch.failures++, 10)));
  const auto span = std::chrono::nanoseconds(most);
  // Half of it for sure, the other half by chance, so that a crowd does not come back at once.
  const auto chance =
      static_cast<int64_t>(core_.runtime->random() % static_cast<uint64_t>(span.count() / 2));
  const auto pause = std::max<std::chrono::nanoseconds>(span / 2 + std::chrono::nanoseconds{chance},
                                                        status.retry_after);
  batch.retry_at = core_.runtime->now() + pause;
}

// --------------------------------------------------------------------------------------- callbacks

void Writer::deliver() {
  std::deque<Told> all;
  for (;;) {
    const size_t told = all.size();
    all.clear();
    {
      MutexLock lock(core_.mutex);
      callbacks_run_ += told;
      if (told != 0 && waiting_for_room_ != 0) room_.notify_all();
      all.swap(callbacks_);
      delivered_.notify_all();
      delivering_ = !all.empty();
      if (all.empty()) return;
    }
    for (Told& each : all) {
      for (auto& [done, lsn] : each.dones) {
        done(each.status.ok() ? Result<Lsn>(lsn) : Result<Lsn>(each.status));
        done = nullptr;  // what it holds goes while no lock is held
      }
    }
  }
}

void Writer::drain_callbacks() {
  MutexLock lock(core_.mutex);
  const uint64_t made = callbacks_made_;
  while (callbacks_run_ < made) core_.runtime->wait(lock, delivered_, kNever);
}

void Writer::run_callbacks_left() {
  deliver();
}

// ---------------------------------------------------------------------------------------- the end

Status Writer::close(TimePoint deadline) {
  // Callbacks of what is durable already may still append.
  drain_callbacks();
  MutexLock lock(core_.mutex);
  if (!failed_.ok()) return failed_;
  record_created();
  if (WP_BUG(20)) core_.cursors->forget();
  record_commits();
  closing_ = true;
  room_.notify_all();
  // Who wrote nothing says so too, or the fence behind it stays for ever; but nobody waits long.
  const bool wrote = slot_next_.seq != 0 || !open_->empty();
  if (!wrote) deadline = std::min(deadline, core_.runtime->now() + kCourtesy);
  begin_batch_if_empty();
  open_->last = true;
  open_->wanted = true;
  const BatchPtr batch = open_;
  lock.unlock();
  pump(kPassesOfGuests);
  lock.lock();
  Status status = wait_for(lock, batch, deadline);
  if (!wrote) return {};
  if (status.ok() || !failed_.ok()) return status;
  uint64_t left = open_->entries;
  for (const BatchPtr& each : line_) left += each->entries;
  return Status(status.code() == Code::kTimeout ? Code::kUnavailable : status.code(),
                "close " + core_.url + ": " + std::to_string(left) +
                    " entries were not stored within close_timeout" +
                    (last_answer_.ok() ? "" : " (" + last_answer_.message + ")") +
                    "; their callers were told so");
}

Status Writer::failure() const {
  MutexLock lock(core_.mutex);
  return failed_;
}

void Writer::fill(Stats& stats) const {
  MutexLock lock(core_.mutex);
  stats.entries_appended = entries_appended_;
  stats.bytes_appended = bytes_appended_;
  stats.entries_durable = entries_durable_;
  stats.bytes_durable = bytes_durable_;
  stats.fragments_stored = fragments_stored_;
  stats.fragment_bytes_stored = fragment_bytes_stored_;
  stats.backlog_entries = backlog_entries_;
  stats.backlog_bytes = backlog_bytes_;
  stats.flush_latency = flush_latency_;
  stats.retries = retries_;
  stats.retries_by_cause = retries_by_cause_;
  stats.last_error = last_answer_.message;
  const TimePoint oldest = line_.empty() ? open_->oldest : line_.front()->oldest;
  if (oldest != kNever) {
    stats.backlog_age = std::chrono::duration_cast<Duration>(core_.runtime->now() - oldest);
  }
}

}  // namespace wp
