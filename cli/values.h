// What people type and read: numbers, times, sizes, prices, and the nearest known word to a wrong
// one. Pure functions: no clock, no I/O. Parsing is strict: what is not wholly understood is
// refused with a sentence that says what would be.
#ifndef WP_CLI_VALUES_H_
#define WP_CLI_VALUES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/text.h"
#include "wp.h"

namespace wp::cli {

// Decimal digits and nothing else, up to 2^64 - 1. `what` names the value in the message.
Result<uint64_t> parse_number(std::string_view what, std::string_view text);
// The same, from 1.
Result<Lsn> parse_lsn(std::string_view what, std::string_view text);

// Milliseconds since 1970, from: such a number; an ISO 8601 date or date with time (UTC unless it
// names an offset); or how long ago: "-5m", "2h", "3d", "90s".
Result<int64_t> parse_time(std::string_view what, std::string_view text, int64_t now_ms);

// "90s", "12h", "7d", "500ms". Not negative.
Result<Duration> parse_duration(std::string_view what, std::string_view text);
// "100000", "512M", "10G": powers of 1024.
Result<uint64_t> parse_bytes(std::string_view what, std::string_view text);

// "KEY=VALUE", each a view into the text; the value may hold '=' or be empty.
Result<Property> parse_property(std::string_view what, std::string_view text);

std::string human_bytes(uint64_t bytes);      // "512 B", "1.2 MiB"
std::string human_duration(int64_t millis);   // "0.4 s", "3 d 4 h"
std::string human_count(uint64_t count);      // "1,234,567"
std::string human_dollars(double dollars);    // "$0.00006", "$1.24"
std::string iso_time(int64_t time_ms);        // "2026-01-31T12:00:00.123Z"
size_t display_width(std::string_view utf8);  // code points

using wp::is_utf8;
using wp::nearest;
using wp::printable;

}  // namespace wp::cli

#endif  // WP_CLI_VALUES_H_
