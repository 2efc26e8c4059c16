#include "s3_minimal/messages.h"

#include <charconv>
#include <ctime>
#include <functional>

#include "s3_minimal/url.h"
#include "s3_minimal/xml.h"

namespace wp::s3 {
namespace {

// Calls `leaf` with every element that has ended: its path below the root, as "Contents/Key", and
// its text. False where the document is damaged, or its root is another.
bool walk(std::string_view document, std::string_view root,
          const std::function<void(std::string_view path, const std::string& text)>& leaf,
          const std::function<void(std::string_view path)>& begin = {}) {
  XmlReader reader(document);
  std::string path, text;
  for (;;) {
    switch (reader.next()) {
      case XmlReader::Event::kStart:
        if (reader.open().size() == 1) {
          if (reader.name() != root) return false;
          break;
        }
        if (!path.empty()) path += '/';
        path += reader.name();
        text.clear();
        if (begin) begin(path);
        break;
      case XmlReader::Event::kText:
        text += reader.text();
        break;
      case XmlReader::Event::kEnd: {
        if (reader.open().empty()) break;
        leaf(path, text);
        const size_t slash = path.rfind('/');
        path.resize(slash == std::string::npos ? 0 : slash);
        text.clear();
        break;
      }
      case XmlReader::Event::kDone:
        return true;
      case XmlReader::Event::kError:
        return false;
    }
  }
}

std::optional<uint64_t> parse_number(std::string_view text) {
  text = trim(text);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// The length of the UTF-8 sequence that `text` begins with; 0: it is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80             ? 1
                        : (first & 0xe0) == 0xc0 ? 2
                        : (first & 0xf0) == 0xe0 ? 3
                        : (first & 0xf8) == 0xf0 ? 4
                                                 : 0;
  if (length == 0 || length > text.size()) return 0;
  uint32_t code = length == 1 ? first : first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 63);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
  return code == 0xfffe || code == 0xffff ? 0 : length;
}

}  // namespace

std::optional<ErrorDocument> parse_error(std::string_view document) {
  ErrorDocument error;
  const bool whole = walk(document, "Error", [&](std::string_view path, const std::string& text) {
    if (path == "Code") error.code = text;
    if (path == "Message") error.message = text;
    if (path == "Region") error.region = text;
    if (path == "Endpoint") error.endpoint = text;
    if (path == "Bucket" || path == "BucketName") error.bucket = text;
    if (path == "RequestId") error.request_id = text;
    if (path == "ServerTime") error.server_time_ms = parse_iso_time(text);
    if (path == "ActualObjectSize") error.object_bytes = parse_number(text);
  });
  if (!whole || error.code.empty()) return {};
  return error;
}

std::optional<ListPage> parse_list(std::string_view document) {
  ListPage page;
  bool encoded = false, sound = true, counted = false, listed = false;
  const auto begin = [&](std::string_view path) {
    if (path != "Contents") return;
    page.objects.emplace_back();
    counted = false;
  };
  const auto leaf = [&](std::string_view path, const std::string& text) {
    if (path == "IsTruncated") {
      listed = true;
      page.more = text == "true";
      sound = sound && (text == "true" || text == "false");
    } else if (path == "EncodingType") {
      encoded = text == "url";
    } else if (path == "Contents/Key") {
      page.objects.back().key = text;
    } else if (path == "Contents/Size") {
      const auto bytes = parse_number(text);
      counted = bytes.has_value();
      page.objects.back().bytes = bytes.value_or(0);
    } else if (path == "Contents") {
      sound = sound && counted && !page.objects.back().key.empty();
    }
  };
  if (!walk(document, "ListBucketResult", leaf, begin) || !sound || !listed) return {};
  if (encoded) {
    for (ListedObject& object : page.objects) {
      auto key = percent_decode(object.key, true);
      if (!key) return {};
      object.key = std::move(*key);
    }
  }
  return page;
}

std::string delete_document(std::span<const std::string> keys) {
  std::string out =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
      "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (const std::string& key : keys) {
    out += "<Object><Key>" + escape(key) + "</Key></Object>";
  }
  return out + "<Quiet>true</Quiet></Delete>";
}

bool xml_can_carry(std::string_view key) {
  while (!key.empty()) {
    const size_t length = utf8_length(key);
    if (length == 0 || static_cast<unsigned char>(key[0]) < 0x20 || key[0] == 0x7f) return false;
    key.remove_prefix(length);
  }
  return true;
}

