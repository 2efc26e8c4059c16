#include "s3_minimal/json.h"

#include <cstdint>

namespace wp::s3 {
namespace {

constexpr int kDepthMax = 16;

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  std::optional<std::map<std::string, std::string>> read_document() {
    std::map<std::string, std::string> texts;
    if (!read_object(&texts, 0)) return {};
    skip_blanks();
    if (!rest_.empty()) return {};
    return texts;
  }

 private:
  void skip_blanks() {
    while (!rest_.empty() &&
           (rest_[0] == ' ' || rest_[0] == '\t' || rest_[0] == '\n' || rest_[0] == '\r')) {
      rest_.remove_prefix(1);
    }
  }
  bool take(char c) {
    skip_blanks();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool read_object(std::map<std::string, std::string>* texts, int depth) {
    if (depth > kDepthMax || !take('{')) return false;
    if (take('}')) return true;
    do {
      skip_blanks();
      std::string name, value;
      if (!read_text(name) || !take(':')) return false;
      skip_blanks();
      if (rest_.starts_with('"')) {
        if (!read_text(value)) return false;
        if (texts != nullptr) (*texts)[name] = value;
      } else if (!skip_value(depth + 1)) {
        return false;
      }
    } while (take(','));
    return take('}');
  }

  bool skip_value(int depth) {
    if (depth > kDepthMax) return false;
    skip_blanks();
    if (rest_.starts_with('{')) return read_object(nullptr, depth);
    std::string ignored;
    if (rest_.starts_with('"')) return read_text(ignored);
    if (take('[')) {
      if (take(']')) return true;
      do {
        if (!skip_value(depth + 1)) return false;
      } while (take(','));
      return take(']');
    }
    size_t length = 0;
    while (length < rest_.size() &&
           std::string_view("+-.0123456789aeflnrstuE").find(rest_[length]) !=
               std::string_view::npos) {
      ++length;
    }
    rest_.remove_prefix(length);
    return length > 0;
  }

  bool read_text(std::string& out) {
    if (!rest_.starts_with('"')) return false;
    rest_.remove_prefix(1);
    while (!rest_.empty() && rest_[0] != '"') {
      if (static_cast<unsigned char>(rest_[0]) < 0x20) return false;
      if (rest_[0] != '\\') {
        out += rest_[0];
        rest_.remove_prefix(1);
      } else if (!read_escape(out)) {
        return false;
      }
    }
    if (rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool read_escape(std::string& out) {
    if (rest_.size() < 2) return false;
    const char kind = rest_[1];
    rest_.remove_prefix(2);
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (const size_t at = kFrom.find(kind); at != std::string_view::npos) {
      out += kTo[at];
      return true;
    }
    if (kind != 'u' || rest_.size() < 4) return false;
    uint32_t code = 0;
    for (const char c : rest_.substr(0, 4)) {
      const std::string_view digits = "0123456789abcdef";
      const size_t digit = digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
      if (digit == std::string_view::npos) return false;
      code = code << 4 | static_cast<uint32_t>(digit);
    }
    rest_.remove_prefix(4);
    // Credentials are plain ASCII; what is not cannot be one.
    if (code >= 0x80) return false;
    out += static_cast<char>(code);
    return true;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<std::map<std::string, std::string>> parse_json_texts(std::string_view document) {
  return Reader(document).read_document();
}

}  // namespace wp::s3
