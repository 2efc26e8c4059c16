// Texts: what servers answer, what stands in files, what people type.
#include <algorithm>

#include "engine/options.h"
#include "engine/text.h"
#include "s3_minimal/config.h"
#include "s3_minimal/json.h"
#include "s3_minimal/messages.h"
#include "s3_minimal/url.h"
#include "s3_minimal/xml.h"
#include "tests/fuzz/targets.h"

namespace wp::fuzz {
namespace {

// A world in which every file is the input, and nothing else is set.
s3::Surroundings surroundings_of(std::string_view text) {
  s3::Surroundings out;
  out.variable = [](std::string_view) { return std::optional<std::string>(); };
  out.read_file = [text](const std::string&) { return std::optional<std::string>(text); };
  out.wall_ms = [] { return int64_t{1'700'000'000'000}; };
  out.random = [] { return uint64_t{4}; };
  return out;
}

void read_to_the_end(std::string_view document) {
  s3::XmlReader reader(document);
  // Each event takes at least a byte, but for the end of <a/>.
  for (size_t events = 0;; ++events) {
    promise(events <= document.size() * 2 + 2, "a document has an end");
    const auto event = reader.next();
    promise(reader.open().size() <= s3::XmlReader::kDepthMax, "no document is deeper");
    if (event == s3::XmlReader::Event::kDone || event == s3::XmlReader::Event::kError) {
      promise(reader.next() == event, "and stays there");
      return;
    }
  }
}

}  // namespace

void xml(Bytes input) {
  const std::string_view document = as_text(input);
  read_to_the_end(document);
  const auto error = s3::parse_error(document);
  const auto deleted = s3::parse_delete_result(document);
  const auto versioning = s3::parse_versioning(document);
  const auto list = s3::parse_list(document);
  const auto lifecycle = s3::parse_lifecycle(document);
  promise(int{error.has_value()} + int{deleted.has_value()} + int{versioning.has_value()} +
                  int{list.has_value()} + int{lifecycle.has_value()} <=
              1,
          "a document is of one kind");
  (void)s3::parse_iso_time(document);
  (void)s3::parse_http_date(document);
  if (!list) return;
  std::vector<std::string> keys;
  for (const ListedObject& object : list->objects) {
    if (s3::xml_can_carry(object.key)) keys.push_back(object.key);
  }
  read_to_the_end(s3::delete_document(keys));
}

void json(Bytes input) {
  const auto texts = s3::parse_json_texts(as_text(input));
  if (!texts) return;
  size_t bytes = 0;
  for (const auto& [name, value] : *texts) bytes += name.size() + value.size();
  promise(bytes <= input.size() * 3, "texts come from the document");
}

void ini(Bytes input) {
  const std::string_view text = as_text(input);
  for (const auto& [section, settings] : s3::parse_ini(text)) {
    for (const auto& [name, value] : settings) {
      promise(name == s3::lower(s3::trim(name)), "names are in lower case, without blanks");
      promise(value == s3::trim(value), "values are without blanks");
    }
    (void)s3::profile_settings(section, surroundings_of(text));
  }
}

void url(Bytes input) {
  const std::string_view text = as_text(input);
  if (const auto url = s3::parse_url(text)) {
    (void)url->authority();
    const auto again = s3::parse_url(url->origin());
    promise(again && again->origin() == url->origin(), "where it leads to is a URL too");
    promise(s3::same_site(*url, *url) || url->scheme != "https", "a site is the same as itself");
  }
  promise(s3::percent_decode(s3::percent_encode(text)) == text, "what is encoded comes back");
  promise(s3::percent_decode(s3::encode_path(text)) == text, "a path too");
  (void)s3::percent_decode(text, true);
  if (const auto query = s3::parse_query(text)) {
    const std::string written = s3::canonical_query(*query);
    const auto again = s3::parse_query(written);
    promise(again && s3::canonical_query(*again) == written, "a query is written in one way");
  }
  (void)s3::is_ip_address(text);
  (void)s3::region_of_host(text);
  (void)s3::dialect_of(text);
}

void options(Bytes input) {
  const std::string_view text = as_text(input);
  const auto root = parse_root_url(text);
  promise(root.ok() || root.code() == Code::kInvalid, "a wrong URL is the caller's mistake");
  if (!root) return;
  promise(!root->place.empty(), "a root has a place");
  const auto joined = join_options(root->options, Options());
  promise(joined.ok() || joined.code() == Code::kInvalid, "so are values that do not fit");
  if (!joined || root->scheme != Scheme::kS3) return;
  const auto config = s3::s3_config("s3://" + root->place, *joined, surroundings_of(""));
  promise(config.ok() || config.code() == Code::kInvalid, "and a bucket that cannot be");
  if (!config) return;
  promise(!config->bucket.empty(), "a bucket has a name");
  promise(config->prefix.empty() || config->prefix.back() == '/', "a prefix ends with a slash");
}

void text(Bytes input) {
  const std::string_view text = as_text(input);
  const std::string shown = printable(text);
  promise(is_utf8(shown), "what is printed is UTF-8");
  promise(std::none_of(shown.begin(), shown.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }),
          "without control characters");
  promise(shown.size() <= 83, "and short");
  static constexpr std::string_view kKnown[] = {"append", "truncate", "verify"};
  (void)nearest(text.substr(0, 64), kKnown);
}

}  // namespace wp::fuzz