std::optional<std::vector<DeleteFailure>> parse_delete_result(std::string_view document) {
  std::vector<DeleteFailure> failures;
  const auto begin = [&](std::string_view path) {
    if (path == "Error") failures.emplace_back();
  };
  const auto leaf = [&](std::string_view path, const std::string& text) {
    if (path == "Error/Key") failures.back().key = text;
    if (path == "Error/Code") failures.back().code = text;
    if (path == "Error/Message") failures.back().message = text;
  };
  // Ceph and Amazon name the root alike; some call it DeleteObjectsResult.
  if (walk(document, "DeleteResult", leaf, begin)) return failures;
  failures.clear();
  if (walk(document, "DeleteObjectsResult", leaf, begin)) return failures;
  return {};
}

std::optional<std::string> parse_versioning(std::string_view document) {
  std::string status;
  const bool whole = walk(document, "VersioningConfiguration",
                          [&](std::string_view path, const std::string& text) {
                            if (path == "Status") status = text;
                          });
  if (!whole) return {};
  return status;
}

bool LifecycleRule::touches(std::string_view keys_begin) const {
  return keys_begin.starts_with(prefix) || prefix.starts_with(keys_begin);
}

std::optional<std::vector<LifecycleRule>> parse_lifecycle(std::string_view document) {
  std::vector<LifecycleRule> rules;
  LifecycleRule rule;
  bool enabled = false, tagged = false;
  const auto leaf = [&](std::string_view path, const std::string& text) {
    if (path == "Rule/ID") rule.id = text;
    if (path == "Rule/Status") enabled = text == "Enabled";
    if (path == "Rule/Prefix" || path == "Rule/Filter/Prefix" || path == "Rule/Filter/And/Prefix") {
      rule.prefix = text;
    }
    tagged = tagged || path == "Rule/Filter/Tag" || path == "Rule/Filter/And/Tag";
    if (path == "Rule/Expiration/Days") rule.does = "deletes objects after " + text + " days";
    if (path == "Rule/Expiration/Date") rule.does = "deletes objects on " + text;
    const bool archive = text == "GLACIER" || text == "DEEP_ARCHIVE";
    if (path == "Rule/Transition/StorageClass" && archive && rule.does.empty()) {
      rule.does = "moves objects to " + text;
    }
    // Alibaba's words, and Google's, whose rules are all enabled.
    if (path == "Rule/Expiration/CreatedBeforeDate") rule.does = "deletes older objects";
    if (path == "Rule/Condition/MatchesPrefix") rule.prefix = text;
    if (path == "Rule/Action/Delete") {
      rule.does = "deletes objects";
      enabled = true;
    }
    if (path != "Rule") return;
    if (enabled && !tagged && !rule.does.empty()) rules.push_back(rule);
    rule = {};
    enabled = tagged = false;
  };
  if (!walk(document, "LifecycleConfiguration", leaf)) return {};
  return rules;
}

std::optional<int64_t> parse_iso_time(std::string_view text) {
  const std::string copy(trim(text));
  tm parts{};
  const char* rest = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return {};
  int64_t offset_minutes = 0;
  if (*rest == '.') {
    ++rest;
    while (*rest >= '0' && *rest <= '9') ++rest;
  }
  if (*rest == '+' || *rest == '-') {
    int hours = 0, minutes = 0;
    if (sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2) return {};
    offset_minutes = (*rest == '-' ? -1 : 1) * (hours * 60 + minutes);
  } else if (*rest != 'Z' && *rest != '\0') {
    return {};
  }
  return (static_cast<int64_t>(timegm(&parts)) - offset_minutes * 60) * 1000;
}

std::optional<int64_t> parse_http_date(std::string_view text) {
  // Not by strptime: its names of days and months follow the program's locale.
  const std::string copy(trim(text));
  char month[4] = "", zone[4] = "";
  tm parts{};
  const size_t comma = copy.find(", ");
  if (comma == std::string::npos ||
      sscanf(copy.c_str() + comma + 2, "%2d %3s %4d %2d:%2d:%2d %3s", &parts.tm_mday, month,
             &parts.tm_year, &parts.tm_hour, &parts.tm_min, &parts.tm_sec, zone) != 7) {
    return {};
  }
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const size_t at = kMonths.find(month);
  if (at == std::string_view::npos || at % 3 != 0 || std::string_view(month).size() != 3) return {};
  parts.tm_mon = static_cast<int>(at / 3);
  parts.tm_year -= 1900;
  return static_cast<int64_t>(timegm(&parts)) * 1000;
}

}  // namespace wp::s3
