#include "tests/s3_stub_bucket.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <sstream>

namespace wp::s3_stub {
namespace {

constexpr int64_t kSkewMaxMs = 900'000;

std::string hex(std::string_view bytes) {
  std::ostringstream out;
  out << std::hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out << (byte >> 4) << (byte & 15);
  }
  return out.str();
}

std::string digest(const EVP_MD* kind, std::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(text.data(), text.size(), out, &length, kind, nullptr) != 1) abort();
  return {reinterpret_cast<char*>(out), length};
}

std::string keyed(std::string_view key, std::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &length);
  return {reinterpret_cast<char*>(out), length};
}

std::string base64(std::string_view bytes) {
  std::string out(bytes.size() * 2 + 4, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(length));
  return out;
}

std::string xml_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (byte < 0x20 || c == '>' || c == '"') {
      out += "&#" + std::to_string(byte) + ";";
    } else {
      out += c;
    }
  }
  return out;
}

std::string unescape(std::string text) {
  const std::pair<std::string, std::string> known[] = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}, {"&amp;", "&"}};
  for (const auto& [name, value] : known) {
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += value.size()) {
      text.replace(at, name.size(), value);
    }
  }
  return text;
}

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = text.find(by);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string utc(int64_t ms, const char* format) {
  const time_t seconds = ms / 1000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char out[64];
  return {out, strftime(out, sizeof(out), format, &parts)};
}

// The value of "Name=value" among the parts of an Authorization header.
std::string part_of(const std::string& authorization, const std::string& name) {
  const size_t at = authorization.find(name + "=");
  if (at == std::string::npos) return {};
  const size_t begin = at + name.size() + 1;
  return authorization.substr(begin, authorization.find(',', begin) - begin);
}

std::string squeezed(const std::string& value) {
  std::istringstream words(value);
  std::string out, word;
  while (words >> word) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string canonical_query(const std::string& raw) {
  if (raw.empty()) return {};
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& item : split(raw, '&')) {
    const size_t equals = std::min(item.find('='), item.size());
    const auto name = decode(item.substr(0, equals));
    const auto value = decode(equals < item.size() ? item.substr(equals + 1) : std::string());
    pairs.emplace_back(encode(name.value_or("?")), encode(value.value_or("?")));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const auto& [name, value] : pairs) out += (out.empty() ? "" : "&") + name + "=" + value;
  return out;
}

// What a request should be signed with, in the words of the specification.
std::string expected_signature(const Request& request, const std::string& secret,
                               const std::string& names, const std::vector<std::string>& scope,
                               bool google) {
  const std::string prefix = google ? "x-goog-" : "x-amz-";
  std::string canonical = request.method + "\n" + encode(decode(request.path).value_or(""), true) +
                          "\n" + canonical_query(request.raw_query) + "\n";
  for (const std::string& name : split(names, ';')) {
    canonical += name + ":" + squeezed(request.header(name)) + "\n";
  }
  canonical += "\n" + names + "\n" + request.header(prefix + "content-sha256");
  const std::string date = request.header(prefix + "date");
  const std::string to_sign = std::string(google ? "GOOG4" : "AWS4") + "-HMAC-SHA256\n" + date +
                              "\n" + scope[1] + "/" + scope[2] + "/" + scope[3] + "/" + scope[4] +
                              "\n" + hex(digest(EVP_sha256(), canonical));
  std::string key = (google ? "GOOG4" : "AWS4") + secret;
  for (size_t i = 1; i < scope.size(); ++i) key = keyed(key, scope[i]);
  return hex(keyed(key, to_sign));
}

std::optional<Answer> check_body(const Request& request, const std::string& declared) {
  if (declared == "UNSIGNED-PAYLOAD") {
    if (!request.tls) return error(400, "InvalidRequest");
  } else if (declared != hex(digest(EVP_sha256(), request.body))) {
    return error(400, "XAmzContentSHA256Mismatch");
  }
  const std::string md5 = request.header("content-md5"),
                    sha = request.header("x-amz-checksum-sha256");
  if (!md5.empty() && md5 != base64(digest(EVP_md5(), request.body)))
    return error(400, "BadDigest");
  if (!sha.empty() && sha != base64(digest(EVP_sha256(), request.body))) {
    return error(400, "BadDigest");
  }
  return {};
}

