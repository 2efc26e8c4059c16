// One table of all options serves the query of a URL, the checks of what a program sets, and the
// joining of both.
#include "engine/options.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <variant>

#include "engine/text.h"
#include "stores/keys.h"

namespace wp {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;
constexpr int64_t kTiB = int64_t{1} << 40;
constexpr int64_t kDayMs = 86'400'000;
constexpr uint64_t kFragmentsInRamMin = 4;
constexpr size_t kNameBytesMax = 64;  // no option's name is longer

using Field = std::variant<bool Options::*, std::optional<bool> Options::*, int Options::*,
                           uint32_t Options::*, uint64_t Options::*, double Options::*,
                           Duration Options::*, AtLimit Options::*, std::string Options::*>;

struct OptionRow {
  std::string_view name;  // in a URL
  Field field;
  int64_t low = 0, high = 0;  // of a number
};

constexpr OptionRow kRows[] = {
    {"read_only", &Options::read_only},
    {"create", &Options::create},
    {"meta_path", &Options::meta_path},
    {"rebuild", &Options::rebuild},
    {"fragment_bytes_max", &Options::fragment_bytes_max, 4 << 10, kGiB},
    {"block_bytes", &Options::block_bytes, 1 << 10, 64 << 20},
    {"entry_bytes_max", &Options::entry_bytes_max, 1, kGiB},
    {"puts_in_flight_max", &Options::puts_in_flight_max, 1, 256},
    {"linger_ms", &Options::linger, -1, kDayMs},
    {"puts_per_second_max", &Options::puts_per_second_max, 0, 1'000'000},
    {"dollars_per_1000_puts", &Options::dollars_per_1000_puts, 0, 1'000'000},
    {"dollars_per_1000_gets", &Options::dollars_per_1000_gets, 0, 1'000'000},
    {"ram_bytes_max", &Options::ram_bytes_max, 16 << 10, kTiB},
    {"at_limit", &Options::at_limit},
    {"compression_level", &Options::compression_level, -7, 19},
    {"checkpoint_slots", &Options::checkpoint_slots, 16, 1'000'000},
    {"cursor_commit_interval_ms", &Options::cursor_commit_interval, 0, kDayMs},
    {"reclaim_grace_ms", &Options::reclaim_grace, 0, 365 * kDayMs},
    {"compact_objects", &Options::compact_objects, 2, 100'000},
    {"compact_share", &Options::compact_share, 0, 1},
    {"close_timeout_ms", &Options::close_timeout, 0, 365 * kDayMs},
    {"open_timeout_ms", &Options::open_timeout, 0, 365 * kDayMs},
    {"follow_pause_min_ms", &Options::follow_pause_min, 1, kDayMs},
    {"follow_pause_max_ms", &Options::follow_pause_max, 1, kDayMs},
    {"sync", &Options::sync},
    {"allow_network", &Options::allow_network},
    {"exclusive", &Options::exclusive},
    {"endpoint", &Options::endpoint},
    {"region", &Options::region},
    {"ca", &Options::ca},
    {"profile", &Options::profile},
    {"path_style", &Options::path_style},
    {"unsigned_payload", &Options::unsigned_payload},
};

Status invalid(std::string message) {
  return Status(Code::kInvalid, std::move(message));
}

// Of an option: texts may be secrets, and are never given here.
Status wrong_value(const OptionRow& row, std::string_view what, std::string_view wanted) {
  return invalid("option " + std::string(row.name) + ": " + std::string(what) + "; give " +
                 std::string(wanted));
}

std::string range_of(const OptionRow& row) {
  return std::to_string(row.low) + " to " + std::to_string(row.high);
}

std::string quoted(std::string_view text) {
  return "'" + printable_key(text.substr(0, kNameBytesMax)) + "'";
}

// ----------------------------------------------------------------------------- a value of a query

template <class Number>
Status parse_number(const OptionRow& row, std::string_view text, std::string_view kind,
                    Number* number) {
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, *number);
  if (error == std::errc::result_out_of_range && at == end) {
    return wrong_value(row, quoted(text) + " is out of range", range_of(row));
  }
  if (error != std::errc{} || at != end) {
    return wrong_value(row, quoted(text) + " is no " + std::string(kind), range_of(row));
  }
  if (!(*number >= static_cast<Number>(row.low) && *number <= static_cast<Number>(row.high))) {
    return wrong_value(row, quoted(text) + " is out of range", range_of(row));
  }
  return {};
}

Status parse_bool(const OptionRow& row, std::string_view text, bool* value) {
  const bool is_sync = row.name == "sync";
  if (text == "true" || text == "1" || (is_sync && text == "full")) {
    *value = true;
  } else if (text == "false" || text == "0" || (is_sync && text == "process")) {
    *value = false;
  } else {
    return wrong_value(row, quoted(text) + " is none of its values",
                       is_sync ? "full, process, true, false, 1 or 0" : "true, false, 1 or 0");
  }
  return {};
}

// Sets a field from its text, by the field's type.
struct Parser {
  const OptionRow& row;
  const std::string& text;
  Options& options;

