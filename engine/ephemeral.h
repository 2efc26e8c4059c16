// Entries that are stored nowhere, on their way from publish() to the subscribers that their log
// has in this process. Each subscriber has a queue of its own; the bytes are shared.
//
// A place in the order of the log is kept for each: behind the LSN that was given out last. What is
// appended later is made durable later still, so a subscriber that looks at its queue when it has
// the next stored entry in hand never gives the two in the wrong order.
#ifndef WP_ENGINE_EPHEMERAL_H_
#define WP_ENGINE_EPHEMERAL_H_

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "engine/bytes.h"
#include "engine/filter.h"
#include "engine/ram.h"
#include "wp.h"

namespace wp {

class EngineCore;
class LogState;

struct Ephemeral {
  Ephemeral(Bytes properties, Bytes payload);

  Lsn after = 0;  // comes behind this entry
  int64_t time_ms = 0;
  ByteVector bytes;  // properties as encoded, and the payload
  const size_t properties_bytes;
  uint32_t queues = 0;  // that it stands in

  Bytes properties() const { return Bytes(bytes).first(properties_bytes); }
  Bytes payload() const { return Bytes(bytes).subspan(properties_bytes); }
  uint64_t ram_bytes() const { return sizeof *this + bytes.capacity(); }
};
using EphemeralPtr = std::shared_ptr<Ephemeral>;

// The queue of one subscriber. With the engine's lock held, but for due() and place().
class Subscription {
 public:
  static constexpr size_t kEntriesMax = 1000;

  // `filter` may be null, and outlives it.
  Subscription(RamBudget& ram, const PropertyFilter* filter) : ram_(ram), filter_(filter) {}
  ~Subscription() { clear(); }
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // The LSN before which something of the queue comes; UINT64_MAX: it is empty.
  Lsn place() const { return place_.load(std::memory_order_acquire); }
  // Whether it is its turn for a subscriber that will read `lsn` next.
  bool due(Lsn lsn, Lsn durable) const {
    const Lsn place = this->place();
    return lsn >= place && durable >= place - 1;
  }

  bool wants(const Ephemeral& entry) const {
    return filter_ == nullptr || filter_->matches(entry.properties());
  }
  bool has_room(uint64_t bytes) const;
  bool empty() const { return queue_.empty(); }
  void push(const EphemeralPtr& entry);
  EphemeralPtr pop();  // the oldest, if there is one
  // Lets go of those whose place lies before `lsn`.
  void forget_before(Lsn lsn);
  void clear();

  static void fill(const EphemeralPtr& from, Entry* entry);

 private:
  void set_place();

  RamBudget& ram_;
  const PropertyFilter* const filter_;
  std::deque<EphemeralPtr> queue_;
  uint64_t bytes_ = 0;  // of all in the queue
  std::atomic<Lsn> place_{UINT64_MAX};
};

// To those who subscribe to the log now; nothing waits for anything. As Log::publish says.
Status publish(EngineCore& core, LogState& log, Bytes payload,
               std::span<const Property> properties);

}  // namespace wp

#endif  // WP_ENGINE_EPHEMERAL_H_