std::optional<Answer> check_signature(const Request& request, const Settings& settings) {
  const std::string authorization = request.header("authorization");
  const bool google = authorization.starts_with("GOOG4-HMAC-SHA256 ");
  if (!google && !authorization.starts_with("AWS4-HMAC-SHA256 ")) {
    return error(403, "AccessDenied", "<Message>unsigned</Message>");
  }
  const std::string prefix = google ? "x-goog-" : "x-amz-";
  const std::vector<std::string> scope = split(part_of(authorization, "Credential"), '/');
  if (scope.size() != 5 || scope[3] != (google ? "storage" : "s3") ||
      scope[4] != (google ? "goog4_request" : "aws4_request")) {
    return error(400, "AuthorizationHeaderMalformed", "<Message>scope</Message>");
  }
  if (scope[2] != settings.region) {
    return error(400, "AuthorizationHeaderMalformed",
                 "<Message>wrong region</Message><Region>" + settings.region + "</Region>");
  }
  if (!settings.expired_access_key.empty() && scope[0] == settings.expired_access_key) {
    return error(400, "ExpiredToken");
  }
  if (scope[0] != settings.access_key) return error(403, "InvalidAccessKeyId");
  if (request.header(prefix + "security-token") != settings.session_token) {
    return error(400, "InvalidToken");
  }
  const std::string names = part_of(authorization, "SignedHeaders");
  const std::vector<std::string> list = split(names, ';');
  for (const auto& [name, value] : request.headers) {
    if (!name.starts_with(prefix) && name != "host" && name != "content-md5") continue;
    if (std::find(list.begin(), list.end(), name) == list.end()) {
      return error(403, "AccessDenied", "<Message>not signed: " + name + "</Message>");
    }
  }
  const std::string date = request.header(prefix + "date");
  const int64_t server_ms = now_ms() + settings.clock_ahead_ms;
  tm parts{};
  if (strptime(date.c_str(), "%Y%m%dT%H%M%SZ", &parts) == nullptr || !date.starts_with(scope[1])) {
    return error(403, "AccessDenied", "<Message>date</Message>");
  }
  if (std::abs(static_cast<int64_t>(timegm(&parts)) * 1000 - server_ms) > kSkewMaxMs) {
    return error(
        403, "RequestTimeTooSkewed",
        "<RequestTime>" + date + "</RequestTime><ServerTime>" +
            utc(server_ms, "%Y-%m-%dT%H:%M:%SZ") +
            "</ServerTime><MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>");
  }
  if (part_of(authorization, "Signature") !=
      expected_signature(request, settings.secret_key, names, scope, google)) {
    return error(403, "SignatureDoesNotMatch");
  }
  return check_body(request, request.header(prefix + "content-sha256"));
}

}  // namespace

void Answer::set(std::string_view name, std::string value) {
  for (auto& header : headers) {
    if (header.first == name) {
      header.second = std::move(value);
      return;
    }
  }
  headers.emplace_back(name, std::move(value));
}

Answer error(int status, std::string_view code, std::string_view more) {
  Answer answer;
  answer.status = status;
  answer.set("Content-Type", "application/xml");
  answer.body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + std::string(code) +
                "</Code>" + std::string(more) + "<RequestId>stub-1</RequestId></Error>";
  return answer;
}

std::optional<std::string> decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || !isxdigit(static_cast<unsigned char>(text[i + 1])) ||
        !isxdigit(static_cast<unsigned char>(text[i + 2]))) {
      return {};
    }
    out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
    i += 2;
  }
  return out;
}

std::string encode(std::string_view text, bool keep_slash) {
  std::string out;
  for (const char c : text) {
    const bool plain = isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' ||
                       c == '.' || c == '~' || (keep_slash && c == '/');
    if (plain) {
      out += c;
    } else {
      char escaped[4];
      snprintf(escaped, sizeof(escaped), "%%%02X", static_cast<unsigned char>(c));
      out += escaped;
    }
  }
  return out;
}

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

