#include "engine/ephemeral.h"

#include <algorithm>

#include "engine/status.h"
#include "engine/writer.h"

namespace wp {

Ephemeral::Ephemeral(Bytes properties, Bytes payload) : properties_bytes(properties.size()) {
  bytes.reserve(properties.size() + payload.size());
  put_bytes(bytes, properties);
  put_bytes(bytes, payload);
}

bool Subscription::has_room(uint64_t bytes) const {
  return queue_.size() < kEntriesMax && bytes_ + bytes <= ram_.ephemeral_queue_max();
}

void Subscription::set_place() {
  place_.store(queue_.empty() ? UINT64_MAX : queue_.front()->after + 1, std::memory_order_release);
}

// RAM is counted once, however many queues an entry stands in.
void Subscription::push(const EphemeralPtr& entry) {
  if (entry->queues++ == 0) ram_.add(Ram::kEphemeral, entry->ram_bytes());
  bytes_ += entry->ram_bytes();
  queue_.push_back(entry);
  if (queue_.size() == 1) set_place();
}

EphemeralPtr Subscription::pop() {
  if (queue_.empty()) return nullptr;
  EphemeralPtr entry = std::move(queue_.front());
  queue_.pop_front();
  bytes_ -= entry->ram_bytes();
  if (--entry->queues == 0) ram_.sub(Ram::kEphemeral, entry->ram_bytes());
  set_place();
  return entry;
}

void Subscription::forget_before(Lsn lsn) {
  while (!queue_.empty() && queue_.front()->after + 1 < lsn) pop();
}

void Subscription::clear() {
  while (!queue_.empty()) pop();
}

void Subscription::fill(const EphemeralPtr& from, Entry* entry) {
  entry->lsn = from->after;
  entry->time_ms = from->time_ms;
  entry->payload = from->payload();
  entry->properties_ = from->properties();
  entry->stored = false;
  entry->hold_ = from;
}

namespace {

// Drops what is oldest in the queues of the log while all logs together have too much. False: those
// of other logs alone are too much.
bool make_room(EngineCore& core, LogState& log, uint64_t bytes) WP_REQUIRES(core.mutex) {
  while (core.ram.of(Ram::kEphemeral) + bytes > core.ram.ephemeral_max()) {
    const auto oldest = std::min_element(
        log.subscriptions.begin(), log.subscriptions.end(),
        [](const Subscription* a, const Subscription* b) { return a->place() < b->place(); });
    if (oldest == log.subscriptions.end() || (*oldest)->empty()) return false;
    (*oldest)->pop();
    ++core.ephemeral.dropped;
  }
  return true;
}

}  // namespace

Status publish(EngineCore& core, LogState& log, Bytes payload,
               std::span<const Property> properties) {
  const Bytes encoded = encoded_properties(properties);
  const uint64_t bytes = payload.size() + encoded.size();
  const uint64_t queue_max = core.ram.ephemeral_queue_max();
  const uint64_t ram_most = queue_max - std::min(queue_max, uint64_t{sizeof(Ephemeral)});
  const uint64_t most = std::min(core.options.entry_bytes_max, ram_most);
  if (bytes > most) {
    return too_large("publish to " + log.name, bytes, most,
                     most == ram_most ? "raise ram_bytes_max, or append it"
                                      : "raise entry_bytes_max, or split it");
  }
  // Copied, and at the end freed, with no lock held; where nobody listens, not at all.
  const bool anybody = log.subscribers.load(std::memory_order_acquire) != 0;
  const auto entry = anybody ? std::make_shared<Ephemeral>(encoded, payload) : nullptr;
  MutexLock lock(core.mutex);
  if (Status status = core.writer->refusal(log); !status.ok()) return status;
  ++core.ephemeral.published;
  if (entry == nullptr) return {};
  entry->after = log.lsn_given;
  entry->time_ms = log.time_given_ms = std::max(log.time_given_ms, core.runtime->wall_ms());
  const bool fits = make_room(core, log, entry->ram_bytes());
  for (Subscription* subscription : log.subscriptions) {
    if (!subscription->wants(*entry)) continue;
    if (!fits) {
      ++core.ephemeral.dropped;
      continue;
    }
    while (!subscription->has_room(entry->ram_bytes())) {
      subscription->pop();
      ++core.ephemeral.dropped;
    }
    subscription->push(entry);
  }
  if (log.readers_waiting != 0) log.news.notify_all();
  return {};
}

}  // namespace wp
