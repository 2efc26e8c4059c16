#include "engine/reader.h"

#include <algorithm>

#include "engine/follower.h"

namespace wp {
namespace {

constexpr uint64_t kLoadBytesMax = 1u << 20;
constexpr size_t kDepthMax = 8;
constexpr size_t kRunsAtOnce = 64;

}  // namespace

Reader::Impl::Impl(std::shared_ptr<Engine> engine, LogStatePtr log, bool subscribe,
                   const Filter& filter)
    : engine_(std::move(engine)),
      core_(engine_->core()),
      log_(std::move(log)),
      subscribe_(subscribe),
      filter_(filter.properties.empty() ? nullptr : std::make_shared<PropertyFilter>(filter)),
      load_bytes_(std::min(kLoadBytesMax, core_.ram.reading_max() / 4)) {}

Result<Reader> Reader::Impl::make(std::shared_ptr<Engine> engine, LogStatePtr log, From from,
                                  bool subscribe, const Filter& filter) {
  std::unique_ptr<Impl> impl(new Impl(std::move(engine), std::move(log), subscribe, filter));
  if (Status status = impl->check(); !status.ok()) return status;
  if (Status status = impl->place(from); !status.ok()) return status;
  if (subscribe) {
    impl->begin_subscription();
  } else {
    impl->lsn_end_ = impl->log_->lsn_durable + 1;
  }
  return Reader(std::move(impl));
}

void Reader::Impl::begin_subscription() {
  subscription_ = std::make_unique<Subscription>(core_.ram, filter_.get());
  MutexLock lock(core_.mutex);
  log_->subscriptions.push_back(subscription_.get());
  log_->subscribers = log_->subscriptions.size();
}

Reader::Impl::~Impl() {
  if (subscription_ == nullptr || core_.runtime->forked()) return;
  MutexLock lock(core_.mutex);
  subscription_->clear();
  std::erase(log_->subscriptions, subscription_.get());
  log_->subscribers = log_->subscriptions.size();
}

TimePoint Reader::Impl::deadline_of(Duration wait) const {
  if (wait > std::chrono::hours{24 * 365 * 100}) return kNever;
  return core_.runtime->now() + wait;
}

Status Reader::Impl::check() {
  if (Status status = core_.usable(); !status.ok()) return status;
  if (log_->dropped.load(std::memory_order_acquire)) {
    return Status(Code::kDropped,
                  "read log " + log_->name + ": it was dropped; ask for it by name again");
  }
  return {};
}

// ----------------------------------------------------------------------------------------- places

void Reader::Impl::go_to(Lsn lsn) {
  lsn_ = lsn;
  cursor_ = {};
  piece_next_ = 0;
  loads_.clear();
  runs_.clear();
  depth_ = 1;
}

Status Reader::Impl::place(From from) {
  Lsn first, durable, given;
  {
    MutexLock lock(core_.mutex);
    first = log_->row.lsn_first;
    durable = log_->row.lsn_next - 1;
    given = std::max(log_->lsn_given, durable);
  }
  switch (from.kind) {
    case From::Kind::kFirst:
      go_to(first);
      return {};
    case From::Kind::kLatest:
      go_to(durable + 1);
      return {};
    case From::Kind::kTime:
      return place_at_time(static_cast<int64_t>(from.value));
    case From::Kind::kLsn:
      break;
  }
  if (from.value == 0 || from.value - 1 > given) {
    return Status(Code::kInvalid, "read log " + log_->name + " from LSN " +
                                      std::to_string(from.value) + ": it has LSNs from 1 to " +
                                      std::to_string(given));
  }
  if (from.value < first) {
    return Status(Code::kTruncated,
                  "read log " + log_->name + " from LSN " + std::to_string(from.value) +
                      ": it was truncated; the first that is left is " + std::to_string(first),
                  first);
  }
  go_to(from.value);
  return {};
}

Status Reader::Impl::place_at_time(int64_t time_ms) {
  Lsn first, durable;
  {
    MutexLock lock(core_.mutex);
    first = log_->row.lsn_first;
    durable = log_->row.lsn_next - 1;
  }
  auto run = core_.run_at_time(*log_, time_ms);
  if (!run) return run.status();
  const Lsn before = lsn_, end_before = lsn_end_;
  go_to(*run ? std::max(first, (*run)->lsn_first) : durable + 1);
  if (!*run || ((*run)->lsn_first >= first && (*run)->time_first_ms >= time_ms)) return {};
  // Somewhere in this run.
  lsn_end_ = durable + 1;
  placing_ = true;
  Status status;
  while (status.ok()) {
    const EntryCursor cursor = cursor_;
    Entry entry;
    auto taken = take(&entry, kNever, true);
    if (!taken) {
      status = taken.status();
    } else if (!*taken) {
      break;
    } else if (entry.time_ms >= time_ms) {
      const Lsn found = entry.lsn;
      if (cursor.lsn() == found && !cursor.done()) {
        cursor_ = cursor;
        lsn_ = found;
      } else {
        go_to(found);
      }
      break;
    }
  }
  lsn_end_ = end_before;
  placing_ = false;
  if (!status.ok()) go_to(before);
  return status;
}

Status Reader::Impl::seek(From from) {
  if (Status status = check(); !status.ok()) return status;
  if (Status status = place(from); !status.ok()) return status;
  if (subscription_ != nullptr) {
    MutexLock lock(core_.mutex);
    subscription_->forget_before(lsn_);
  }
  return {};
}

// ---------------------------------------------------------------------------------------- entries

Result<std::optional<Entry>> Reader::Impl::next(Duration wait) {
  Entry entry;
  auto taken = take(&entry, wait > Duration{0} ? deadline_of(wait) : TimePoint{}, true);
  if (!taken) return taken.status();
  if (!*taken) return std::optional<Entry>();
  return std::optional<Entry>(std::move(entry));
}

Result<std::span<const Entry>> Reader::Impl::next_batch(size_t count_max, Duration wait) {
  const TimePoint deadline = wait > Duration{0} ? deadline_of(wait) : TimePoint{};
  // Written over those of the last call: most hold the same block.
  size_t count = 0;
  const auto place = [&]() -> Entry* {
    return count < batch_.size() ? &batch_[count] : &batch_.emplace_back();
  };
  Status status;
  while (count < count_max) {
    auto taken = take(place(), deadline, count == 0);
    if (!taken) status = taken.status();
    if (!taken || !*taken) break;
    ++count;
    // What is decoded needs no further look at the log. (Nor is more published before it: that came
    // before what is stored behind it.)
    const Lsn stop =
        subscription_ == nullptr ? lsn_end_ : std::min(lsn_end_, subscription_->place());
    while (count < count_max && lsn_ < stop && !cursor_.done() && cursor_.next(place())) {
      ++lsn_;
      if (wanted(batch_[count])) ++count;
    }
  }
  batch_.resize(count);
  // What comes after is for the next call; an error too, which then comes again.
  if (count == 0 && !status.ok()) return status;
  return std::span<const Entry>(batch_);
}

Result<bool> Reader::Impl::take(Entry* entry, TimePoint deadline, bool may_wait) {
  for (;;) {
    if (Status status = check(); !status.ok()) return status;
    const Lsn first = log_->lsn_first.load(std::memory_order_acquire);
    if (lsn_ < first) {
      if (!may_wait) return false;  // within a batch: at its next call
      const Lsn was = lsn_;
      go_to(first);
      return Status(Code::kTruncated,
                    "read log " + log_->name + " at LSN " + std::to_string(was) +
                        ": it was truncated; the first that is left is " + std::to_string(first),
                    first);
    }
    while (cursor_.done() && !ephemeral_due()) {
      auto more = advance(deadline, may_wait);
      if (!more || !*more) return more;
    }
    // Only now that the next entry is in hand is it sure that nothing more comes before it.
    if (ephemeral_due()) {
      if (take_ephemeral(entry)) return true;
      continue;
    }
    if (lsn_ >= lsn_end_) return false;
    if (!cursor_.next(entry)) {
      go_to(lsn_);
      return Status(Code::kCorrupt, "read log " + log_->name + " at LSN " + std::to_string(lsn_) +
                                        ": the bytes there are no entry; run wp verify");
    }
    ++lsn_;
    if (wanted(*entry)) return true;
  }
}

// False: it was dropped meanwhile.
bool Reader::Impl::take_ephemeral(Entry* entry) {
  EphemeralPtr taken;
  {
    MutexLock lock(core_.mutex);
    if (!ephemeral_due()) return false;
    taken = subscription_->pop();
  }
  ++core_.ephemeral.delivered;
  Subscription::fill(taken, entry);
  return true;
}

// Makes the cursor stand at the next entry, or something published is due. False: there is none, or
// none yet.
Result<bool> Reader::Impl::advance(TimePoint deadline, bool may_wait) {
  for (;;) {
    if (Status status = check(); !status.ok()) return status;
    if (ephemeral_due()) return true;
    if (lsn_ >= lsn_end_) return false;
    Status status;
    if (open_piece(&status)) return true;
    if (!status.ok()) return status;
    if (lsn_ < log_->lsn_first) return take(nullptr, deadline, may_wait);
    if (lsn_ > log_->lsn_durable.load(std::memory_order_acquire)) {
      if (!may_wait) return false;
      auto news = wait_for_news(deadline);
      if (!news || !*news) return news;
      continue;
    }
    if (status = plan(); !status.ok()) return status;
    auto ready = wait_for_load(may_wait);
    if (!ready || !*ready) return ready;
  }
}

// The object of a load is gone. Where its entries lie elsewhere by now, or were truncated, reading
// goes on there; where they do not, they are lost.
Status Reader::Impl::find_again(std::shared_ptr<Load> load) {
  const RunRow was = load->run();
  go_to(lsn_);
  if (core_.follower != nullptr && !core_.runtime->on_event_thread()) {
    if (Status status = core_.follower->look(true); !status.ok()) return status;
  }
  if (lsn_ < log_->lsn_first || log_->dropped) return {};
  const auto now = core_.runs_from(*log_, std::max(lsn_, was.lsn_first), 1);
  if (!now) return now.status();
  const bool same =
      now->empty() || (now->front().epoch == was.epoch && now->front().seq == was.seq);
  return same && lsn_ >= log_->lsn_first ? load->corrupt("the object is gone") : Status();
}

// What lies before that LSN holds nothing that the filter wants.
void Reader::Impl::pass_over(Lsn lsn) {
  lsn_ = std::max(lsn_, std::min(lsn, lsn_end_));
}

// The next piece of the first load, if that is ready.
bool Reader::Impl::open_piece(Status* status) {
  while (!loads_.empty()) {
    const Load& load = *loads_.front();
    {
      MutexLock lock(core_.mutex);
      if (!load.ready()) return false;
    }
    if (load.status().code() == Code::kNotFound) {
      *status = find_again(loads_.front());
      return false;
    }
    if (!load.status().ok()) {
      *status = load.status();
      go_to(lsn_);
      return false;
    }
    if (piece_next_ == load.pieces()) {
      if (filter_ != nullptr) pass_over(load.lsn_end());
      loads_.pop_front();
      piece_next_ = 0;
      depth_ = std::min(depth_ * 2, kDepthMax);
      continue;
    }
    const Piece& piece = load.piece(piece_next_);
    const BlockPtr& block = load.block(piece_next_);
    ++piece_next_;
    if (piece.lsn_first + piece.count <= lsn_) continue;
    if (filter_ != nullptr) pass_over(piece.lsn_first);
    cursor_ = EntryCursor(block, block->bytes().subspan(piece.offset, piece.bytes), piece.lsn_first,
                          load.time_base_ms());
    while (cursor_.lsn() < lsn_) {
      if (cursor_.skip()) continue;
      *status = Status(Code::kCorrupt, "read log " + log_->name + " at LSN " +
                                           std::to_string(cursor_.lsn()) +
                                           ": the bytes there are no entry; run wp verify");
      go_to(lsn_);
      return false;
    }
    if (depth_ > 1) (void)plan();  // ahead
    return true;
  }
  return false;
}

// False: the deadline passed, or it does not wait.
Result<bool> Reader::Impl::wait_for_news(TimePoint deadline) {
  if (!subscribe_) return false;
  if (deadline == TimePoint{} && core_.follower == nullptr) return false;
  if (Status status = core_.may_wait("wait for log " + log_->name); !status.ok()) return status;
  const Lsn wanted = lsn_;
  for (;;) {
    TimePoint until = deadline;
    if (core_.follower != nullptr) {
      TimePoint next_look = kNever;
      if (Status status = core_.follower->look_if_due(&next_look); !status.ok()) return status;
      until = std::min(until, next_look);
    }
    MutexLock lock(core_.mutex);
    const auto changed = [&] {
      return core_.ended || log_->dropped || log_->lsn_durable >= wanted ||
             log_->lsn_first > wanted || ephemeral_due();
    };
    ++log_->readers_waiting;
    while (!changed() && core_.runtime->now() < until) {
      core_.runtime->wait(lock, log_->news, until);
    }
    --log_->readers_waiting;
    if (changed()) return true;
    if (core_.runtime->now() >= deadline) return false;
  }
}

// ----------------------------------------------------------------------------------- loading ahead

Result<std::optional<RunRow>> Reader::Impl::run_at(Lsn lsn) {
  while (!runs_.empty() && runs_.front().lsn_first + runs_.front().count <= lsn_) {
    runs_.pop_front();
  }
  const auto holds = [lsn](const RunRow& run) {
    return lsn >= run.lsn_first && lsn - run.lsn_first < run.count;
  };
  for (const RunRow& run : runs_) {
    if (holds(run)) return std::optional<RunRow>(run);
  }
  auto found = core_.runs_from(*log_, lsn, kRunsAtOnce);
  if (!found) return found.status();
  if (found->empty() || !holds(found->front())) return std::optional<RunRow>();
  // Not behind those that are known already: they may lie elsewhere by now.
  runs_.assign(found->begin(), found->end());
  return std::optional<RunRow>(runs_.front());
}

// Starts what will be needed next: at least what is needed now.
Status Reader::Impl::plan() {
  while (loads_.size() < depth_) {
    Lsn from = lsn_;
    if (!loads_.empty()) {
      if (core_.ram.of(Ram::kReading) + load_bytes_ > core_.ram.reading_max()) return {};
      const Load& last = *loads_.back();
      MutexLock lock(core_.mutex);
      from = last.lsn_end();
      if (from == 0 || (last.ready() && !last.status().ok())) return {};
    }
    if (from >= lsn_end_ || from > log_->lsn_durable) return {};
    auto run = run_at(from);
    if (!run) return loads_.empty() ? run.status() : Status();
    if (!*run) {
      // Or it went just now: the next look says so.
      if (!loads_.empty() || from < log_->lsn_first || log_->dropped) return {};
      return core_.of_view(
          Status(Code::kCorrupt, "read log " + log_->name + ": the view does not know where LSN " +
                                     std::to_string(from) + " is; rebuild=true builds it anew"));
    }
    const bool whole = (*run)->bytes <= load_bytes_;
    loads_.push_back(std::make_shared<Load>(core_, log_, **run, from, whole, load_bytes_,
                                            placing_ ? nullptr : filter_));
    loads_.back()->start();
  }
  return {};
}

Result<bool> Reader::Impl::wait_for_load(bool may_wait) {
  if (loads_.empty()) return true;  // truncated meanwhile: look again
  const Load& load = *loads_.front();
  MutexLock lock(core_.mutex);
  if (load.ready()) return true;
  if (!may_wait) return false;
  lock.unlock();
  if (Status status = core_.may_wait("read log " + log_->name); !status.ok()) return status;
  lock.lock();
  ++log_->readers_waiting;
  while (!load.ready() && !core_.ended && !log_->dropped)
    core_.runtime->wait(lock, log_->news, kNever);
  --log_->readers_waiting;
  return true;
}

// ---------------------------------------------------------------------------------------- wp.h

Reader::Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;
Reader::~Reader() = default;

Result<std::optional<Entry>> Reader::next(Duration wait) {
  return impl_->next(wait);
}
Result<std::span<const Entry>> Reader::next_batch(size_t count_max, Duration wait) {
  return impl_->next_batch(count_max, wait);
}
Lsn Reader::position() const {
  return impl_->position();
}
Status Reader::seek(From from) {
  return impl_->seek(from);
}

}  // namespace wp
