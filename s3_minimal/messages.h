// The documents that go to and come from S3: errors, lists, deletions. Pure functions.
//
// Each reads nothing but what it knows the shape of: a page of a captive portal, a proxy's own
// error or half a document gives no value, never a wrong one.
#ifndef WP_S3_MINIMAL_MESSAGES_H_
#define WP_S3_MINIMAL_MESSAGES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stores/object_store.h"

namespace wp::s3 {

struct ErrorDocument {
  std::string code, message, region, endpoint, bucket, request_id;
  std::optional<int64_t> server_time_ms;
  std::optional<uint64_t> object_bytes;
};
// Nothing where it is no S3 error document.
std::optional<ErrorDocument> parse_error(std::string_view document);

struct ListPage {
  std::vector<ListedObject> objects;  // whole keys
  bool more = false;
};
std::optional<ListPage> parse_list(std::string_view document);

std::string delete_document(std::span<const std::string> keys);
// Whether an XML document can carry the key: valid UTF-8 without control characters.
bool xml_can_carry(std::string_view key);

struct DeleteFailure {
  std::string key, code, message;
};
std::optional<std::vector<DeleteFailure>> parse_delete_result(std::string_view document);

// The Status of a bucket's versioning, "Enabled", "Suspended" or "" for a bucket that never had it.
std::optional<std::string> parse_versioning(std::string_view document);

// A rule of a bucket's lifecycle that takes objects away under whoever reads them: it deletes them,
// or moves them to a storage class from which they must be restored first.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html
struct LifecycleRule {
  std::string id, prefix;
  std::string does;  // "deletes objects after 30 days"
  bool touches(std::string_view keys_begin) const;
};
// Those that are enabled and ask for no tag, for wp's objects have none.
std::optional<std::vector<LifecycleRule>> parse_lifecycle(std::string_view document);

// "2026-11-24T10:00:00.000Z" and "Tue, 24 Nov 2026 10:00:00 GMT", in milliseconds since 1970.
std::optional<int64_t> parse_iso_time(std::string_view text);
std::optional<int64_t> parse_http_date(std::string_view text);

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_MESSAGES_H_
