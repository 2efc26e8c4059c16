// As much of JSON as credential services answer: the text members of one object. Everything else in
// it is checked and passed over; what is not JSON gives nothing.
#ifndef WP_S3_MINIMAL_JSON_H_
#define WP_S3_MINIMAL_JSON_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace wp::s3 {

std::optional<std::map<std::string, std::string>> parse_json_texts(std::string_view document);

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_JSON_H_
