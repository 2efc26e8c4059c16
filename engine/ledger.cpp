#include "engine/ledger.h"

#include <algorithm>

namespace wp {

void Ledger::begin(const ViewHead& head, View* view) {
  view_ = view;
  view_status_ = {};
  head_ = head;
  by_id_.clear();
  by_name_.clear();
  forgotten_.clear();
  owners_.clear();
  ++generation_;
  pending_ = false;
  changed_.clear();
  runs_.clear();
  dropped_.clear();
  epochs_.clear();
  slots_.clear();
  published_.clear();
  forgotten_objects_.clear();
  taken_slots_.clear();
  taken_bytes_ = 0;
  count_pending();
}

void Ledger::begin_new(const RootObject& root, const Digest& root_digest, View* view) {
  ViewHead head;
  head.root_id = root.id;
  head.last.digest = root_digest;
  head.next = {1, root.creator, 0};
  begin(head, view);
  epochs_[1] = {1, root.creator, false, false, 0};
  pending_ = true;
}

// ------------------------------------------------------------------------------------------- logs

LogStatePtr Ledger::in_ram(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : by_id_.at(it->second->id);
}

LogStatePtr Ledger::in_ram(LogId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

LogStatePtr Ledger::load(const LogRow& row) {
  auto state = std::make_shared<LogState>(row.id, row.name);
  state->row = row;
  state->durable = state->recorded = true;
  state->lsn_given = row.lsn_next - 1;
  state->time_given_ms = row.time_last_ms;
  state->lsn_first = row.lsn_first;
  state->lsn_durable = row.lsn_next - 1;
  by_id_[row.id] = state;
  by_name_[row.name] = state.get();
  if (by_id_.size() >= trim_at_) trim();
  return state;
}

LogStatePtr Ledger::create(std::string_view name) {
  log_id_given_ = std::max(log_id_given_ + 1, head_.log_id_next);
  auto state = std::make_shared<LogState>(log_id_given_, std::string(name));
  by_id_[state->id] = state;
  by_name_[state->name] = state.get();
  return state;
}

void Ledger::unname(const LogStatePtr& state, bool undo) {
  const auto it = by_name_.find(state->name);
  if (it != by_name_.end() && it->second == state.get()) by_name_.erase(it);
  if (undo) {
    by_id_.erase(state->id);
  } else {
    forgotten_.insert(state->id);
  }
}

void Ledger::keep_in_ram(bool on) {
  kept_in_ram_ += on ? 1 : -1;
  if (kept_in_ram_ != 0) return;
  for (const LogId id : forget_later_) forgotten_.erase(id);
  forget_later_.clear();
  if (by_id_.size() >= trim_at_) trim();
}

void Ledger::trim() {
  std::vector<LogId> ids;
  for (const auto& [id, state] : by_id_) ids.push_back(id);
  for (const LogId id : ids) let_go(id);
  trim_at_ = std::max<size_t>(1024, by_id_.size() * 2);
}

// Whoever appended to it and waits holds it too.
void Ledger::let_go(LogId id) {
  const auto it = by_id_.find(id);
  if (it == by_id_.end() || kept_in_ram_ != 0) return;
  const LogState& state = *it->second;
  if (it->second.use_count() > 1 || state.unapplied != 0 || !state.durable) return;
  const auto name = by_name_.find(state.name);
  if (name != by_name_.end() && name->second == &state) by_name_.erase(name);
  by_id_.erase(it);
  ++generation_;
}

std::vector<LogStatePtr> Ledger::held() const {
  std::vector<LogStatePtr> held;
  for (const auto& [id, state] : by_id_) {
    if (state.use_count() > 1) held.push_back(state);
  }
  return held;
}

Status Ledger::adopt(const std::vector<LogStatePtr>& held) {
  for (const LogStatePtr& state : held) {
    auto row = view_->log_by_id(state->id);
    if (!row) return row.status();
    state->recent.clear();
    state->unapplied = 0;
    if (*row) {
      state->row = **row;
      state->lsn_given = std::max(state->lsn_given, (*row)->lsn_next - 1);
      state->lsn_first = (*row)->lsn_first;
      state->lsn_durable = (*row)->lsn_next - 1;
      by_id_[state->id] = state;
      by_name_[state->name] = state.get();
    } else {
      state->dropping = state->dropped = true;
    }
    state->news.notify_all();
  }
  return {};
}

Nonce Ledger::owner_of(Epoch epoch) const {
  const auto it = owners_.find(epoch);
  if (it != owners_.end()) return it->second;
  return head_.next.epoch == epoch ? head_.next.owner : 0;
}

// ------------------------------------------------------------------------------------ the journal

Result<LogStatePtr> Ledger::resolve(LogId id) {
  if (LogStatePtr state = in_ram(id)) return state;
  if (!forgotten(id)) {
    auto row = view_->log_by_id(id);
    if (!row) return view_status_ = row.status();
    if (*row) return load(**row);
  }
  return Status(Code::kCorrupt,
                "it has entries of log " + std::to_string(id) + ", which does not exist there");
}

// Logs need not become durable in the order of their ids.
Result<bool> Ledger::has_durable(LogId id) {
  if (const LogStatePtr known = in_ram(id)) return known->durable;
  if (forgotten(id)) return true;
  if (id >= head_.log_id_next) return false;
  auto row = view_->log_by_id(id);
  if (!row) return view_status_ = row.status();
  return row->has_value();
}

Status Ledger::check(const SlotHeader& header, const SlotIndex& index, Resolved* resolved) {
  if (!fits(header)) return Status(Code::kCorrupt, "it does not follow the slot before it");
  std::set<LogId> created;
  for (const Record& record : index.records) {
    if (record.type == RecordType::kCreate) {
      auto exists = has_durable(record.log);
      if (!exists) return exists.status();
      if (*exists || !created.insert(record.log).second) {
        return Status(Code::kCorrupt, "it creates a log that exists");
      }
    } else if (record.log != 0 && !created.contains(record.log)) {
      // Of a log that is gone already: without effect.
      auto state = resolve(record.log);
      if (!state && !view_status_.ok()) return state.status();
      if (state) resolved->held.push_back(*std::move(state));
    }
  }
  for (const Run& run : index.runs) {
    if (created.contains(run.log)) {
      if (run.lsn_first != 1) return Status(Code::kCorrupt, "a new log begins with another LSN");
      resolved->runs.push_back(nullptr);  // perhaps not made yet
      continue;
    }
    auto state = resolve(run.log);
    if (!state) return state.status();
    if ((*state)->row.lsn_next != run.lsn_first) {
      return Status(Code::kCorrupt, "its entries of log " + (*state)->name + " begin at LSN " +
                                        std::to_string(run.lsn_first) + ", and not at " +
                                        std::to_string((*state)->row.lsn_next));
    }
    resolved->runs.push_back(*std::move(state));
  }
  return {};
}

Status Ledger::apply(const SlotHeader& header, const Digest& digest, const SlotIndex& index) {
  Resolved resolved;
  view_status_ = {};
  if (Status status = check(header, index, &resolved); !status.ok()) return status;

  for (const Record& record : index.records) {
    if (record.type == RecordType::kCreate) apply_create(record);
  }
  for (size_t i = 0; i < index.runs.size(); ++i) {
    const Run& run = index.runs[i];
    apply_run(header, run, resolved.runs[i] ? *resolved.runs[i] : *by_id_.at(run.log));
  }
  for (const Record& record : index.records) {
    switch (record.type) {
      case RecordType::kCreate:
        break;
      case RecordType::kTruncate:
        apply_truncate(record);
        break;
      case RecordType::kDrop:
        apply_drop(record);
        break;
      case RecordType::kRetain:
      case RecordType::kCursor:
      case RecordType::kCursorDrop:
        apply_settings(record);
        break;
      case RecordType::kPublish:
        apply_publish(header.slot, record);
        break;
      case RecordType::kForget:
        apply_forget(record);
        break;
    }
  }

  const SlotId slot = header.slot;
  owners_[slot.epoch] = slot.owner;
  EpochRow& epoch = epochs_[slot.epoch];
  epoch.epoch = slot.epoch;
  epoch.owner = slot.owner;
  if (header.closed) epoch.closed = true;
  if (header.kind == SlotKind::kFence) {
    epoch.ended = true;
    epoch.fence = slot.seq;
    // Whether the owner had closed cleanly was said by its last slot, which may be in the view.
    if (!epoch.closed && slot.seq != 0) {
      const auto known = view_->epoch(slot.epoch);
      if (known && *known) epoch.closed = (*known)->closed;
    }
    epochs_[slot.epoch + 1] = {slot.epoch + 1, header.author, false, false, 0};
  }
  slots_.push_back({slot.epoch, slot.seq, header.object_bytes(), header.entries});
  head_.last = {slot, digest};
  head_.next = header.next();
  ++head_.slots;
  head_.stored_bytes += header.object_bytes();
  pending_ = true;
  count_pending();
  return {};
}

void Ledger::touch(LogState& state) {
  if (changed_.insert(state.id).second) ++state.unapplied;
}

void Ledger::apply_create(const Record& record) {
  LogStatePtr state = in_ram(record.log);
  if (state == nullptr) {
    state = std::make_shared<LogState>(record.log, record.name);
    by_id_[record.log] = state;
  }
  if (!state->dropping) by_name_[record.name] = state.get();
  state->durable = state->recorded = true;
  head_.log_id_next = std::max(head_.log_id_next, record.log + 1);
  ++head_.logs;
  touch(*state);
}

void Ledger::apply_run(const SlotHeader& header, const Run& run, LogState& state) {
  LogRow& row = state.row;
  state.recent.push_back({run.log, run.lsn_first, run.count, header.slot.epoch, header.slot.seq,
                          row.bytes_end, run.bytes, run.time_first_ms, run.time_last_ms});
  runs_.push_back(state.recent.back());
  row.lsn_next = run.lsn_first + run.count;
  row.bytes_end += run.bytes;
  bytes_added_ += run.bytes;
  row.time_last_ms = run.time_last_ms;
  state.lsn_given = std::max(state.lsn_given, row.lsn_next - 1);
  state.time_given_ms = std::max(state.time_given_ms, row.time_last_ms);
  state.lsn_durable = row.lsn_next - 1;
  touch(state);
  if (state.readers_waiting != 0) state.news.notify_all();
}

void Ledger::apply_truncate(const Record& record) {
  const LogStatePtr state = in_ram(record.log);
  if (state == nullptr) return;
  LogRow& row = state->row;
  if (record.lsn_first <= row.lsn_first || record.lsn_first > row.lsn_next) return;
  row.lsn_first = record.lsn_first;
  const uint64_t bytes_begin = std::min(record.bytes_begin, row.bytes_end);
  bytes_let_go_ += bytes_begin - std::min(row.bytes_begin, bytes_begin);
  row.bytes_begin = bytes_begin;
  while (!state->recent.empty() &&
         state->recent.front().lsn_first + state->recent.front().count <= row.lsn_first) {
    state->recent.pop_front();
  }
  state->lsn_first = row.lsn_first;
  touch(*state);
  if (state->readers_waiting != 0) state->news.notify_all();
}

void Ledger::apply_drop(const Record& record) {
  const LogStatePtr state = in_ram(record.log);
  if (state == nullptr) return;
  state->dropping = true;
  state->dropped = true;
  unname(state, false);
  by_id_.erase(state->id);
  changed_.erase(state->id);
  dropped_.push_back(state->id);
  bytes_let_go_ += state->row.bytes_end - state->row.bytes_begin;
  --head_.logs;
  if (state->readers_waiting != 0) state->news.notify_all();
}

void Ledger::apply_settings(const Record& record) {
  const LogStatePtr state = in_ram(record.log);
  if (state == nullptr) return;
  LogSettings& settings = state->row.settings;
  if (record.type == RecordType::kRetain) {
    settings.retention = record.retention;
    if (state->retains_in_flight != 0) --state->retains_in_flight;
    return touch(*state);
  }
  auto& cursors = settings.cursors;
  const auto at = std::lower_bound(
      cursors.begin(), cursors.end(), record.name,
      [](const CursorRow& row, const std::string& name) { return row.name < name; });
  const bool known = at != cursors.end() && at->name == record.name;
  if (record.type == RecordType::kCursor) {
    // It may have been said while the entry before was under way.
    const CursorRow row{record.name, std::min(record.lsn_first, state->row.lsn_next - 1),
                        record.time_ms};
    if (known) {
      *at = row;
    } else if (cursors.size() < kCursorsMax) {
      cursors.insert(at, row);
    }
  } else if (known) {
    cursors.erase(at);
  }
  if (const auto said = state->said.find(record.name); said != state->said.end()) {
    SaidCursor& cursor = said->second;
    if (cursor.in_flight != 0) --cursor.in_flight;
    if (cursor.in_flight == 0 && cursor.recorded) state->said.erase(said);
  }
  touch(*state);
}

// Where the log's runs lie is the view's to know; those that are still in RAM lie where they did as
// well, until the view has this.
void Ledger::apply_publish(const SlotId& slot, const Record& record) {
  SlotRow segment = record.segment;
  segment.epoch = slot.epoch;
  slots_.push_back(segment);
  head_.stored_bytes += segment.bytes;
  for (RunRow run : record.runs) {
    run.epoch = slot.epoch;
    run.seq = segment.seq;
    published_.push_back(run);
  }
}

void Ledger::apply_forget(const Record& record) {
  for (const ObjectRange& range : record.objects) {
    for (uint64_t i = 0; i < range.count; ++i) {
      forgotten_objects_.push_back({range.epoch, range.seq_first + i});
    }
  }
  head_.stored_bytes -= std::min(head_.stored_bytes, record.segment.bytes);
}

// --------------------------------------------------------------------------------------- the view

void Ledger::count_pending() {
  const uint64_t bytes = runs_.size() * (sizeof(RunRow) * 2) + slots_.size() * sizeof(SlotRow) +
                         published_.size() * sizeof(RunRow) +
                         forgotten_objects_.size() * sizeof(ObjectId) + changed_.size() * 64;
  if (bytes > pending_bytes_) {
    ram_.add(Ram::kIndex, bytes - pending_bytes_);
  } else {
    ram_.sub(Ram::kIndex, pending_bytes_ - bytes);
  }
  pending_bytes_ = bytes;
}

ViewDelta Ledger::take() {
  ViewDelta delta;
  for (const LogId id : changed_) delta.logs.push_back(by_id_.at(id)->row);
  changed_.clear();
  for (RunRow& run : runs_) {
    const LogStatePtr state = in_ram(run.log);
    if (state == nullptr || run.lsn_first + run.count <= state->row.lsn_first) continue;
    delta.runs.push_back(run);
  }
  runs_.clear();
  delta.dropped = std::move(dropped_);
  dropped_.clear();
  for (const auto& [epoch, row] : epochs_) delta.epochs.push_back(row);
  epochs_.clear();
  taken_slots_.insert(taken_slots_.end(), slots_.begin(), slots_.end());
  delta.slots = std::move(slots_);
  slots_.clear();
  delta.published = std::move(published_);
  published_.clear();
  delta.forgotten = std::move(forgotten_objects_);
  forgotten_objects_.clear();
  delta.head = head_;
  pending_ = false;
  taken_bytes_ = pending_bytes_;
  count_pending();
  return delta;
}

void Ledger::applied(const ViewDelta& delta) {
  for (const RunRow& run : delta.runs) {
    const LogStatePtr state = in_ram(run.log);
    if (state == nullptr) continue;
    while (!state->recent.empty() && state->recent.front().lsn_first <= run.lsn_first) {
      state->recent.pop_front();
    }
  }
  for (const LogRow& row : delta.logs) {
    const auto it = by_id_.find(row.id);
    if (it == by_id_.end()) continue;
    --it->second->unapplied;
    let_go(row.id);
  }
  for (const LogId id : delta.dropped) {
    if (kept_in_ram_ != 0) {
      forget_later_.push_back(id);
    } else {
      forgotten_.erase(id);
    }
  }
  taken_slots_.clear();
  taken_bytes_ = 0;
  count_pending();
  ++generation_;
}

std::vector<SlotRow> Ledger::slots_behind() const {
  std::vector<SlotRow> slots = taken_slots_;
  slots.insert(slots.end(), slots_.begin(), slots_.end());
  return slots;
}

}  // namespace wp
