#include "s3_minimal/xml.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace wp::s3 {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

bool name_byte(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == ':' || static_cast<unsigned char>(c) >= 0x80;
}

std::string_view local_name(std::string_view name) {
  const size_t colon = name.rfind(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

bool append_utf8(std::string& out, uint32_t code) {
  if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 63));
    put(0x80 | (code & 63));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 63));
    put(0x80 | (code >> 6 & 63));
    put(0x80 | (code & 63));
  }
  return true;
}

}  // namespace

XmlReader::XmlReader(std::string_view document) : rest_(document) {
  if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
}

XmlReader::Event XmlReader::fail() {
  failed_ = true;
  return Event::kError;
}

XmlReader::Event XmlReader::next() {
  if (failed_) return Event::kError;
  if (end_pending_) {
    end_pending_ = false;
    open_.pop_back();
    qualified_.pop_back();
    return Event::kEnd;
  }
  for (;;) {
    if (open_.empty()) skip_blanks();
    if (rest_.empty()) return open_.empty() && root_seen_ ? Event::kDone : fail();
    if (rest_.starts_with("<?")) {
      if (!skip_past("?>")) return fail();
    } else if (rest_.starts_with("<!--")) {
      rest_.remove_prefix(4);
      if (!skip_past("-->")) return fail();
    } else if (rest_.starts_with("<![CDATA[")) {
      return read_text();
    } else if (rest_.starts_with("</")) {
      return read_end_tag();
    } else if (rest_.starts_with("<")) {
      return read_tag();
    } else {
      return read_text();
    }
  }
}

XmlReader::Event XmlReader::read_text() {
  if (open_.empty()) return fail();
  text_.clear();
  if (rest_.starts_with("<![CDATA[")) {
    rest_.remove_prefix(9);
    const size_t end = rest_.find("]]>");
    if (end == std::string_view::npos) return fail();
    text_ = rest_.substr(0, end);
    rest_.remove_prefix(end + 3);
    return Event::kText;
  }
  while (!rest_.empty() && rest_[0] != '<') {
    if (rest_[0] == '&') {
      if (!read_entity()) return fail();
      continue;
    }
    const size_t end = std::min(rest_.find_first_of("<&"), rest_.size());
    text_ += rest_.substr(0, end);
    rest_.remove_prefix(end);
  }
  return Event::kText;
}

bool XmlReader::read_entity() {
  const size_t end = rest_.substr(0, 16).find(';');
  if (end == std::string_view::npos) return false;
  std::string_view name = rest_.substr(1, end - 1);
  rest_.remove_prefix(end + 1);
  if (name.starts_with('#')) {
    name.remove_prefix(1);
    const bool hexadecimal = name.starts_with('x');
    if (hexadecimal) name.remove_prefix(1);
    uint32_t code = 0;
    const auto [last, error] =
        std::from_chars(name.data(), name.data() + name.size(), code, hexadecimal ? 16 : 10);
    return error == std::errc() && last == name.data() + name.size() && append_utf8(text_, code);
  }
  constexpr std::pair<std::string_view, char> kNamed[] = {
      {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
  for (const auto& [known, character] : kNamed) {
    if (name == known) {
      text_ += character;
      return true;
    }
  }
  return false;
}

XmlReader::Event XmlReader::read_tag() {
  rest_.remove_prefix(1);
  const std::string_view qualified = read_name();
  bool closed = false;
  if (qualified.empty() || open_.size() == kDepthMax || (open_.empty() && root_seen_) ||
      !skip_attributes(&closed)) {
    return fail();
  }
  root_seen_ = true;
  name_ = local_name(qualified);
  open_.push_back(name_);
  qualified_.push_back(qualified);
  end_pending_ = closed;
  return Event::kStart;
}

XmlReader::Event XmlReader::read_end_tag() {
  rest_.remove_prefix(2);
  const std::string_view qualified = read_name();
  skip_blanks();
  if (open_.empty() || qualified != qualified_.back() || !rest_.starts_with('>')) return fail();
  rest_.remove_prefix(1);
  name_ = open_.back();
  open_.pop_back();
  qualified_.pop_back();
  return Event::kEnd;
}

bool XmlReader::skip_attributes(bool* closed) {
  for (;;) {
    const bool blank = !rest_.empty() && kBlank.find(rest_[0]) != std::string_view::npos;
    skip_blanks();
    if (rest_.starts_with('>')) {
      rest_.remove_prefix(1);
      return true;
    }
    if (rest_.starts_with("/>")) {
      rest_.remove_prefix(2);
      *closed = true;
      return true;
    }
    if (!blank || read_name().empty()) return false;
    skip_blanks();
    if (!rest_.starts_with('=')) return false;
    rest_.remove_prefix(1);
    skip_blanks();
    if (rest_.empty() || (rest_[0] != '"' && rest_[0] != '\'')) return false;
    const std::string_view quote = rest_.substr(0, 1);
    rest_.remove_prefix(1);
    if (!skip_past(quote)) return false;
  }
}

bool XmlReader::skip_past(std::string_view end) {
  const size_t at = rest_.find(end);
  if (at == std::string_view::npos) return false;
  rest_.remove_prefix(at + end.size());
  return true;
}

std::string_view XmlReader::read_name() {
  size_t length = 0;
  while (length < rest_.size() && name_byte(rest_[length])) ++length;
  const std::string_view name = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return name;
}

void XmlReader::skip_blanks() {
  rest_.remove_prefix(std::min(rest_.find_first_not_of(kBlank), rest_.size()));
}

}  // namespace wp::s3
