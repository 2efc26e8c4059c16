#include "engine/compaction.h"

#include <algorithm>
#include <map>

#include "engine/bug.h"
#include "engine/status.h"
#include "engine/writer.h"

namespace wp {
namespace {

// Runs of so many bytes are read well where they are.
constexpr uint64_t kRunBytesGood = 64u << 10;
// What one plan takes up at most.
constexpr size_t kObjectsMax = 4096, kRunsMax = 100'000;
// Of one segment: what its record and its index hold stays small.
constexpr size_t kLogsMax = 4096;
constexpr uint64_t kSegmentBytesMin = 64u << 10, kSegmentBytesMax = 32u << 20;
// Without haste: so much fewer runs, so many segments, or so many bytes freed must come of it.
constexpr uint64_t kFewerRuns = 4, kFewerRunsEager = 2;
constexpr size_t kSegmentsWorth = 8, kLargeObjectsWorth = 16;
constexpr uint64_t kFreedBytesWorth = 32u << 20;
constexpr size_t kPage = 1000;

constexpr size_t kFetchesMax = 8;
constexpr int kTriesMax = 8;
constexpr std::chrono::milliseconds kRetryFirst{50}, kRetryMax{30'000};

// Entries and the segment made of them are there at the same time, beside the other shares
// (engine/ram.h).
uint64_t segment_bytes(const Options& options) {
  return std::clamp(options.ram_bytes_max / 64 * 3, kSegmentBytesMin, kSegmentBytesMax);
}

// As stored, of entries that are not in use any more.
uint64_t freed_bytes(const ObjectUse& object) {
  if (object.row.entries == 0) return object.row.bytes;
  return static_cast<uint64_t>(
      static_cast<double>(object.row.bytes) *
      (1 - static_cast<double>(object.entries) / static_cast<double>(object.row.entries)));
}

struct Pool {
  std::vector<ObjectUse> objects;
  uint64_t bytes = 0;   // of entries in use
  uint64_t stored = 0;  // bytes of the objects
  uint64_t runs = 0;
  bool full() const { return objects.size() >= kObjectsMax; }
  void add(const ObjectUse& object) {
    objects.push_back(object);
    runs += object.runs;
    bytes += object.bytes;
    stored += object.row.bytes;
  }
};

// What a window of the objects has for us.
struct Pools {
  Pool fragments, segments;  // of small runs
  Pool sparse;               // of which less than half is in use
  uint64_t freed = 0;        // bytes, by rewriting the sparse ones
  uint64_t looked_at = 0;    // objects
  ObjectId next;             // behind the window
  bool last = false;         // nothing is
};

Result<Pools> sort_out(View& view, ObjectId from, const std::set<ObjectId>& avoid) {
  Pools pools;
  pools.next = from;
  for (;;) {
    auto page = view.objects(pools.next.epoch, pools.next.seq, kPage);
    if (!page) return page.status();
    for (const ObjectUse& object : *page) {
      if (pools.fragments.full() || pools.segments.full() || pools.sparse.full()) return pools;
      pools.next = {object.row.epoch, object.row.seq + 1};
      ++pools.looked_at;
      if (object.runs == 0 || avoid.contains({object.row.epoch, object.row.seq})) continue;
      if (object.entries * 2 < object.row.entries) {
        pools.sparse.add(object);
        pools.freed += freed_bytes(object);
      }
      if (object.bytes / object.runs >= kRunBytesGood) continue;
      (is_segment(object.row.seq) ? pools.segments : pools.fragments).add(object);
    }
    pools.last = page->size() < kPage;
    if (pools.last) return pools;
  }
}

// Of all objects of the pool, the runs of the logs in that range.
Result<std::vector<RunRow>> runs_of(View& view, const Pool& pool, LogId first, LogId end) {
  std::vector<RunRow> runs;
  for (const ObjectUse& object : pool.objects) {
    const Status status =
        each_run_in(view, {object.row.epoch, object.row.seq}, first, [&](const RunRow& run) {
          if (run.log < end) runs.push_back(run);
          return run.log < end;
        });
    if (!status.ok()) return status;
  }
  std::sort(runs.begin(), runs.end(), [](const RunRow& a, const RunRow& b) {
    return a.log != b.log ? a.log < b.log : a.lsn_first < b.lsn_first;
  });
  return runs;
}

// What of a log lies without a gap goes into one segment; what lies behind a gap into another,
// where that of other logs is as well.
struct Cut {
  std::vector<std::vector<RunRow>> segments;
  uint64_t runs_before = 0, runs_after = 0;
};

Cut cut_into_segments(const std::vector<RunRow>& runs, uint64_t bytes_max) {
  std::vector<std::vector<RunRow>> layers;
  Cut cut;
  size_t layer = 0;
  const RunRow* before = nullptr;
  for (const RunRow& run : runs) {
    if (run.bytes > bytes_max) continue;  // it is well where it is, and too much for us
    const bool same = before != nullptr && run.log == before->log;
    const bool follows = same && before->lsn_first + before->count == run.lsn_first;
    layer = !same ? 0 : follows ? layer : layer + 1;
    if (layer == layers.size()) layers.emplace_back();
    layers[layer].push_back(run);
    ++cut.runs_before;
    before = &run;
  }
  for (const auto& of_layer : layers) {
    uint64_t bytes = 0;
    size_t logs = 0;
    std::vector<RunRow>* segment = nullptr;
    for (const RunRow& run : of_layer) {
      if (segment == nullptr || bytes + run.bytes > bytes_max || logs == kLogsMax) {
        segment = &cut.segments.emplace_back();
        bytes = logs = 0;
      }
      if (segment->empty() || segment->back().log != run.log) {
        ++logs;
        ++cut.runs_after;
      }
      bytes += run.bytes + kEntryOverheadBytesMax * run.count / 8;
      segment->push_back(run);
    }
  }
  return cut;
}

// Where all the runs would be too many at once, those of a range of logs after the other; the first
// range that is worth it.
Result<bool> plan_pool(View& view, const Options& options, const Pool& pool, LogId log_end,
                       uint64_t fewer, CompactionPlan* plan) {
  const uint64_t parts = pool.runs / kRunsMax + 1;
  for (uint64_t part = 0; part < parts; ++part) {
    const LogId first = log_end / parts * part;
    const LogId end = part + 1 == parts ? log_end : log_end / parts * (part + 1);
    auto runs = runs_of(view, pool, first, end);
    if (!runs) return runs.status();
    Cut cut = cut_into_segments(*runs, segment_bytes(options));
    if (cut.runs_before == 0 || cut.runs_before < fewer * cut.runs_after) continue;
    plan->segments = std::move(cut.segments);
    std::set<ObjectId> objects;
    for (const auto& segment : plan->segments) {
      for (const RunRow& run : segment) objects.insert({run.epoch, run.seq});
    }
    plan->objects = objects.size();
    for (const ObjectUse& object : pool.objects) {
      if (objects.contains({object.row.epoch, object.row.seq})) plan->bytes += object.row.bytes;
    }
    return true;
  }
  return false;
}

// Of one window; false: nothing of it is worth it.
Result<bool> plan_window(View& view, const Options& options, const Pools& pools, LogId log_end,
                         bool eager, CompactionPlan* plan) {
  const uint64_t fewer = eager ? kFewerRunsEager : kFewerRuns;
  const auto worth = [&](const Pool& pool, size_t most) {
    const bool large = pool.objects.size() >= kLargeObjectsWorth &&
                       pool.bytes >= segment_bytes(options) * kLargeObjectsWorth / 2;
    return pool.objects.size() >= (eager ? 2 : most) || large;
  };
  if (worth(pools.fragments, options.compact_objects)) {
    auto found = plan_pool(view, options, pools.fragments, log_end, fewer, plan);
    if (!found || *found) return found;
  }
  if (worth(pools.segments, std::min<size_t>(kSegmentsWorth, options.compact_objects))) {
    auto found = plan_pool(view, options, pools.segments, log_end, fewer, plan);
    if (!found || *found) return found;
  }
  if (pools.sparse.objects.empty() || (!eager && pools.freed < kFreedBytesWorth)) return false;
  return plan_pool(view, options, pools.sparse, log_end, 0, plan);
}

}  // namespace

Result<CompactionPlan> plan_compaction(View& view, const Options& options, bool eager,
                                       const std::set<ObjectId>& avoid, ObjectId from) {
  CompactionPlan plan;
  auto head = view.head();
  if (!head) return head.status();
  if (!*head) return plan;
  for (ObjectId at = from;;) {
    auto pools = sort_out(view, at, avoid);
    if (!pools) return pools.status();
    plan.debt_bytes += pools->fragments.stored + pools->segments.stored + pools->freed;
    plan.looked_at += pools->looked_at;
    plan.from = at;
    auto found = plan_window(view, options, *pools, (*head)->log_id_next, eager, &plan);
    if (!found) return found.status();
    if (*found) return plan;
    at = pools->next;
    if (pools->last) break;
  }
  plan.from = {};
  return plan;
}

// -------------------------------------------------------------------------------------------- job

CompactionJob::CompactionJob(EngineCore& core, const std::vector<RunRow>& runs, Ended ended)
    : core_(core), ended_(std::move(ended)), name_(core.writer->next_segment()) {
  std::map<ObjectId, InputPtr> inputs;
  for (const RunRow& run : runs) {
    const ObjectId id{run.epoch, run.seq};
    InputPtr& input = inputs[id];
    if (input == nullptr) {
      input = std::make_shared<Input>();
      input->id = id;
    }
    input->runs.push_back(run);
  }
  for (auto& [id, input] : inputs) waiting_.push_back(std::move(input));
  builder_ = std::make_unique<SegmentBuilder>(core.root.id, name_);
}

void CompactionJob::start() {
  fetch_more();
}

// An input may arrive while it is asked for; so one call goes on where another stands.
void CompactionJob::fetch_more() {
  for (;;) {
    InputPtr input;
    {
      MutexLock lock(mutex_);
      if (over_ || waiting_.empty() || under_way_ >= kFetchesMax) return;
      input = std::move(waiting_.front());
      waiting_.pop_front();
      ++under_way_;
    }
    const auto owner = core_.owner_of(input->id.epoch);
    if (!owner) return end(owner.status());
    input->slot = {input->id.epoch, *owner, input->id.seq};
    input->key = slot_key(input->slot);
    fetch(input);
  }
}

void CompactionJob::fetch(const InputPtr& input) {
  if (core_.ended) return end(core_.usable());
  input->bytes.clear();
  input->blocks.clear();
  input->index = input->reread ? nullptr : core_.cache.index(input->id.epoch, input->id.seq);
  if (input->index != nullptr) return index_known(input);
  input->use = RamUse(core_.ram, Ram::kCompacting, kHeadBytes);
  core_.store->get(input->key, {0, kHeadBytes}, Cause::kCompact,
                   [self = shared_from_this(), input](GetResult got) {
                     self->head_arrived(input, std::move(got));
                   });
}

// True: it was an error, and is dealt with.
bool CompactionJob::failed(const InputPtr& input, const StoreStatus& status) {
  if (status.ok()) return false;
  if (status.answer == Answer::kNotFound) {
    gone(input);
  } else if (status.answer == Answer::kCorrupt) {
    damaged(input, status.message);
  } else if (status.passing() && ++input->tries < kTriesMax) {
    retry([self = shared_from_this(), input] { self->fetch(input); }, status);
  } else {
    end(to_status(status));
  }
  return true;
}

// It is lost, or another opener took the root over and reclaimed it. The next slot tells.
void CompactionJob::gone(const InputPtr& input) {
  core_.writer->submit({}, [self = shared_from_this(), input](const Result<Lsn>& result) {
    if (!result.ok()) return self->end(result.status());
    self->damaged(input, "the object is gone");
  });
}

void CompactionJob::damaged(const InputPtr& input, const std::string& what) {
  if (!input->reread) {
    input->reread = true;
    return fetch(input);
  }
  {
    MutexLock lock(mutex_);
    outcome_.unreadable.push_back(input->id);
  }
  end(Status(Code::kCorrupt, "compact " + core_.url + ": " + input->key + ": " + what +
                                 "; it is left where it is: run wp verify, and see "
                                 "docs/OPERATIONS.md"));
}

void CompactionJob::head_arrived(const InputPtr& input, GetResult got) {
  if (failed(input, got.status)) return;
  auto header = decode_header(got.bytes);
  if (!header) return damaged(input, header.status().message());
  if (header->slot != input->slot || header->root != core_.root.id ||
      header->object_bytes() != got.object_bytes) {
    return damaged(input, "it is not the object that belongs there, or cut");
  }
  // What an opener that had slept put where the object was.
  if (header->kind == SlotKind::kFence) return gone(input);
  const auto use_index = [self = shared_from_this(), input, header = *header](Bytes bytes) {
    auto index = decode_index(header, bytes);
    if (!index) return self->damaged(input, index.status().message());
    input->index = std::make_shared<FragmentIndex>(FragmentIndex{header, *std::move(index)});
    self->core_.cache.put(input->id.epoch, input->id.seq, input->index);
    self->index_known(input);
  };
  const uint64_t begin = header->header_bytes, bytes = header->index_bytes;
  input->bytes = std::move(got.bytes);
  input->offset = 0;
  if (begin + bytes <= input->bytes.size()) {
    return use_index(Bytes(input->bytes).subspan(begin, bytes));
  }
  core_.store->get(input->key, {begin, bytes}, Cause::kCompact,
                   [self = shared_from_this(), input, use_index](GetResult rest) {
                     if (!self->failed(input, rest.status)) use_index(rest.bytes);
                   });
}

// The range of the blocks that are neither here nor in the cache.
void CompactionJob::index_known(const InputPtr& input) {
  uint64_t begin = UINT64_MAX, end = 0;
  const SlotIndex& index = input->index->index;
  bool all_here = true;
  for (const RunRow& row : input->runs) {
    const Run* run = index.run_of(row.log);
    if (run == nullptr) return damaged(input, "its index lacks log " + std::to_string(row.log));
    for (uint32_t i = run->piece_first; i < run->piece_first + run->pieces; ++i) {
      const uint32_t number = index.pieces[i].block;
      const BlockInfo& block = index.blocks[number];
      begin = std::min(begin, block.offset);
      end = std::max(end, block.offset + block.stored_bytes);
      if (block.offset + block.stored_bytes <= input->bytes.size()) continue;
      BlockPtr cached =
          input->reread ? nullptr : core_.cache.block(input->id.epoch, input->id.seq, number);
      all_here = all_here && cached != nullptr;
      if (cached != nullptr) input->blocks[number] = std::move(cached);
    }
  }
  if (all_here) return arrived(input);
  input->blocks.clear();
  input->use = RamUse(core_.ram, Ram::kCompacting, end - begin);
  input->offset = begin;
  core_.store->get(input->key, {begin, end - begin}, Cause::kCompact,
                   [self = shared_from_this(), input](GetResult got) {
                     self->blocks_arrived(input, std::move(got));
                   });
}

void CompactionJob::blocks_arrived(const InputPtr& input, GetResult got) {
  if (failed(input, got.status)) return;
  if (got.object_bytes != input->index->header.object_bytes()) {
    return damaged(input, "it is cut");
  }
  input->bytes = std::move(got.bytes);
  arrived(input);
}

void CompactionJob::arrived(const InputPtr& input) {
  {
    MutexLock lock(mutex_);
    if (over_) return;
    arrived_.push_back(input);
    if (adding_) return;
    adding_ = true;
  }
  core_.runtime->work([self = shared_from_this()] { self->add_arrived(); });
}

// One at a time: the builder is no place for two.
void CompactionJob::add_arrived() {
  for (;;) {
    InputPtr input;
    bool all = false;
    {
      MutexLock lock(mutex_);
      if (over_) return;
      if (arrived_.empty()) {
        adding_ = false;
        all = waiting_.empty() && under_way_ == 0;
        if (!all) break;
      } else {
        input = std::move(arrived_.front());
        arrived_.pop_front();
      }
    }
    if (all) return build();
    if (const std::string what = add(*input); !what.empty()) {
      damaged(input, what);
      continue;  // it is fetched again, or all is over
    }
    gathered_use_ = RamUse(core_.ram, Ram::kCompacting, builder_->raw_bytes());
    MutexLock lock(mutex_);
    --under_way_;
  }
  fetch_more();
}

std::string CompactionJob::add(Input& input) {
  BlockPtr last;
  uint32_t last_number = UINT32_MAX;
  const SegmentSource source{
      input.index->header, input.index->index, [&](uint32_t number) -> Result<BlockPtr> {
        if (number == last_number) return last;
        const auto cached = input.blocks.find(number);
        last = cached == input.blocks.end() ? nullptr : cached->second;
        if (last == nullptr) {
          const BlockInfo& info = input.index->index.blocks[number];
          if (info.offset < input.offset ||
              info.offset + info.stored_bytes > input.offset + input.bytes.size()) {
            return Status(Code::kNotFound, "a block is not here");
          }
          auto decoded = decode_block(
              info, Bytes(input.bytes).subspan(info.offset - input.offset, info.stored_bytes),
              core_.blocks.get());
          if (!decoded) return decoded.status();
          last = *std::move(decoded);
        }
        last_number = number;
        return last;
      }};
  for (const RunRow& run : input.runs) {
    std::string what = builder_->add(run, source);
    if (!what.empty()) return what;
  }
  return {};
}

void CompactionJob::build() {
  object_ = builder_->finish(core_.options.block_bytes, core_.options.compression_level, &record_);
  builder_.reset();
  gathered_use_.release();
  object_use_ = RamUse(core_.ram, Ram::kCompacting, object_->size());
  put();
}

void CompactionJob::put() {
  if (core_.ended) return end(core_.usable());
  core_.store->put_if_absent(
      slot_key(name_), object_, Cause::kCompact,
      [self = shared_from_this()](const StoreStatus& status) { self->put_done(status); });
  if (WP_BUG(13)) publish();
}

void CompactionJob::put_done(const StoreStatus& status) {
  if (WP_BUG(13)) return;
  {
    MutexLock lock(mutex_);
    outcome_.leftover = slot_key(name_);  // until it is published
  }
  if (status.ok()) return publish();
  if (status.answer == Answer::kExists) return check();
  if (!status.passing()) return end(to_status(status));
  retry([self = shared_from_this()] { self->put(); }, status);
}

// The name is ours alone, so this must be an earlier try; but what nobody looks at again is looked
// at now.
void CompactionJob::check() {
  core_.store->get(slot_key(name_), {0, kSlotHeaderBytes}, Cause::kCompact,
                   [self = shared_from_this()](const GetResult& got) {
                     const Bytes mine = Bytes(*self->object_).first(kSlotHeaderBytes);
                     if (got.status.passing()) {
                       return self->retry([self] { self->check(); }, got.status);
                     }
                     if (!got.status.ok()) return self->end(to_status(got.status));
                     const bool same =
                         std::equal(got.bytes.begin(), got.bytes.end(), mine.begin(), mine.end()) &&
                         got.object_bytes == self->object_->size();
                     if (same) return self->publish();
                     // Perhaps it was the way here that damaged it.
                     if (!std::exchange(self->checked_again_, true)) return self->check();
                     self->end(Status(Code::kCorrupt, "compact " + self->core_.url + ": " +
                                                          slot_key(self->name_) +
                                                          " is not what was stored there"));
                   });
}

void CompactionJob::publish() {
  if (core_.ended) return end(core_.usable());
  {
    MutexLock lock(mutex_);
    outcome_.segment_bytes = object_->size();
    // From now on it may be published whatever we are told: only who comes after us can know.
    outcome_.leftover.clear();
  }
  object_ = nullptr;
  object_use_.release();
  core_.writer->submit(
      {{std::move(record_), nullptr}},
      [self = shared_from_this()](const Result<Lsn>& result) { self->end(result.status()); });
}

void CompactionJob::retry(std::function<void()> again, const StoreStatus& status) {
  if (core_.ended) return end(core_.usable());
  const auto pause = std::min<std::chrono::nanoseconds>(
      kRetryMax, std::max<std::chrono::nanoseconds>(kRetryFirst * (1 << std::min(tries_++, 10)),
                                                    status.retry_after));
  core_.runtime->call_at(core_.runtime->now() + pause, std::move(again));
}

void CompactionJob::end(Status status) {
  Outcome outcome;
  {
    MutexLock lock(mutex_);
    if (over_) return;
    over_ = true;
    outcome = outcome_;
  }
  outcome.status = std::move(status);
  ended_(std::move(outcome));
}

}  // namespace wp
