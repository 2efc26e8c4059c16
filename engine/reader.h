// A reader of one log: a place, the stretch of entries it stands in, and stretches that are loaded
// ahead. The tail comes from the cache without a request. What was published comes from a queue,
// where its place is reached.
#ifndef WP_ENGINE_READER_H_
#define WP_ENGINE_READER_H_

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "engine/ephemeral.h"
#include "engine/filter.h"
#include "engine/load.h"

namespace wp {

class Reader::Impl {
 public:
  // `lsn_end`: one past the last entry that is wanted; nothing: it waits for what comes.
  static Result<Reader> make(std::shared_ptr<Engine> engine, LogStatePtr log, From from,
                             bool subscribe, const Filter& filter = {});
  ~Impl();

  Result<std::optional<Entry>> next(Duration wait);
  Result<std::span<const Entry>> next_batch(size_t count_max, Duration wait);
  Lsn position() const { return lsn_; }
  Status seek(From from);

 private:
  Impl(std::shared_ptr<Engine> engine, LogStatePtr log, bool subscribe, const Filter& filter);

  Status place(From from);
  Status place_at_time(int64_t time_ms);
  void go_to(Lsn lsn);
  Status check();
  void begin_subscription();
  bool wanted(const Entry& entry) const {
    return filter_ == nullptr || placing_ || filter_->matches(entry);
  }
  bool ephemeral_due() const {
    return subscription_ != nullptr && !placing_ && subscription_->due(lsn_, log_->lsn_durable);
  }
  bool take_ephemeral(Entry* entry);
  Result<bool> take(Entry* entry, TimePoint deadline, bool may_wait);
  Result<bool> advance(TimePoint deadline, bool may_wait);
  void pass_over(Lsn lsn);
  bool open_piece(Status* status);
  Status find_again(std::shared_ptr<Load> load);
  Result<bool> wait_for_news(TimePoint deadline);
  Status plan();
  Result<std::optional<RunRow>> run_at(Lsn lsn);
  Result<bool> wait_for_load(bool may_wait);
  TimePoint deadline_of(Duration wait) const;

  const std::shared_ptr<Engine> engine_;
  EngineCore& core_;
  const LogStatePtr log_;
  const bool subscribe_;
  const std::shared_ptr<const PropertyFilter> filter_;  // null: all entries
  std::unique_ptr<Subscription> subscription_;          // null: of read()
  const uint64_t load_bytes_;
  Lsn lsn_ = 1;               // the next entry's
  Lsn lsn_end_ = UINT64_MAX;  // where a read ends
  EntryCursor cursor_;        // of the piece it stands in
  bool placing_ = false;      // looks for its place: among all that is stored, and nothing else
  size_t piece_next_ = 0;     // of the first load
  std::deque<std::shared_ptr<Load>> loads_;
  size_t depth_ = 1;         // how many loads at once: more, the longer it reads on
  std::deque<RunRow> runs_;  // the next ones
  std::vector<Entry> batch_;
};

}  // namespace wp

#endif  // WP_ENGINE_READER_H_
