// A small, strict pull parser for what S3 answers: elements and text. Namespaces' prefixes are
// dropped, attributes are checked and passed over, comments and processing instructions skipped. A
// DOCTYPE, an unknown entity, a wrong nesting or anything behind the root element is an error:
// what comes from a network is not given the benefit of the doubt.
//
// Never allocates more than the document's own size, and never recurses.
#ifndef WP_S3_MINIMAL_XML_H_
#define WP_S3_MINIMAL_XML_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace wp::s3 {

class XmlReader {
 public:
  enum class Event { kStart, kEnd, kText, kDone, kError };
  static constexpr size_t kDepthMax = 32;

  explicit XmlReader(std::string_view document);  // borrowed

  Event next();
  // The element of kStart and kEnd, without prefix.
  std::string_view name() const { return name_; }
  // The text of kText, its entities resolved. Text between two tags comes in one piece or several.
  const std::string& text() const { return text_; }
  // The elements that are open, outermost first; at kEnd without the one that ended.
  const std::vector<std::string_view>& open() const { return open_; }

 private:
  Event fail();
  Event read_text();
  Event read_tag();
  Event read_end_tag();
  bool skip_past(std::string_view end);
  bool read_entity();
  bool skip_attributes(bool* closed);
  std::string_view read_name();
  void skip_blanks();

  std::string_view rest_;
  std::string_view name_;
  std::string text_;
  std::vector<std::string_view> open_;       // local names
  std::vector<std::string_view> qualified_;  // the same with their prefixes, to match the end tags
  bool end_pending_ = false;                 // <a/> gives a start and an end
  bool root_seen_ = false;
  bool failed_ = false;
};

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_XML_H_
