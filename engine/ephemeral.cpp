#include "engine/ephemeral.h"

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

}  // namespace wp
