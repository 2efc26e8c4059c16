// The names and the cost meter that all stores share.
#include "stores/object_store.h"

namespace wp {

std::string_view answer_name(Answer answer) {
  switch (answer) {
    case Answer::kOk:
      return "kOk";
    case Answer::kExists:
      return "kExists";
    case Answer::kConflict:
      return "kConflict";
    case Answer::kNotFound:
      return "kNotFound";
    case Answer::kThrottled:
      return "kThrottled";
    case Answer::kUnknown:
      return "kUnknown";
    case Answer::kDenied:
      return "kDenied";
    case Answer::kNoSpace:
      return "kNoSpace";
    case Answer::kUnsupported:
      return "kUnsupported";
    case Answer::kInvalid:
      return "kInvalid";
    case Answer::kCorrupt:
      return "kCorrupt";
    case Answer::kCancelled:
      return "kCancelled";
  }
  return "?";
}

std::string_view cause_name(Cause cause) {
  switch (cause) {
    case Cause::kOpen:
      return "open";
    case Cause::kFlush:
      return "flush";
    case Cause::kRead:
      return "read";
    case Cause::kCheckpoint:
      return "checkpoint";
    case Cause::kVerify:
      return "verify";
    case Cause::kProbe:
      return "probe";
    case Cause::kCompact:
      return "compact";
    case Cause::kReclaim:
      return "reclaim";
  }
  return "?";
}

std::string_view operation_name(Operation operation) {
  switch (operation) {
    case Operation::kPut:
      return "put";
    case Operation::kGet:
      return "get";
    case Operation::kList:
      return "list";
    case Operation::kDelete:
      return "delete";
  }
  return "?";
}

void Meter::add(Operation operation, Cause cause, Answer answer, uint64_t bytes) {
  Cell& cell = cells_[static_cast<size_t>(operation)][static_cast<size_t>(cause)];
  const bool failed =
      answer != Answer::kOk && answer != Answer::kExists && answer != Answer::kNotFound;
  cell.requests.fetch_add(1, std::memory_order_relaxed);
  if (failed) cell.failed.fetch_add(1, std::memory_order_relaxed);
  if (bytes != 0) cell.bytes.fetch_add(bytes, std::memory_order_relaxed);
}

Meter::Count Meter::count(Operation operation, Cause cause) const {
  const Cell& cell = cells_[static_cast<size_t>(operation)][static_cast<size_t>(cause)];
  return {cell.requests.load(std::memory_order_relaxed),
          cell.failed.load(std::memory_order_relaxed), cell.bytes.load(std::memory_order_relaxed)};
}

uint64_t Meter::requests() const {
  uint64_t sum = 0;
  for (const auto& row : cells_) {
    for (const Cell& cell : row) sum += cell.requests.load(std::memory_order_relaxed);
  }
  return sum;
}

}  // namespace wp
