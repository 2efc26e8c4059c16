// JSON as the tool prints it; see json.h.
#include "cli/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "cli/values.h"

namespace wp::cli {
namespace {

void append_escaped(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default: {
      char text[8];
      std::snprintf(text, sizeof(text), "\\u%04x", static_cast<unsigned>(c));
      out += text;
    }
  }
}

void append_utf8_string(std::string& out, std::string_view text) {
  out += '"';
  size_t plain = 0;  // what needs no escape goes over in one piece
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out += text.substr(plain, i - plain);
    append_escaped(out, text[i]);
    plain = i + 1;
  }
  out += text.substr(plain);
  out += '"';
}

// The longest well-formed character at the front, 0 if there is none.
size_t character_bytes(std::string_view text) {
  for (size_t n = 1; n <= std::min<size_t>(4, text.size()); ++n) {
    if (is_utf8(text.substr(0, n))) return n;
  }
  return 0;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  if (is_utf8(text)) {
    append_utf8_string(out, text);
    return;
  }
  std::string repaired;
  while (!text.empty()) {
    const size_t n = character_bytes(text);
    repaired += n == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, n);
    text.remove_prefix(std::max<size_t>(1, n));
  }
  append_utf8_string(out, repaired);
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    out += kDigits[group >> 18 & 63];
    out += kDigits[group >> 12 & 63];
    out += n > 1 ? kDigits[group >> 6 & 63] : '=';
    out += n > 2 ? kDigits[group & 63] : '=';
  }
}

void JsonObject::member(std::string_view key) {
  if (!first_) out_ += ',';
  first_ = false;
  append_json_string(out_, key);
  out_ += ':';
}

JsonObject& JsonObject::number(std::string_view key, uint64_t value) {
  member(key);
  char text[24];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  out_.append(text, end);
  return *this;
}

JsonObject& JsonObject::signed_number(std::string_view key, int64_t value) {
  member(key);
  char text[24];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  out_.append(text, end);
  return *this;
}

JsonObject& JsonObject::real(std::string_view key, double value) {
  if (!std::isfinite(value)) return null(key);
  member(key);
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  out_.append(text, end);
  return *this;
}

JsonObject& JsonObject::text(std::string_view key, std::string_view value) {
  member(key);
  append_json_string(out_, value);
  return *this;
}

JsonObject& JsonObject::boolean(std::string_view key, bool value) {
  member(key);
  out_ += value ? "true" : "false";
  return *this;
}

JsonObject& JsonObject::null(std::string_view key) {
  member(key);
  out_ += "null";
  return *this;
}

JsonObject& JsonObject::bytes(std::string_view key, std::string_view value) {
  if (is_utf8(value)) {
    member(key);
    append_utf8_string(out_, value);
    return *this;
  }
  member(std::string(key) + "_base64");
  out_ += '"';
  append_base64(out_, value);
  out_ += '"';
  return *this;
}

JsonObject& JsonObject::properties(std::string_view key, std::span<const Property> value) {
  const bool utf8 = std::all_of(value.begin(), value.end(), [](const Property& p) {
    return is_utf8(p.key) && is_utf8(p.value);
  });
  if (utf8) {
    member(key);
    JsonObject object(out_);
    for (const Property& p : value) object.text(p.key, p.value);
    object.end();
    return *this;
  }
  member(std::string(key) + "_base64");
  out_ += '[';
  for (size_t i = 0; i < value.size(); ++i) {
    out_ += i == 0 ? "[\"" : ",[\"";
    append_base64(out_, value[i].key);
    out_ += "\",\"";
    append_base64(out_, value[i].value);
    out_ += "\"]";
  }
  out_ += ']';
  return *this;
}

std::string& JsonObject::raw(std::string_view key) {
  member(key);
  return out_;
}

void append_retention_json(JsonObject& object, const Retention& retention) {
  object.signed_number("age_ms", retention.age.count())
      .number("bytes", retention.bytes)
      .boolean("cursors", retention.cursors)
      .signed_number("hold_age_ms", retention.hold_age.count())
      .number("hold_bytes", retention.hold_bytes);
}

}  // namespace wp::cli
