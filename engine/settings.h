// What was said about a log as a whole, as bytes: one way for records, checkpoints and the view's
// database. The bytes are described in docs/FORMAT.md.
#ifndef WP_ENGINE_SETTINGS_H_
#define WP_ENGINE_SETTINGS_H_

#include <string_view>

#include "engine/bytes.h"
#include "engine/view.h"

namespace wp {

// Whether it can be written: no time is negative.
bool makes_sense(const Retention& retention);
void put_retention(ByteVector& out, const Retention& retention);
// False: it is cut, or makes no sense.
bool read_retention(ByteParser& in, Retention* retention);

bool is_cursor_name(std::string_view name);
void put_cursor(ByteVector& out, const CursorRow& cursor);
bool read_cursor(ByteParser& in, CursorRow* cursor);

// Whether they can be written: so does the retention, and the cursors are not too many, in order
// and within their limits.
bool makes_sense(const LogSettings& settings);
void put_settings(ByteVector& out, const LogSettings& settings);
// Empty ones are never written, and are refused.
bool read_settings(ByteParser& in, LogSettings* settings);

}  // namespace wp

#endif  // WP_ENGINE_SETTINGS_H_