Settings Bucket::settings() const {
  MutexLock lock(mutex_);
  return settings_;
}

void Bucket::set(const Settings& settings) {
  MutexLock lock(mutex_);
  settings_ = settings;
}

std::vector<std::string> Bucket::keys() const {
  MutexLock lock(mutex_);
  std::vector<std::string> keys;
  for (const auto& [key, object] : objects_) keys.push_back(key);
  return keys;
}

std::optional<std::string> Bucket::object(const std::string& key) const {
  MutexLock lock(mutex_);
  const auto it = objects_.find(key);
  if (it == objects_.end()) return {};
  return it->second.bytes == nullptr ? std::string() : *it->second.bytes;
}

void Bucket::put(const std::string& key, std::string bytes) {
  MutexLock lock(mutex_);
  const size_t size = bytes.size();
  objects_[key] = {std::make_shared<const std::string>(std::move(bytes)), size,
                   "\"etag-" + std::to_string(++etags_) + "\"", 1};
}

void Bucket::erase(const std::string& key) {
  MutexLock lock(mutex_);
  objects_.erase(key);
}

Answer Bucket::handle(const Request& request) {
  const Settings settings = this->settings();
  Answer answer;
  if (auto refusal = check_signature(request, settings)) {
    answer = std::move(*refusal);
  } else if (request.method == "PUT") {
    answer = put_object(request);
  } else if ((request.method == "GET" || request.method == "HEAD") && !request.key.empty()) {
    answer = get_object(request);
  } else if (request.method == "GET" && request.query.contains("versioning")) {
    answer.body =
        "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" +
        (settings.versioning.empty() ? "" : "<Status>" + settings.versioning + "</Status>") +
        "</VersioningConfiguration>";
  } else if (request.method == "GET" && request.query.contains("lifecycle")) {
    answer.body = "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" +
                  settings.lifecycle + "</LifecycleConfiguration>";
    if (settings.lifecycle.empty()) answer = error(404, "NoSuchLifecycleConfiguration");
  } else if (request.method == "GET") {
    answer = list(request);
  } else if (request.method == "DELETE") {
    answer = remove(request);
  } else if (request.method == "POST" && request.query.contains("delete")) {
    answer = remove_many(request);
  } else {
    answer = error(405, "MethodNotAllowed");
  }
  answer.set("Date", utc(now_ms() + settings.clock_ahead_ms, "%a, %d %b %Y %H:%M:%S GMT"));
  answer.set("x-amz-request-id", "stub-1");
  if (request.method == "HEAD") answer.head_only = true;
  return answer;
}

Answer Bucket::put_object(const Request& request) {
  MutexLock lock(mutex_);
  const bool conditional = request.headers.contains(settings_.condition);
  if (conditional && settings_.conditional == Conditional::kUnsupported) {
    return error(501, "NotImplemented", "<Header>" + settings_.condition + "</Header>");
  }
  if (conditional && settings_.conditional == Conditional::kInvalid) {
    return error(400, "InvalidArgument");
  }
  const auto it = objects_.find(request.key);
  // A racy store looks first and writes later: the second of two that race is not refused.
  const bool racing =
      settings_.conditional == Conditional::kRacy && it != objects_.end() && it->second.puts == 1;
  const bool refused = conditional && it != objects_.end() && !racing &&
                       settings_.conditional != Conditional::kIgnored;
  if (refused) return error(settings_.exists_status, settings_.exists_code);
  Object object;
  object.puts = it == objects_.end() ? 1 : it->second.puts + 1;
  object.size = request.body.size();
  object.bytes = std::make_shared<const std::string>(settings_.keep_bodies ? request.body : "");
  object.etag = "\"etag-" + std::to_string(++etags_) + "\"";
  Answer answer;
  answer.set("ETag", object.etag);
  objects_[request.key] = std::move(object);
  return answer;
}

