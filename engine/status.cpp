// Status, the codes' names, and how a store's answer becomes an error of the API.
#include "engine/status.h"

namespace wp {

struct Status::Detail {
  Code code;
  std::string message;
  Lsn lsn;
};

Status::Status(Code code, std::string message, Lsn lsn)
    : detail_(code == Code::kOk
                  ? nullptr
                  : std::make_shared<const Detail>(Detail{code, std::move(message), lsn})) {}

Code Status::code() const {
  return detail_ ? detail_->code : Code::kOk;
}

const std::string& Status::message() const {
  static const std::string empty;
  return detail_ ? detail_->message : empty;
}

Lsn Status::lsn() const {
  return detail_ ? detail_->lsn : 0;
}

bool Status::retryable() const {
  switch (code()) {
    case Code::kBusy:
    case Code::kTimeout:
    case Code::kUnavailable:
    case Code::kNoSpace:
      return true;
    default:
      return false;
  }
}

std::string Status::to_string() const {
  return ok() ? "ok" : std::string(code_name(code())) + ": " + message();
}

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kOk:
      return "kOk";
    case Code::kInvalid:
      return "kInvalid";
    case Code::kNotFound:
      return "kNotFound";
    case Code::kBusy:
      return "kBusy";
    case Code::kTimeout:
      return "kTimeout";
    case Code::kUnavailable:
      return "kUnavailable";
    case Code::kDenied:
      return "kDenied";
    case Code::kNoSpace:
      return "kNoSpace";
    case Code::kFenced:
      return "kFenced";
    case Code::kClosed:
      return "kClosed";
    case Code::kReadOnly:
      return "kReadOnly";
    case Code::kTruncated:
      return "kTruncated";
    case Code::kDropped:
      return "kDropped";
    case Code::kCorrupt:
      return "kCorrupt";
    case Code::kRolledBack:
      return "kRolledBack";
    case Code::kUnsupported:
      return "kUnsupported";
    case Code::kForked:
      return "kForked";
    case Code::kInternal:
      return "kInternal";
  }
  return "kInternal";
}

Status to_status(const StoreStatus& status) {
  switch (status.answer) {
    case Answer::kOk:
      return {};
    case Answer::kNotFound:
      return Status(Code::kNotFound, status.message);
    case Answer::kDenied:
      return Status(Code::kDenied, status.message);
    case Answer::kNoSpace:
      return Status(Code::kNoSpace, status.message);
    case Answer::kUnsupported:
      return Status(Code::kUnsupported, status.message);
    case Answer::kInvalid:
      return Status(Code::kInvalid, status.message);
    case Answer::kCorrupt:
      return Status(Code::kCorrupt, status.message);
    case Answer::kCancelled:
      return Status(Code::kClosed, status.message);
    case Answer::kExists:
    case Answer::kConflict:
    case Answer::kThrottled:
    case Answer::kUnknown:
      return Status(Code::kUnavailable, status.message);
  }
  return Status(Code::kInternal, status.message);
}

Status too_large(const std::string& tried, uint64_t bytes, uint64_t most, std::string_view todo) {
  return Status(Code::kInvalid, tried + ": it has " + std::to_string(bytes) +
                                    " bytes with its properties, at most " + std::to_string(most) +
                                    " are allowed; " + std::string(todo));
}

}  // namespace wp