  Status operator()(bool Options::*field) const { return parse_bool(row, text, &(options.*field)); }
  Status operator()(std::optional<bool> Options::*field) const {
    return parse_bool(row, text, &(options.*field).emplace());
  }
  Status operator()(Duration Options::*field) const {
    int64_t value = 0;
    if (Status status = parse_number(row, text, "whole number", &value); !status.ok()) {
      return status;
    }
    options.*field = Duration{value};
    return {};
  }
  Status operator()(double Options::*field) const {
    return parse_number(row, text, "number", &(options.*field));
  }
  template <class Integer>
  Status operator()(Integer Options::*field) const {
    int64_t value = 0;
    Status status = parse_number(row, text, "whole number", &value);
    if (status.ok()) options.*field = static_cast<Integer>(value);
    return status;
  }
  Status operator()(AtLimit Options::*field) const {
    if (text != "block" && text != "busy") {
      return wrong_value(row, quoted(text) + " is none of its values", "block or busy");
    }
    options.*field = text == "block" ? AtLimit::kBlock : AtLimit::kBusy;
    return {};
  }
  Status operator()(std::string Options::*field) const {
    if (text.find('\0') != std::string::npos) {
      return wrong_value(row, "it holds a zero byte", "it without one");
    }
    options.*field = text;
    return {};
  }
};

// ---------------------------------------------------------------------- a value set in the program

// Whether a field is in its range, by the field's type.
struct Checker {
  const OptionRow& row;
  const Options& options;

  template <class Number>
  Status in_range(Number value) const {
    if (value >= static_cast<Number>(row.low) && value <= static_cast<Number>(row.high)) return {};
    return wrong_value(row, std::to_string(value) + " is out of range", range_of(row));
  }
  Status operator()(bool Options::*) const { return {}; }
  Status operator()(std::optional<bool> Options::*) const { return {}; }
  Status operator()(AtLimit Options::*) const { return {}; }
  Status operator()(Duration Options::*field) const { return in_range((options.*field).count()); }
  template <class Number>
  Status operator()(Number Options::*field) const {
    return in_range(options.*field);
  }
  Status operator()(std::string Options::*field) const {
    if ((options.*field).find('\0') == std::string::npos) return {};
    return wrong_value(row, "it holds a zero byte", "it without one");
  }
};

Status check_together(const Options& options) {
  if (options.ram_bytes_max / kFragmentsInRamMin < options.fragment_bytes_max) {
    return invalid("option ram_bytes_max: " + std::to_string(options.ram_bytes_max) +
                   " bytes do not hold four fragments of fragment_bytes_max, " +
                   std::to_string(options.fragment_bytes_max) +
                   " bytes; raise the one or lower the other");
  }
  if (options.follow_pause_min > options.follow_pause_max) {
    return invalid("option follow_pause_min: " + std::to_string(options.follow_pause_min.count()) +
                   " ms are more than follow_pause_max, " +
                   std::to_string(options.follow_pause_max.count()) +
                   " ms; raise the one or lower the other");
  }
  return {};
}

// ------------------------------------------------------------------------------------------ a URL

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Nothing where a '%' is not followed by two digits.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return {};
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Status unknown_option(const std::string& name) {
  const auto near = std::min_element(
      std::begin(kRows), std::end(kRows),
      [short_name = name.substr(0, kNameBytesMax)](const OptionRow& a, const OptionRow& b) {
        return typing_errors(short_name, a.name) < typing_errors(short_name, b.name);
      });
  return invalid("option " + quoted(name) + ": there is none of this name; did you mean " +
                 std::string(near->name) + "?");
}

Status parse_query(std::string_view query, Options& options) {
  while (!query.empty()) {
    const std::string_view piece = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(piece.size() + 1, query.size()));
    if (piece.empty()) continue;
    const size_t equals = std::min(piece.find('='), piece.size());
    const auto name = percent_decoded(piece.substr(0, equals));
    if (!name) {
      return invalid(
          "options of the URL: a '%' is not followed by two hex digits; write it as %25");
    }
    const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                   [&](const OptionRow& each) { return each.name == *name; });
    if (row == std::end(kRows)) return unknown_option(*name);
    if (equals == piece.size()) return wrong_value(*row, "it has no value", *name + "=VALUE");
    const auto text = percent_decoded(piece.substr(equals + 1));
    if (!text) {
      return wrong_value(*row, "a '%' is not followed by two hex digits", "a '%' as %25");
    }
    if (Status status = std::visit(Parser{*row, *text, options}, row->field); !status.ok()) {
      return status;
    }
  }
  return {};
}

