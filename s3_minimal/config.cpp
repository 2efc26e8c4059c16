#include "s3_minimal/config.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

namespace wp::s3 {
namespace {

constexpr size_t kPrefixBytesMax = 512;
constexpr size_t kFileBytesMax = 1 << 20;
constexpr uint32_t kReadsInFlight = 8;  // beside all the puts that the log may have under way

Status invalid(std::string what, std::string_view todo) {
  return Status(Code::kInvalid, std::move(what) + "; " + std::string(todo));
}

std::optional<std::string> read_small_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  std::string text(kFileBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return {};
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

bool bucket_is_plain(std::string_view bucket) {
  if (bucket.size() < 3 || bucket.size() > 255 || bucket.find("..") != std::string_view::npos) {
    return false;
  }
  return std::all_of(bucket.begin(), bucket.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
}

bool ends_with_domain(std::string_view host, std::string_view domain) {
  return host == domain || (host.size() > domain.size() && host.ends_with(domain) &&
                            host[host.size() - domain.size() - 1] == '.');
}

// The first of the candidates that is there, and where it came from.
struct Candidate {
  std::string source;
  std::optional<std::string> value;
};
const Candidate* first_of(const std::vector<Candidate>& candidates) {
  for (const Candidate& candidate : candidates) {
    if (candidate.value && !candidate.value->empty()) return &candidate;
  }
  return nullptr;
}

std::optional<std::string> setting(const std::map<std::string, std::string>& settings,
                                   const std::string& name) {
  const auto it = settings.find(name);
  if (it == settings.end() || it->second.empty()) return {};
  return it->second;
}

// Bucket and prefix out of the URL.
Status read_place(std::string_view url, S3Config& config) {
  constexpr std::string_view kScheme = "s3://";
  if (!url.starts_with(kScheme)) {
    return invalid("open an S3 root: the URL does not begin with s3://",
                   "write s3://bucket/prefix");
  }
  std::string_view rest = url.substr(kScheme.size());
  rest = rest.substr(0, rest.find('?'));
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view bucket = rest.substr(0, slash);
  if (bucket.find('@') != std::string_view::npos || bucket.find(':') != std::string_view::npos) {
    // The URL is not repeated: it holds what must not be shown.
    return invalid("open an S3 root: the URL holds credentials or a port before the bucket",
                   "give credentials by environment or profile, and the endpoint as an option");
  }
  if (!bucket_is_plain(bucket)) {
    return invalid(
        "open an S3 root: '" + std::string(bucket.substr(0, 80)) + "' is not a bucket's name",
        "write s3://bucket/prefix");
  }
  config.bucket = bucket;
  config.prefix = rest.substr(std::min(slash + 1, rest.size()));
  if (!config.prefix.empty() && !config.prefix.ends_with('/')) config.prefix += '/';
  if (config.prefix.size() > kPrefixBytesMax) {
    return invalid("open an S3 root: the prefix has " + std::to_string(config.prefix.size()) +
                       " bytes of at most " + std::to_string(kPrefixBytesMax),
                   "shorten it");
  }
  return {};
}

Status read_endpoint(const Candidate& given, S3Config& config) {
  const std::string tried = "use the S3 endpoint given by " + given.source;
  auto url = parse_url(*given.value);
  if (!url || url->host.empty() || (url->scheme != "https" && url->scheme != "http")) {
    return invalid(tried + ": it is no URL", "write https://host or http://host:port");
  }
  if (!url->user_info.empty()) {
    return invalid(tried + ": it holds credentials", "give them by environment or profile");
  }
  if (!url->query.empty() || (!url->path.empty() && url->path != "/")) {
    return invalid(tried + ": there is a path behind the host",
                   "write https://host; bucket and prefix belong to the s3:// URL");
  }
  url->path.clear();
  config.endpoint = std::move(*url);
  return {};
}

void choose_style(const Options& options, S3Config& config) {
  const std::string& host = config.endpoint.host;
  const std::string with_bucket = lower(config.bucket) + ".";
  if (host.starts_with(with_bucket) && !is_ip_address(host)) {
    config.endpoint.host = host.substr(with_bucket.size());
    config.path_style = false;
  } else if (is_amazon_host(host)) {
    // A dot in the bucket's name is one level too many for the certificate.
    config.path_style =
        config.endpoint.scheme == "https" && config.bucket.find('.') != std::string::npos;
  } else {
    config.path_style = config.dialect != Dialect::kAlibaba && config.dialect != Dialect::kTencent;
  }
  if (options.path_style) config.path_style = *options.path_style;
}

}  // namespace

Surroundings real_surroundings() {
  Surroundings real;
  real.variable = [](std::string_view name) -> std::optional<std::string> {
    const char* value = getenv(std::string(name).c_str());
    if (value == nullptr || *value == '\0') return {};
    return value;
  };
  real.read_file = read_small_file;
  real.wall_ms = [] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  };
  real.random = [] {
    thread_local std::random_device device;
    return static_cast<uint64_t>(device()) << 32 | device();
  };
  return real;
}

Dialect dialect_of(std::string_view host) {
  if (ends_with_domain(host, "googleapis.com")) return Dialect::kGoogle;
  if (ends_with_domain(host, "aliyuncs.com")) return Dialect::kAlibaba;
  if (ends_with_domain(host, "myqcloud.com") || ends_with_domain(host, "tencentcos.cn")) {
    return Dialect::kTencent;
  }
  return Dialect::kIfNoneMatch;
}

Header create_only(Dialect dialect) {
  switch (dialect) {
    case Dialect::kIfNoneMatch:
      break;
    case Dialect::kGoogle:
      return {"x-goog-if-generation-match", "0"};
    case Dialect::kAlibaba:
      return {"x-oss-forbid-overwrite", "true"};
    case Dialect::kTencent:
      return {"x-cos-forbid-overwrite", "true"};
  }
  return {"If-None-Match", "*"};
}

std::string_view dialect_name(Dialect dialect) {
  switch (dialect) {
    case Dialect::kIfNoneMatch:
      break;
    case Dialect::kGoogle:
      return "x-goog-if-generation-match: 0";
    case Dialect::kAlibaba:
      return "x-oss-forbid-overwrite: true";
    case Dialect::kTencent:
      return "x-cos-forbid-overwrite: true";
  }
  return "If-None-Match: *";
}

bool is_amazon_host(std::string_view host) {
  return ends_with_domain(host, "amazonaws.com") || ends_with_domain(host, "amazonaws.com.cn");
}

std::string amazon_endpoint(std::string_view region) {
  std::string host = "https://s3." + std::string(region) + ".amazonaws.com";
  if (region.starts_with("cn-")) host += ".cn";
  return host;
}

std::string region_of_host(std::string_view host) {
  if (!is_amazon_host(host)) return {};
  const size_t at = host.find("s3");
  if (at == std::string_view::npos) return {};
  std::string_view rest = host.substr(at + 2);
  // "s3.eu-west-1.", "s3-eu-west-1.", "s3.dualstack.eu-west-1."
  if (rest.starts_with(".dualstack")) rest.remove_prefix(10);
  if (rest.empty() || (rest[0] != '.' && rest[0] != '-')) return {};
  rest.remove_prefix(1);
  const std::string_view name = rest.substr(0, rest.find('.'));
  const bool plain =
      std::count(name.begin(), name.end(), '-') >= 2 &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-0123456789") == std::string_view::npos;
  return plain ? std::string(name) : std::string();
}

bool same_site(const Url& from, const Url& to) {
  if (to.scheme != "https" && to.scheme != from.scheme) return false;
  if (to.host == from.host) return true;
  if (is_ip_address(from.host) || is_ip_address(to.host)) return false;
  for (const std::string_view domain : {"amazonaws.com", "amazonaws.com.cn"}) {
    if (ends_with_domain(from.host, domain)) return ends_with_domain(to.host, domain);
  }
  return ends_with_domain(to.host, from.host);
}

Result<S3Config> s3_config(std::string_view url, const Options& options,
                           const Surroundings& surroundings) {
  S3Config config;
  config.surroundings = surroundings;
  if (Status status = read_place(url, config); !status.ok()) return status;
  const auto variable = surroundings.variable;

  const std::vector<Candidate> profiles = {{"the option profile", options.profile},
                                           {"AWS_PROFILE", variable("AWS_PROFILE")}};
  const Candidate* profile = first_of(profiles);
  config.profile = profile != nullptr ? *profile->value : "default";
  config.profile_chosen = !options.profile.empty();
  const auto settings = profile_settings(config.profile, surroundings);

  const std::vector<Candidate> endpoints = {
      {"the option endpoint", options.endpoint},
      {"AWS_ENDPOINT_URL_S3", variable("AWS_ENDPOINT_URL_S3")},
      {"AWS_ENDPOINT_URL", variable("AWS_ENDPOINT_URL")},
      {"the profile's endpoint_url", setting(settings, "endpoint_url")}};
  const Candidate* endpoint = first_of(endpoints);
  if (endpoint != nullptr) {
    if (Status status = read_endpoint(*endpoint, config); !status.ok()) return status;
  }
  config.dialect = dialect_of(config.endpoint.host);

  const std::vector<Candidate> regions = {
      {"the option region", options.region},
      {"AWS_REGION", variable("AWS_REGION")},
      {"AWS_DEFAULT_REGION", variable("AWS_DEFAULT_REGION")},
      {"the endpoint", region_of_host(config.endpoint.host)},
      {"the profile", setting(settings, "region")},
      {"the default",
       config.dialect == Dialect::kGoogle ? std::string("auto") : std::string("us-east-1")}};
  const Candidate* region = first_of(regions);
  config.region = *region->value;
  config.region_source = region->source;
  if (config.region.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789-_") != std::string::npos) {
    return invalid("use the region given by " + config.region_source + ": it is no region's name",
                   "write it like eu-west-1");
  }
  if (endpoint == nullptr) {
    config.endpoint = *parse_url(amazon_endpoint(config.region));
    config.endpoint_from_region = true;
  }
  choose_style(options, config);

  const std::vector<Candidate> bundles = {{"the option ca", options.ca},
                                          {"AWS_CA_BUNDLE", variable("AWS_CA_BUNDLE")},
                                          {"the profile", setting(settings, "ca_bundle")}};
  if (const Candidate* bundle = first_of(bundles)) config.ca_file = *bundle->value;
  config.in_flight_max =
      std::max(config.in_flight_max, options.puts_in_flight_max + kReadsInFlight);
  config.exclusive = options.exclusive;
  config.unsigned_payload = options.unsigned_payload;
  config.on_message = options.on_message;
  if (config.unsigned_payload && config.endpoint.scheme != "https") {
    return invalid("open s3://" + config.bucket + ": unsigned_payload without TLS",
                   "use an https endpoint, or leave the option away");
  }
  return config;
}

IniFile parse_ini(std::string_view text) {
  IniFile file;
  std::map<std::string, std::string>* section = nullptr;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view raw = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view line = trim(raw);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      const size_t close = line.find(']');
      section = close == std::string_view::npos
                    ? nullptr
                    : &file[std::string(trim(line.substr(1, close - 1)))];
      continue;
    }
    const size_t equals = line.find('=');
    // Indented lines are nested settings ("s3 =" and what follows), which are not ours.
    if (section == nullptr || equals == std::string_view::npos || raw[0] == ' ' || raw[0] == '\t') {
      continue;
    }
    std::string_view value = trim(line.substr(equals + 1));
    // A comment may follow behind a blank.
    for (const std::string_view mark : {" #", " ;", "\t#", "\t;"}) {
      value = trim(value.substr(0, value.find(mark)));
    }
    (*section)[lower(trim(line.substr(0, equals)))] = value;
  }
  return file;
}

std::map<std::string, std::string> profile_settings(std::string_view profile,
                                                    const Surroundings& surroundings) {
  const std::string home = surroundings.variable("HOME").value_or("");
  const auto path = [&](std::string_view name, std::string_view usual) {
    return surroundings.variable(name).value_or(home + "/.aws/" + std::string(usual));
  };
  std::map<std::string, std::string> settings;
  const auto take = [&](const std::string& file, const std::string& section) {
    const auto text = surroundings.read_file(file);
    if (!text) return;
    const IniFile ini = parse_ini(*text);
    const auto it = ini.find(section);
    if (it == ini.end()) return;
    for (const auto& [name, value] : it->second) settings[name] = value;
  };
  const std::string name(profile);
  const std::string config = path("AWS_CONFIG_FILE", "config");
  if (name == "default") take(config, name);
  take(config, "profile " + name);
  take(path("AWS_SHARED_CREDENTIALS_FILE", "credentials"), name);
  return settings;
}

}  // namespace wp::s3