Answer Bucket::get_object(const Request& request) {
  Object object;
  {
    MutexLock lock(mutex_);
    const auto it = objects_.find(request.key);
    if (it == objects_.end()) return error(404, "NoSuchKey");
    object = it->second;
  }
  const std::string match = request.header("if-match"), range = request.header("range");
  if (!match.empty() && match != object.etag) return error(412, "PreconditionFailed");
  Answer answer;
  answer.set("ETag", object.etag);
  answer.set("Accept-Ranges", "bytes");
  const std::string& bytes = *object.bytes;
  unsigned long long first = 0, last = bytes.size();
  if (sscanf(range.c_str(), "bytes=%llu-%llu", &first, &last) < 1) {
    answer.body = bytes;
    return answer;
  }
  if (first >= bytes.size()) {
    answer = error(416, "InvalidRange",
                   "<ActualObjectSize>" + std::to_string(bytes.size()) + "</ActualObjectSize>");
    answer.set("Content-Range", "bytes */" + std::to_string(bytes.size()));
    return answer;
  }
  last = std::min<unsigned long long>(last, bytes.size() - 1);
  answer.status = 206;
  answer.set("Content-Range", "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
                                  std::to_string(bytes.size()));
  answer.body = bytes.substr(first, last - first + 1);
  return answer;
}

Answer Bucket::list(const Request& request) {
  const auto query = [&](const char* name) {
    const auto it = request.query.find(name);
    return it == request.query.end() ? std::string() : it->second;
  };
  if (query("list-type") != "2") return error(400, "InvalidArgument");
  MutexLock lock(mutex_);
  const std::string prefix = query("prefix"), after = query("start-after");
  const std::string asked = query("max-keys");
  size_t left = settings_.page_max;
  if (!asked.empty()) left = std::min<size_t>(left, std::stoul(asked));
  const bool encoded = settings_.url_encoding && query("encoding-type") == "url";
  std::string contents;
  bool more = false;
  for (const auto& [key, object] : objects_) {
    if (settings_.stale_lists || !key.starts_with(prefix) || (!after.empty() && key <= after)) {
      continue;
    }
    if (left == 0) {
      more = true;
      break;
    }
    --left;
    contents += "<Contents><Key>" + (encoded ? encode(key) : xml_text(key)) + "</Key><Size>" +
                std::to_string(object.size) + "</Size><ETag>" + xml_text(object.etag) +
                "</ETag><StorageClass>STANDARD</StorageClass></Contents>";
  }
  Answer answer;
  answer.set("Content-Type", "application/xml");
  answer.body =
      "<?xml version=\"1.0\"?>\n<ListBucketResult "
      "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>" +
      settings_.bucket + "</Name>" + (encoded ? "<EncodingType>url</EncodingType>" : "") +
      "<IsTruncated>" + (more ? "true" : "false") + "</IsTruncated>" + contents +
      "</ListBucketResult>";
  return answer;
}

Answer Bucket::remove(const Request& request) {
  MutexLock lock(mutex_);
  if (!settings_.deletes) return error(403, "AccessDenied");
  objects_.erase(request.key);
  Answer answer;
  answer.status = 204;
  return answer;
}

Answer Bucket::remove_many(const Request& request) {
  MutexLock lock(mutex_);
  if (!settings_.batch_delete) return error(501, "NotImplemented");
  if (request.header("content-md5").empty() && request.header("x-amz-checksum-sha256").empty()) {
    return error(400, "InvalidRequest");
  }
  Answer answer;
  std::string failures;
  size_t count = 0;
  const std::string open = "<Key>", close = "</Key>";
  for (size_t at = 0; (at = request.body.find(open, at)) != std::string::npos;) {
    at += open.size();
    const std::string key = unescape(request.body.substr(at, request.body.find(close, at) - at));
    ++count;
    if (settings_.deletes) {
      objects_.erase(key);
    } else {
      failures += "<Error><Key>" + xml_text(key) + "</Key><Code>AccessDenied</Code></Error>";
    }
  }
  if (count == 0 || count > 1000) return error(400, "MalformedXML");
  answer.body = "<DeleteResult>" + failures + "</DeleteResult>";
  return answer;
}

}  // namespace wp::s3_stub