constexpr std::string_view kKnownPlaces =
    "file:///dir, the path of a directory, mem://name, or s3://bucket/prefix";

Status wrong_url(std::string_view what) {
  return invalid("open a root: " + std::string(what) + "; write " + std::string(kKnownPlaces));
}

// The scheme and the place, from what stands before the '?'.
Status parse_place(std::string_view url, RootUrl& root) {
  const size_t mark = url.find("://");
  if (mark == std::string_view::npos) {
    // A colon in its first part makes it look like a URL that was mistyped.
    const size_t colon = url.find(':');
    if (colon < url.find('/')) {
      return wrong_url("the path begins like a URL (write ./ before it if it is a path)");
    }
    root.place = url;
    return {};
  }
  const std::string_view scheme = url.substr(0, mark), rest = url.substr(mark + 3);
  if (scheme != "file" && scheme != "mem" && scheme != "s3") {
    return wrong_url("there is no scheme " + quoted(scheme));
  }
  if (scheme == "file" && !rest.empty() && rest.front() != '/') {
    return wrong_url("behind file:// stands no absolute path");
  }
  root.scheme = scheme == "file"  ? Scheme::kDirectory
                : scheme == "mem" ? Scheme::kMemory
                                  : Scheme::kS3;
  if (root.scheme == Scheme::kS3) {
    root.place = rest;  // the store's to read: it may hold more than a place
    return {};
  }
  auto place = percent_decoded(rest);
  if (!place) return wrong_url("a '%' is not followed by two hex digits (write it as %25)");
  root.place = *std::move(place);
  return {};
}

}  // namespace

Result<RootUrl> parse_root_url(std::string_view url) {
  RootUrl root;
  const size_t question = std::min(url.find('?'), url.size());
  if (Status status = parse_place(url.substr(0, question), root); !status.ok()) return status;
  if (root.place.empty()) return wrong_url("the place is empty");
  if (root.place.find('\0') != std::string::npos) return wrong_url("the place holds a zero byte");
  const std::string_view query = url.substr(std::min(question + 1, url.size()));
  if (Status status = parse_query(query, root.options); !status.ok()) return status;
  return root;
}

Result<Options> Options::from_url(std::string_view url) {
  auto root = parse_root_url(url);
  if (!root) return root.status();
  return std::move(root->options);
}

Result<Options> join_options(const Options& of_url, const Options& given) {
  static const Options defaults;
  Options options = given;
  if (options.linger < Duration{0}) options.linger = defaults.linger;
  if (options.at_limit == AtLimit::kDefault) options.at_limit = defaults.at_limit;
  for (const OptionRow& row : kRows) {
    std::visit(
        [&](auto field) {
          if (options.*field == defaults.*field) options.*field = of_url.*field;
        },
        row.field);
    if (Status status = std::visit(Checker{row, options}, row.field); !status.ok()) return status;
  }
  if (Status status = check_together(options); !status.ok()) return status;
  return options;
}

}  // namespace wp
