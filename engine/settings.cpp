#include "engine/settings.h"

#include "engine/format.h"

namespace wp {
namespace {

// A time is given in milliseconds and is never negative, so that no sign is needed.
bool read_duration(ByteParser& in, Duration* duration) {
  const uint64_t ms = in.varint();
  *duration = Duration{static_cast<Duration::rep>(ms)};
  return in.ok() && ms < kNumberEnd;
}

bool makes_sense(const CursorRow& cursor) {
  return is_cursor_name(cursor.name) && cursor.committed < kNumberEnd;
}

}  // namespace

bool makes_sense(const Retention& retention) {
  return retention.age >= Duration{0} && retention.hold_age >= Duration{0};
}

void put_retention(ByteVector& out, const Retention& retention) {
  put_varint(out, static_cast<uint64_t>(retention.age.count()));
  put_varint(out, retention.bytes);
  put_fixed<uint8_t>(out, retention.cursors ? 1 : 0);
  put_varint(out, static_cast<uint64_t>(retention.hold_age.count()));
  put_varint(out, retention.hold_bytes);
}

bool read_retention(ByteParser& in, Retention* retention) {
  if (!read_duration(in, &retention->age)) return false;
  retention->bytes = in.varint();
  const auto cursors = in.fixed<uint8_t>();
  retention->cursors = cursors == 1;
  if (cursors > 1 || !read_duration(in, &retention->hold_age)) return false;
  retention->hold_bytes = in.varint();
  return in.ok();
}

bool is_cursor_name(std::string_view name) {
  return !name.empty() && name.size() <= kCursorNameBytesMax;
}

void put_cursor(ByteVector& out, const CursorRow& cursor) {
  put_text(out, cursor.name);
  put_varint(out, cursor.committed);
  put_varint(out, zigzag(cursor.time_ms));
}

bool read_cursor(ByteParser& in, CursorRow* cursor) {
  cursor->name = in.text();
  cursor->committed = in.varint();
  cursor->time_ms = unzigzag(in.varint());
  return in.ok() && makes_sense(*cursor);
}

bool makes_sense(const LogSettings& settings) {
  std::string_view before;
  for (const CursorRow& cursor : settings.cursors) {
    if (!makes_sense(cursor) || cursor.name <= before) return false;
    before = cursor.name;
  }
  return settings.cursors.size() <= kCursorsMax && makes_sense(settings.retention);
}

void put_settings(ByteVector& out, const LogSettings& settings) {
  put_retention(out, settings.retention);
  put_varint(out, settings.cursors.size());
  for (const CursorRow& cursor : settings.cursors) put_cursor(out, cursor);
}

bool read_settings(ByteParser& in, LogSettings* settings) {
  if (!read_retention(in, &settings->retention)) return false;
  const uint64_t cursors = in.varint();
  if (cursors > kCursorsMax) return false;
  for (uint64_t i = 0; i < cursors; ++i) {
    if (!read_cursor(in, &settings->cursors.emplace_back())) return false;
  }
  return in.ok() && !settings->empty() && makes_sense(*settings);
}

}  // namespace wp
