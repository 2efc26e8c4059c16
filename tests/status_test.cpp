// Errors: their names, which pass by themselves, and what the answers of stores become.
#include <doctest/doctest.h>

#include <set>

#include "engine/status.h"
#include "tests/test_root.h"

namespace wp {

TEST_CASE("every code has a name of its own, and a status begins with it") {
  std::set<std::string> names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(Code::kInternal); ++i) {
    const auto code = static_cast<Code>(i);
    const std::string name(code_name(code));
    CHECK(name.starts_with("k"));
    CHECK(names.insert(name).second);
    const Status status(code, "what happened", 7);
    CHECK(status.code() == code);
    CHECK(status.ok() == (code == Code::kOk));
    CHECK(status.to_string() == (status.ok() ? "ok" : name + ": what happened"));
    CHECK(status.lsn() == (status.ok() ? 0 : 7));
    CHECK(status.message() == (status.ok() ? "" : "what happened"));
  }
}

TEST_CASE("what passes by itself, or with room on the disk, is worth another try, and only that") {
  for (uint8_t i = 0; i <= static_cast<uint8_t>(Code::kInternal); ++i) {
    const auto code = static_cast<Code>(i);
    CAPTURE(code_name(code));
    const bool expected = code == Code::kBusy || code == Code::kTimeout ||
                          code == Code::kUnavailable || code == Code::kNoSpace;
    CHECK(Status(code, "").retryable() == expected);
  }
}

TEST_CASE("every answer of a store becomes the error that says what to do about it") {
  struct Row {
    Answer answer;
    Code code;
  };
  const Row rows[] = {
      {Answer::kOk, Code::kOk},
      {Answer::kExists, Code::kUnavailable},
      {Answer::kConflict, Code::kUnavailable},
      {Answer::kNotFound, Code::kNotFound},
      {Answer::kThrottled, Code::kUnavailable},
      {Answer::kUnknown, Code::kUnavailable},
      {Answer::kDenied, Code::kDenied},
      {Answer::kNoSpace, Code::kNoSpace},
      {Answer::kUnsupported, Code::kUnsupported},
      {Answer::kInvalid, Code::kInvalid},
      {Answer::kCorrupt, Code::kCorrupt},
      {Answer::kCancelled, Code::kClosed},
  };
  CHECK(std::size(rows) == static_cast<size_t>(Answer::kCancelled) + 1);
  for (const Row& row : rows) {
    CAPTURE(answer_name(row.answer));
    const Status status = to_status({row.answer, "put j/1: what happened", {}});
    CHECK_CODE(status, row.code);
    CHECK(status.message() == (row.code == Code::kOk ? "" : "put j/1: what happened"));
  }
}

}  // namespace wp
