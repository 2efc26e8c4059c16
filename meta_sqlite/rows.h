// Rows of the view's tables as bound parameters and as result columns. Both ways run the values
// through a CRC32C in the order of the columns, so that the sum that ends every row is written and
// checked by the same walk that writes and reads it.
//
// The sum covers: a letter for the table, then each column as 8 bytes, little-endian; of a text or
// blob its length and the bytes.
#ifndef WP_META_SQLITE_ROWS_H_
#define WP_META_SQLITE_ROWS_H_

#include <sqlite3.h>

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>

#include "engine/bytes.h"
#include "engine/view.h"

namespace wp {

class RowSum {
 public:
  explicit RowSum(char table) {
    bytes_.reserve(160);
    bytes_.push_back(static_cast<std::byte>(table));
  }
  void add(uint64_t value) { put_fixed(bytes_, value); }
  void add(Bytes bytes) {
    add(uint64_t{bytes.size()});
    put_bytes(bytes_, bytes);
  }
  // Signed: half of all sums then need no fifth and sixth byte in SQLite's encoding.
  int32_t value() const { return std::bit_cast<int32_t>(crc32c(bytes_)); }

 private:
  ByteVector bytes_;
};

// One use of a prepared statement, not null. It is reset at the end of the scope, so that it holds
// no lock and no borrowed bytes.
class Use {
 public:
  explicit Use(sqlite3_stmt* statement) : statement_(statement) {}
  ~Use() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

  // Parameters in their order. What is borrowed must outlive the use.
  void bind(uint64_t value) {
    note(sqlite3_bind_int64(statement_, ++parameter_, std::bit_cast<sqlite3_int64>(value)));
  }
  void bind_text(std::string_view text) {
    // A null pointer would bind NULL; an empty text is none.
    const char* data = text.data() == nullptr ? "" : text.data();
    note(sqlite3_bind_text64(statement_, ++parameter_, data, text.size(), SQLITE_STATIC,
                             SQLITE_UTF8));
  }
  void bind_blob(Bytes bytes) {
    note(sqlite3_bind_blob64(statement_, ++parameter_, bytes.data(), bytes.size(), SQLITE_STATIC));
  }
  void bind_blob_copied(Bytes bytes) {
    const void* data = bytes.empty() ? static_cast<const void*>("") : bytes.data();
    note(sqlite3_bind_blob64(statement_, ++parameter_, data, bytes.size(), SQLITE_TRANSIENT));
  }
  // SQLITE_ROW, SQLITE_DONE or an error, also of a bind before.
  int step() { return rc_ == SQLITE_OK ? sqlite3_step(statement_) : rc_; }
  // To run it again with other parameters.
  void again() {
    note(sqlite3_reset(statement_));
    parameter_ = 0;
  }

 private:
  void note(int rc) {
    if (rc_ == SQLITE_OK) rc_ = rc;
  }
  sqlite3_stmt* const statement_;
  int parameter_ = 0;
  int rc_ = SQLITE_OK;
};

// Binds the columns of a row one after the other, and its sum at last.
class RowWriter {
 public:
  RowWriter(Use& use, char table) : use_(use), sum_(table) {}

  void number(uint64_t value) {
    use_.bind(value);
    sum_.add(value);
  }
  void time(int64_t value) { number(std::bit_cast<uint64_t>(value)); }
  void text(std::string_view value) {
    use_.bind_text(value);
    sum_.add(as_bytes(value));
  }
  void blob(Bytes value) {
    use_.bind_blob(value);
    sum_.add(value);
  }
  // The same, of bytes that are gone before the statement runs.
  void blob_copied(Bytes value) {
    use_.bind_blob_copied(value);
    sum_.add(value);
  }
  void finish() { use_.bind(static_cast<uint64_t>(int64_t{sum_.value()})); }

 private:
  Use& use_;
  RowSum sum_;
};

// Reads the columns of the current row one after the other. Nothing of it counts before ok().
class RowReader {
 public:
  RowReader(sqlite3_stmt* statement, char table) : statement_(statement), sum_(table) {}

  uint64_t number() {
    const auto value = std::bit_cast<uint64_t>(sqlite3_column_int64(statement_, column_++));
    sum_.add(value);
    return value;
  }
  int64_t time() { return std::bit_cast<int64_t>(number()); }
  template <class T>
  T small() {
    const uint64_t value = number();
    fits_ = fits_ && value == static_cast<T>(value);
    return static_cast<T>(value);
  }
  std::string text() {
    const Bytes value = blob();
    return std::string(as_text(value));
  }
  template <size_t N>
  std::array<std::byte, N> array() {
    std::array<std::byte, N> out{};
    const Bytes value = blob();
    fits_ = fits_ && value.size() == N;
    if (value.size() == N) std::memcpy(out.data(), value.data(), N);
    return out;
  }
  // Borrowed until the next row.
  Bytes blob() {
    const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column_));
    const Bytes value{data, static_cast<size_t>(sqlite3_column_bytes(statement_, column_))};
    ++column_;
    sum_.add(value);
    return value;
  }
  // What a column holds makes no sense.
  void refuse() { fits_ = false; }
  // After the last column: the row is what was written.
  bool ok() { return fits_ && sqlite3_column_int64(statement_, column_) == sum_.value(); }

 private:
  sqlite3_stmt* const statement_;
  RowSum sum_;
  int column_ = 0;
  bool fits_ = true;
};

// A fact about the store (View::note).
struct NoteRow {
  std::string name, value;
};

// For each kind of row its table, that table's letter, its columns for a SELECT in the order of the
// writer, and the two ways.
template <class Row>
struct RowOf;

template <>
struct RowOf<ViewHead> {
  static constexpr const char* kTable = "meta";
  static void write(RowWriter& out, const ViewHead& row);
  static ViewHead read(RowReader& in);
};
template <>
struct RowOf<LogRow> {
  static constexpr const char* kTable = "logs";
  static void write(RowWriter& out, const LogRow& row);
  static LogRow read(RowReader& in);
};
template <>
struct RowOf<RunRow> {
  static constexpr const char* kTable = "runs";
  static void write(RowWriter& out, const RunRow& row);
  static RunRow read(RowReader& in);
};
template <>
struct RowOf<EpochRow> {
  static constexpr const char* kTable = "epochs";
  static void write(RowWriter& out, const EpochRow& row);
  static EpochRow read(RowReader& in);
};
template <>
struct RowOf<SlotRow> {
  static constexpr const char* kTable = "slots";
  static void write(RowWriter& out, const SlotRow& row);
  static SlotRow read(RowReader& in);
};
template <>
struct RowOf<NoteRow> {
  static constexpr const char* kTable = "notes";
  static void write(RowWriter& out, const NoteRow& row);
  static NoteRow read(RowReader& in);
};

// Binds all columns of the row, in their order.
template <class Row>
void bind_row(Use& use, const Row& row) {
  RowWriter out(use, RowOf<Row>::kTable[0]);
  RowOf<Row>::write(out, row);
  out.finish();
}

// The current row of the statement; false: it is damaged.
template <class Row>
bool read_row(sqlite3_stmt* statement, Row* row) {
  RowReader in(statement, RowOf<Row>::kTable[0]);
  *row = RowOf<Row>::read(in);
  return in.ok();
}

}  // namespace wp

#endif  // WP_META_SQLITE_ROWS_H_
