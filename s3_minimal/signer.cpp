#include "s3_minimal/signer.h"

#include <ctime>
#include <map>

#include "s3_minimal/url.h"

namespace wp::s3 {
namespace {

// Outer blanks go, inner runs of spaces become one.
std::string canonical_value(std::string_view value) {
  std::string out;
  for (const char c : trim(value)) {
    if (c == ' ' && out.ends_with(' ')) continue;
    out += c;
  }
  return out;
}

// By name; values of one name are joined in the order they came.
std::map<std::string, std::string> canonical_headers(const Headers& headers) {
  std::map<std::string, std::string> out;
  for (const Header& header : headers) {
    auto [it, first] = out.try_emplace(lower(trim(header.name)));
    if (!first) it->second += ',';
    it->second += canonical_value(header.value);
  }
  return out;
}

std::string scope_text(std::string_view day, const SigningScope& scope, const SigningNames& names) {
  std::string out(day);
  out += '/';
  out += scope.region;
  out += '/';
  out += scope.service;
  out += '/';
  out += names.terminator;
  return out;
}

}  // namespace

std::string amz_date(int64_t time_ms) {
  const time_t seconds = static_cast<time_t>(time_ms / 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  const size_t length = strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &parts);
  return {text, length};
}

std::string signed_headers(const Headers& headers) {
  std::string out;
  for (const auto& [name, value] : canonical_headers(headers)) {
    if (!out.empty()) out += ';';
    out += name;
  }
  return out;
}

std::string canonical_request(const SignInput& input) {
  std::string out(input.method);
  out += '\n';
  out += input.path.empty() ? "/" : input.path;
  out += '\n';
  out += input.query;
  out += '\n';
  std::string names;
  for (const auto& [name, value] : canonical_headers(*input.headers)) {
    out += name;
    out += ':';
    out += value;
    out += '\n';
    if (!names.empty()) names += ';';
    names += name;
  }
  out += '\n';
  out += names;
  out += '\n';
  out += input.payload_hash;
  return out;
}

std::string string_to_sign(const SignInput& input, std::string_view date, const SigningScope& scope,
                           const SigningNames& names) {
  std::string out(names.algorithm);
  out += '\n';
  out += date;
  out += '\n';
  out += scope_text(date.substr(0, 8), scope, names);
  out += '\n';
  out += hex(sha256(canonical_request(input)));
  return out;
}

Sha256 signing_key(const Credentials& credentials, std::string_view day, const SigningScope& scope,
                   const SigningNames& names) {
  const std::string secret = std::string(names.key_prefix) + credentials.secret_key;
  const Sha256 dated = hmac_sha256(secret, day);
  const Sha256 regional = hmac_sha256(view(dated), scope.region);
  const Sha256 serving = hmac_sha256(view(regional), scope.service);
  return hmac_sha256(view(serving), names.terminator);
}

Sha256 Signer::key(const Credentials& credentials, std::string_view day,
                   const SigningScope& scope) {
  // Separated by what none of the parts can hold.
  std::string made_from(day);
  for (const std::string* part :
       {&scope.region, &scope.service, &credentials.access_key, &credentials.secret_key}) {
    made_from += '\n';
    made_from += *part;
  }
  MutexLock lock(mutex_);
  if (kept_for_ != made_from) {
    kept_ = signing_key(credentials, day, scope, names_);
    kept_for_ = std::move(made_from);
  }
  return kept_;
}

void Signer::sign(const Credentials& credentials, const SigningScope& scope, int64_t time_ms,
                  std::string_view method, std::string_view path, std::string_view query,
                  std::string_view payload_hash, Headers& headers) {
  const std::string date = amz_date(time_ms);
  const std::string prefix(names_.header_prefix);
  headers.push_back({prefix + "date", date});
  headers.push_back({prefix + "content-sha256", std::string(payload_hash)});
  if (!credentials.session_token.empty()) {
    headers.push_back({prefix + "security-token", credentials.session_token});
  }
  const std::string_view day = std::string_view(date).substr(0, 8);
  const SignInput input{method, path, query, &headers, payload_hash};
  const std::string to_sign = string_to_sign(input, date, scope, names_);
  const Sha256 signature = hmac_sha256(view(key(credentials, day, scope)), to_sign);
  std::string value(names_.algorithm);
  value += " Credential=" + credentials.access_key + "/" + scope_text(day, scope, names_);
  value += ",SignedHeaders=" + signed_headers(headers);
  value += ",Signature=" + hex(signature);
  headers.push_back({"Authorization", std::move(value)});
}

}  // namespace wp::s3
