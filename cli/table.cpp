// What is printed for people; see table.h.
#include "cli/table.h"

#include <algorithm>

#include "cli/values.h"

namespace wp::cli {
namespace {

std::string padded(std::string text, size_t width, bool right) {
  const size_t has = display_width(text);
  const std::string pad(has < width ? width - has : 0, ' ');
  return right ? pad + text : text + pad;
}

}  // namespace

void Facts::print(std::string& out) const {
  size_t width = 0;
  for (const auto& [name, value] : rows_) width = std::max(width, name.size());
  for (const auto& [name, value] : rows_) {
    out += padded(name, width, false) + "  " + value + "\n";
  }
}

void print_table(std::string& out, const std::vector<std::vector<std::string>>& rows) {
  constexpr size_t kNameWidthMax = 40;
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t width = display_width(row[i]);
      widths[i] = std::max(widths[i], i == 0 ? std::min(width, kNameWidthMax) : width);
    }
  }
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += (i == 0 ? "" : "  ") + padded(row[i], widths[i], i != 0);
    }
    out += '\n';
  }
}

std::string bytes_fact(uint64_t bytes) {
  return std::to_string(bytes) + (bytes < 1024 ? "" : " (" + human_bytes(bytes) + ")");
}

}  // namespace wp::cli
