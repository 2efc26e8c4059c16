// What people type and read; see values.h.
#include "cli/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <vector>

namespace wp::cli {
namespace {

Status wrong(std::string_view what, std::string_view text, std::string_view wanted) {
  return Status(Code::kInvalid,
                std::string(what) + ": '" + printable(text) + "' is " + std::string(wanted));
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Takes exactly `count` digits off the front.
std::optional<int> take_digits(std::string_view& text, size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!is_digit(text[i])) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// "12:34:56.789" or "12:34", as milliseconds of the day.
std::optional<int64_t> take_clock(std::string_view& text) {
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  int64_t millis = (*hour * 60 + *minute) * int64_t{60'000};
  if (!take(text, ':')) return millis;
  const auto second = take_digits(text, 2);
  if (!second || *second > 59) return std::nullopt;
  millis += *second * 1000;
  if (!take(text, '.')) return millis;
  int64_t unit = 100;
  size_t digits = 0;
  while (!text.empty() && is_digit(text.front())) {
    millis += (text.front() - '0') * unit;
    unit /= 10;
    ++digits;
    text.remove_prefix(1);
  }
  if (digits == 0) return std::nullopt;
  return millis;
}

// "Z", "+02:00", "-0530", or nothing: what is to be taken off to get UTC.
std::optional<int64_t> take_offset(std::string_view& text) {
  if (text.empty() || take(text, 'Z') || take(text, 'z')) return 0;
  const bool plus = text.front() == '+';
  if (!plus && text.front() != '-') return std::nullopt;
  text.remove_prefix(1);
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23) return std::nullopt;
  take(text, ':');
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  const int64_t millis = (*hour * 60 + *minute) * int64_t{60'000};
  return plus ? millis : -millis;
}

std::optional<int64_t> parse_iso(std::string_view text) {
  const auto year = take_digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  int64_t millis = days * int64_t{86'400'000};
  if (text.empty()) return millis;
  if (!take(text, 'T') && !take(text, 't') && !take(text, ' ')) return std::nullopt;
  const auto clock = take_clock(text);
  if (!clock) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  return millis + *clock - *offset;
}

// "5m" as milliseconds.
std::optional<int64_t> parse_ago(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  int64_t unit = 0;
  switch (text.back()) {
    case 's':
      unit = 1000;
      break;
    case 'm':
      unit = 60'000;
      break;
    case 'h':
      unit = 3'600'000;
      break;
    case 'd':
      unit = 86'400'000;
      break;
    default:
      return std::nullopt;
  }
  const auto number = parse_number("", text.substr(0, text.size() - 1));
  if (!number || *number > static_cast<uint64_t>(INT64_MAX / unit)) return std::nullopt;
  return static_cast<int64_t>(*number) * unit;
}

}  // namespace

Result<uint64_t> parse_number(std::string_view what, std::string_view text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc::result_out_of_range && at == end) {
    return wrong(what, text, "more than 18446744073709551615; give a smaller number");
  }
  if (error != std::errc() || at != end) return wrong(what, text, "no whole number");
  return value;
}

Result<Lsn> parse_lsn(std::string_view what, std::string_view text) {
  auto value = parse_number(what, text);
  if (value && *value == 0) return wrong(what, text, "no LSN; the first entry of a log is 1");
  return value;
}

Result<int64_t> parse_time(std::string_view what, std::string_view text, int64_t now_ms) {
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
  if (digits) {
    const auto number = parse_number(what, text);
    if (number && *number <= static_cast<uint64_t>(INT64_MAX)) {
      return static_cast<int64_t>(*number);
    }
    return wrong(what, text, "beyond all time; give milliseconds since 1970");
  }
  if (const auto iso = parse_iso(text)) return *iso;
  const bool minus = !text.empty() && text.front() == '-';
  if (const auto ago = parse_ago(text.substr(minus ? 1 : 0))) {
    return std::max<int64_t>(0, now_ms - std::min(now_ms, *ago));
  }
  return wrong(what, text,
               "no time; give 2026-01-31, 2026-01-31T12:00:00Z, milliseconds since 1970, or how "
               "long ago: 90s, 5m, 2h, 3d");
}

Result<Duration> parse_duration(std::string_view what, std::string_view text) {
  std::optional<int64_t> millis = parse_ago(text);
  if (!millis && text.ends_with("ms")) {
    const auto number = parse_number(what, text.substr(0, text.size() - 2));
    if (number && *number <= static_cast<uint64_t>(INT64_MAX)) {
      millis = static_cast<int64_t>(*number);
    }
  }
  if (millis) return Duration{*millis};
  return wrong(what, text, "no length of time; give 90s, 5m, 12h, 7d or 500ms");
}

Result<uint64_t> parse_bytes(std::string_view what, std::string_view text) {
  static constexpr std::string_view kUnits = "KMGTP";
  const size_t unit = text.empty() ? kUnits.npos : kUnits.find(text.back());
  const int shift = unit == kUnits.npos ? 0 : static_cast<int>(unit + 1) * 10;
  const auto number = parse_number(what, text.substr(0, text.size() - (shift == 0 ? 0 : 1)));
  if (!number || *number > UINT64_MAX >> shift) {
    return wrong(what, text, "no size; give bytes, or 512K, 100M, 10G, 2T");
  }
  return *number << shift;
}

Result<Property> parse_property(std::string_view what, std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == text.npos || equals == 0) return wrong(what, text, "not KEY=VALUE");
  return Property{text.substr(0, equals), text.substr(equals + 1)};
}

std::string human_bytes(uint64_t bytes) {
  static constexpr std::array<const char*, 7> kUnits = {"B",   "KiB", "MiB", "GiB",
                                                        "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {  // what would be shown as 1024.0
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string human_duration(int64_t millis) {
  if (millis < 0) return "-" + human_duration(millis == INT64_MIN ? INT64_MAX : -millis);
  char text[64];
  if (millis < 10'000) {
    std::snprintf(text, sizeof(text), "%.1f s", static_cast<double>(millis / 100) / 10);
    return text;
  }
  const auto pair = [&](int64_t big, const char* big_unit, int64_t small, const char* small_unit) {
    if (small == 0) {
      std::snprintf(text, sizeof(text), "%lld %s", static_cast<long long>(big), big_unit);
    } else {
      std::snprintf(text, sizeof(text), "%lld %s %lld %s", static_cast<long long>(big), big_unit,
                    static_cast<long long>(small), small_unit);
    }
    return std::string(text);
  };
  const int64_t seconds = millis / 1000;
  if (seconds < 60) return std::to_string(seconds) + " s";
  if (seconds < 3600) return pair(seconds / 60, "min", seconds % 60, "s");
  if (seconds < 86'400) return pair(seconds / 3600, "h", seconds / 60 % 60, "min");
  return pair(seconds / 86'400, "d", seconds / 3600 % 24, "h");
}

std::string human_count(uint64_t count) {
  std::string text = std::to_string(count);
  for (size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string human_dollars(double dollars) {
  if (!(dollars > 0)) return "$0";
  // Two digits that count, but always whole cents.
  const int decimals = std::clamp(static_cast<int>(1 - std::floor(std::log10(dollars))), 2, 12);
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", decimals, dollars);
  std::string out = text;
  const size_t point = out.find('.');
  while (out.size() > point + 3 && out.back() == '0') out.pop_back();
  return "$" + out;
}

std::string iso_time(int64_t time_ms) {
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(time_ms)};
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(days);
  const std::chrono::hh_mm_ss clock(time - days);
  char text[96];
  std::snprintf(
      text, sizeof(text), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text;
}

size_t display_width(std::string_view utf8) {
  return static_cast<size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace wp::cli
