// JSON as the tool prints it: one object a line, in the order in which members are given. Output
// is always valid JSON: bytes that are no UTF-8 never reach it raw.
#ifndef WP_CLI_JSON_H_
#define WP_CLI_JSON_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "wp.h"

namespace wp::cli {

// Appends `text` in quotes. What is no UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);
void append_base64(std::string& out, std::string_view bytes);

class JsonObject {
 public:
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  JsonObject(const JsonObject&) = delete;
  JsonObject& operator=(const JsonObject&) = delete;

  JsonObject& number(std::string_view key, uint64_t value);
  JsonObject& signed_number(std::string_view key, int64_t value);
  JsonObject& real(std::string_view key, double value);
  JsonObject& text(std::string_view key, std::string_view value);
  JsonObject& boolean(std::string_view key, bool value);
  JsonObject& null(std::string_view key);
  // "<key>", or "<key>_base64" where the bytes are no UTF-8.
  JsonObject& bytes(std::string_view key, std::string_view value);
  // An object of strings; where one is no UTF-8, "<key>_base64": a list of [key, value].
  JsonObject& properties(std::string_view key, std::span<const Property> value);
  // The member's value is what the caller appends next to the text.
  std::string& raw(std::string_view key);
  void end() { out_ += '}'; }
  void end_line() { out_ += "}\n"; }

 private:
  void member(std::string_view key);
  std::string& out_;
  bool first_ = true;
};

// "age_ms", "bytes", "cursors", "hold_age_ms" and "hold_bytes".
void append_retention_json(JsonObject& object, const Retention& retention);

}  // namespace wp::cli

#endif  // WP_CLI_JSON_H_
