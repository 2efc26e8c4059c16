// Rows and deltas of views, short to write, and everything that a view answers as one value.
#ifndef WP_TESTS_VIEW_ROWS_H_
#define WP_TESTS_VIEW_ROWS_H_

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/view.h"

namespace wp::view_test {

inline LogRow log_row(LogId id, std::string name, Lsn lsn_first = 1, Lsn lsn_next = 1) {
  LogRow row;
  row.id = id;
  row.name = std::move(name);
  row.lsn_first = lsn_first;
  row.lsn_next = lsn_next;
  row.bytes_end = lsn_next * 10;
  row.time_last_ms = static_cast<int64_t>(lsn_next);
  return row;
}

inline RunRow run_row(LogId log, Lsn lsn_first, uint64_t count, int64_t time_first_ms = 0,
                      int64_t time_last_ms = 0) {
  RunRow row;
  row.log = log;
  row.lsn_first = lsn_first;
  row.count = count;
  row.epoch = 1;
  row.seq = lsn_first;
  row.bytes_begin = lsn_first * 10;
  row.bytes = count * 10;
  row.time_first_ms = time_first_ms;
  row.time_last_ms = time_last_ms;
  return row;
}

inline EpochRow epoch_row(Epoch epoch, Nonce owner, bool ended = false, Seq fence = 0) {
  EpochRow row;
  row.epoch = epoch;
  row.owner = owner;
  row.ended = ended;
  row.closed = ended && fence % 2 == 1;
  row.fence = fence;
  return row;
}

inline SlotRow slot_row(Epoch epoch, Seq seq, uint64_t bytes = 100, uint64_t entries = 1) {
  return {epoch, seq, bytes, entries};
}

// A head that differs from that of any other number.
inline ViewHead head_of(uint64_t number) {
  ViewHead head;
  head.root_id.fill(std::byte{0xab});
  head.last.slot = {1, 77, number};
  head.last.digest.fill(static_cast<std::byte>(number));
  head.next = {1, 77, number + 1};
  head.log_id_next = number + 2;
  head.slots = number;
  head.stored_bytes = number * 1'000;
  head.logs = number / 2;
  return head;
}

inline void must(const Status& status) {
  INFO(status.to_string());
  REQUIRE(status.ok());
}
template <class T>
T got(Result<T> result) {
  must(result.status());
  return *std::move(result);
}

// What a view answers about everything in it.
struct Answers {
  std::optional<ViewHead> head;
  std::vector<LogRow> logs;
  std::vector<RunRow> runs;  // from each log's lsn_first on: what lies before may be there or not
  std::vector<EpochRow> epochs;
  std::vector<SlotRow> slots;
  std::vector<uint64_t> used;  // of each object: its runs, their entries and bytes
  std::vector<RunRow> by_object;
  std::vector<SlotRow> unused, dead;
  std::vector<LogRow> with_settings;
  bool operator==(const Answers&) const = default;
};

inline Status ask_what_reclaiming_asks(View& view, Answers* answers) {
  auto objects = view.objects(0, 0, SIZE_MAX);
  if (!objects) return objects.status();
  for (const ObjectUse& use : *objects) {
    for (const uint64_t number : {use.runs, use.entries, use.bytes}) {
      answers->used.push_back(number);
    }
    auto runs = view.runs_in({use.row.epoch, use.row.seq}, 0, 0, SIZE_MAX);
    if (!runs) return runs.status();
    CHECK(runs->size() == use.runs);
    answers->by_object.insert(answers->by_object.end(), runs->begin(), runs->end());
  }
  auto unused = view.unused(0, 0, SIZE_MAX);
  if (!unused) return unused.status();
  answers->unused = *std::move(unused);
  auto dead = view.dead(UINT64_MAX, SIZE_MAX);
  if (!dead) return dead.status();
  answers->dead = *std::move(dead);
  auto with_settings = view.logs_with_settings(0, SIZE_MAX);
  if (!with_settings) return with_settings.status();
  answers->with_settings = *std::move(with_settings);
  return {};
}

// Asks for every row that a caller can know of; the first error ends it.
inline Status ask_all(View& view, Answers* answers) {
  auto head = view.head();
  if (!head) return head.status();
  answers->head = *head;
  auto logs = view.logs("", SIZE_MAX);
  if (!logs) return logs.status();
  answers->logs = *std::move(logs);
  for (const LogRow& log : answers->logs) {
    auto by_name = view.log_by_name(log.name);
    if (!by_name) return by_name.status();
    CHECK(*by_name == std::optional<LogRow>(log));
    auto by_id = view.log_by_id(log.id);
    if (!by_id) return by_id.status();
    CHECK(*by_id == std::optional<LogRow>(log));
    auto runs = view.runs(log.id, log.lsn_first, SIZE_MAX);
    if (!runs) return runs.status();
    answers->runs.insert(answers->runs.end(), runs->begin(), runs->end());
  }
  auto epochs = view.epochs();
  if (!epochs) return epochs.status();
  answers->epochs = *std::move(epochs);
  auto slots = view.slots(0, 0, SIZE_MAX);
  if (!slots) return slots.status();
  answers->slots = *std::move(slots);
  return ask_what_reclaiming_asks(view, answers);
}

inline Answers all_of(View& view) {
  Answers answers;
  must(ask_all(view, &answers));
  return answers;
}

}  // namespace wp::view_test

#endif  // WP_TESTS_VIEW_ROWS_H_
