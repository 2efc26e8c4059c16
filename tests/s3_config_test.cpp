// Where the bucket is and how to speak to it, out of URL, options, environment and files; and the
// pieces of URLs.
#include <doctest/doctest.h>

#include <cstdlib>

#include "s3_minimal/config.h"
#include "tests/s3_test.h"

namespace wp::s3 {
namespace {

using s3_test::World;

S3Config config(const World& world, std::string_view url = "s3://bucket/prefix",
                const Options& options = {}) {
  Result<S3Config> result = s3_config(url, options, world.surroundings());
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  return *std::move(result);
}

Options with_endpoint(std::string endpoint) {
  Options options;
  options.endpoint = std::move(endpoint);
  return options;
}

// Bucket and key, as the host and path that a request goes to.
std::string shape(const S3Config& config) {
  const std::string authority = config.endpoint.authority();
  return config.endpoint.scheme + "://" +
         (config.path_style ? authority + "/" + config.bucket : config.bucket + "." + authority);
}

}  // namespace

TEST_CASE("a URL names bucket and prefix, and nothing else") {
  World world;
  struct Row {
    const char *url, *bucket, *prefix;
  };
  for (const Row& row :
       {Row{"s3://bucket", "bucket", ""}, Row{"s3://bucket/", "bucket", ""},
        Row{"s3://bucket/a", "bucket", "a/"}, Row{"s3://bucket/a/", "bucket", "a/"},
        Row{"s3://bucket/a/b c", "bucket", "a/b c/"}, Row{"s3://bucket//a", "bucket", "/a/"},
        Row{"s3://my.bucket-1/a?linger_ms=5", "my.bucket-1", "a/"},
        Row{"s3://bucket?region=x", "bucket", ""}}) {
    CAPTURE(row.url);
    const S3Config got = config(world, row.url);
    CHECK(got.bucket == row.bucket);
    CHECK(got.prefix == row.prefix);
  }
  for (const char* url : {"s3://", "s3:///a", "s3://ab", "s3://a_b/../", "s3://a..b",
                          "s3://b ucket", "s3://bucket\n", "http://bucket", "s3:bucket", "",
                          "s3://KEY:secret@bucket/a", "s3://secret@bucket", "s3://bucket:9000/a"}) {
    CAPTURE(url);
    const Result<S3Config> result = s3_config(url, {}, world.surroundings());
    if (std::string_view(url) == "s3://a_b/../") {
      CHECK(result.ok());  // S3 keeps such keys as they are
      continue;
    }
    CHECK(result.code() == Code::kInvalid);
    CHECK(result.status().message().find("secret") == std::string::npos);
  }
  CHECK(s3_config("s3://bucket/" + std::string(511, 'p'), {}, world.surroundings()).ok());
  CHECK(!s3_config("s3://bucket/" + std::string(512, 'p'), {}, world.surroundings()).ok());
}

TEST_CASE("options come before the environment, and that before the profile") {
  World world;
  CHECK(config(world).region == "us-east-1");
  CHECK(config(world).region_source == "the default");
  CHECK(config(world).endpoint.origin() == "https://s3.us-east-1.amazonaws.com");
  CHECK(config(world).endpoint_from_region);

  world.set("HOME", "/home/me");
  world.file("/home/me/.aws/config",
             "[default]\nregion = eu-north-1\nca_bundle=/profile.pem\nendpoint_url = "
             "https://profile.example\n[profile other]\nregion=ap-south-1\n");
  CHECK(config(world).region == "eu-north-1");
  CHECK(config(world).region_source == "the profile");
  CHECK(config(world).endpoint.host == "profile.example");
  CHECK(config(world).ca_file == "/profile.pem");
  world.set("AWS_PROFILE", "other");
  CHECK(config(world).region == "ap-south-1");
  CHECK(config(world).profile == "other");
  CHECK(!config(world).profile_chosen);
  CHECK(config(world).endpoint.host == "s3.ap-south-1.amazonaws.com");
  world.set("AWS_CONFIG_FILE", "/elsewhere");
  world.file("/elsewhere", "[profile other]\nregion=af-south-1\n");
  CHECK(config(world).region == "af-south-1");

  world.set("AWS_DEFAULT_REGION", "us-west-1");
  CHECK(config(world).region == "us-west-1");
  world.set("AWS_REGION", "us-west-2");
  CHECK(config(world).region == "us-west-2");
  CHECK(config(world).region_source == "AWS_REGION");
  world.set("AWS_ENDPOINT_URL", "http://one.example:9000");
  CHECK(config(world).endpoint.origin() == "http://one.example:9000");
  CHECK(!config(world).endpoint_from_region);
  world.set("AWS_ENDPOINT_URL_S3", "http://two.example");
  CHECK(config(world).endpoint.origin() == "http://two.example");
  world.set("AWS_CA_BUNDLE", "/environment.pem");
  CHECK(config(world).ca_file == "/environment.pem");

  Options options;
  options.region = "eu-west-3";
  options.endpoint = "https://three.example";
  options.ca = "/option.pem";
  options.profile = "mine";
  options.exclusive = true;
  options.puts_in_flight_max = 50;
  options.unsigned_payload = true;
  const S3Config got = config(world, "s3://bucket", options);
  CHECK(got.region == "eu-west-3");
  CHECK(got.endpoint.origin() == "https://three.example");
  CHECK(got.ca_file == "/option.pem");
  CHECK(got.profile == "mine");
  CHECK(got.profile_chosen);
  CHECK(got.exclusive);
  CHECK(got.in_flight_max == 58);
  CHECK(config(world).in_flight_max == 16);
  CHECK(got.unsigned_payload);
}

TEST_CASE("an endpoint's own region holds where none is given") {
  World world;
  const auto region = [&](const char* host) {
    return config(world, "s3://bucket", with_endpoint(std::string("https://") + host)).region;
  };
  CHECK(region("s3.eu-west-1.amazonaws.com") == "eu-west-1");
  CHECK(region("s3-eu-west-1.amazonaws.com") == "eu-west-1");
  CHECK(region("s3.dualstack.eu-west-1.amazonaws.com") == "eu-west-1");
  CHECK(region("bucket.s3.ap-south-1.amazonaws.com") == "ap-south-1");
  CHECK(region("s3.cn-north-1.amazonaws.com.cn") == "cn-north-1");
  CHECK(region("s3.amazonaws.com") == "us-east-1");
  CHECK(region("s3.eu-west-1.example.com") == "us-east-1");
  CHECK(region("storage.googleapis.com") == "auto");
}

TEST_CASE("the bucket stands in the host or in the path, as the store wants it") {
  World world;
  struct Row {
    const char *bucket, *endpoint, *shape;
    Dialect dialect = Dialect::kIfNoneMatch;
  };
  for (const Row& row :
       {Row{"bucket", "", "https://bucket.s3.us-east-1.amazonaws.com"},
        Row{"my.bucket", "", "https://s3.us-east-1.amazonaws.com/my.bucket"},
        Row{"my.bucket", "http://s3.us-east-1.amazonaws.com",
            "http://my.bucket.s3.us-east-1.amazonaws.com"},
        Row{"bucket", "https://bucket.s3.us-east-1.amazonaws.com",
            "https://bucket.s3.us-east-1.amazonaws.com"},
        Row{"bucket", "http://127.0.0.1:9000", "http://127.0.0.1:9000/bucket"},
        Row{"bucket", "http://[::1]:9000", "http://[::1]:9000/bucket"},
        Row{"bucket", "https://minio.example", "https://minio.example/bucket"},
        Row{"bucket", "https://bucket.minio.example", "https://bucket.minio.example"},
        Row{"bucket", "https://storage.googleapis.com", "https://storage.googleapis.com/bucket",
            Dialect::kGoogle},
        Row{"bucket", "https://oss-cn-hangzhou.aliyuncs.com",
            "https://bucket.oss-cn-hangzhou.aliyuncs.com", Dialect::kAlibaba},
        Row{"bucket", "https://cos.ap-beijing.myqcloud.com",
            "https://bucket.cos.ap-beijing.myqcloud.com", Dialect::kTencent},
        Row{"bucket", "https://x.notgoogleapis.com", "https://x.notgoogleapis.com/bucket"}}) {
    CAPTURE(row.endpoint);
    const S3Config got =
        config(world, "s3://" + std::string(row.bucket), with_endpoint(row.endpoint));
    CHECK(shape(got) == row.shape);
    CHECK(got.dialect == row.dialect);
  }
  Options options = with_endpoint("http://localhost:9000");
  options.path_style = false;
  CHECK(shape(config(world, "s3://bucket", options)) == "http://bucket.localhost:9000");
  options = {};
  options.path_style = true;
  CHECK(shape(config(world, "s3://bucket", options)) ==
        "https://s3.us-east-1.amazonaws.com/bucket");
}

TEST_CASE("an endpoint or region that cannot be right is refused by the name of its source") {
  World world;
  for (const char* endpoint :
       {"minio.example", "ftp://minio.example", "https://", "https://host/path",
        "https://host?secret=1", "https://user:secret@host", "https://host:0", "https://host:99999",
        "https://host:x", "https://[::1", "https://[zz]", "http://ho st"}) {
    CAPTURE(endpoint);
    world.set("AWS_ENDPOINT_URL_S3", endpoint);
    const Result<S3Config> result = s3_config("s3://bucket", {}, world.surroundings());
    REQUIRE(result.code() == Code::kInvalid);
    CHECK(result.status().message().find("AWS_ENDPOINT_URL_S3") != std::string::npos);
    CHECK(result.status().message().find("secret") == std::string::npos);
  }
  world.unset("AWS_ENDPOINT_URL_S3");
  world.set("AWS_REGION", "eu-west-1.evil.example/");
  CHECK(s3_config("s3://bucket", {}, world.surroundings()).code() == Code::kInvalid);
  world.unset("AWS_REGION");
  Options options = with_endpoint("http://minio.example");
  options.unsigned_payload = true;
  CHECK(s3_config("s3://bucket", options, world.surroundings()).code() == Code::kInvalid);
}

TEST_CASE("what was meant for one site goes to no other") {
  const auto same = [](const char* from, const char* to) {
    return same_site(*parse_url(from), *parse_url(to));
  };
  CHECK(same("https://minio.example", "https://minio.example:9000"));
  CHECK(same("https://minio.example", "https://node1.minio.example"));
  CHECK(same("http://minio.example", "https://minio.example"));
  CHECK(same("https://s3.us-east-1.amazonaws.com", "https://bucket.s3.eu-west-1.amazonaws.com"));
  CHECK(same("http://127.0.0.1:1", "http://127.0.0.1:2"));
  CHECK(!same("https://minio.example", "http://minio.example"));
  CHECK(!same("https://minio.example", "https://example"));
  CHECK(!same("https://minio.example", "https://evilminio.example"));
  CHECK(!same("https://minio.example", "https://minio.example.evil"));
  CHECK(!same("https://s3.us-east-1.amazonaws.com", "https://s3.cn-north-1.amazonaws.com.cn"));
  CHECK(!same("https://s3.us-east-1.amazonaws.com", "https://amazonaws.com.evil"));
  CHECK(!same("http://127.0.0.1", "http://127.0.0.2"));
  CHECK(!same("http://minio.example", "ftp://minio.example"));
}

TEST_CASE("profile files are read as Amazon's tools read them") {
  const IniFile file = parse_ini(
      "\xef\xbb\xbf# comment\nignored = before any section\n[default]\n"
      "Region = eu-west-1   # behind a blank\r\n; comment\naws_secret_access_key = a#b;c=d\n"
      "s3 =\n  max_concurrent_requests = 10\n\tregion = nested\nempty =\n"
      "[ profile  x ]\nregion=us-west-2\n[broken\nregion=none\nno equals sign\n");
  const auto& settings = file.at("default");
  CHECK(settings.at("region") == "eu-west-1");
  CHECK(settings.at("aws_secret_access_key") == "a#b;c=d");
  CHECK(settings.at("empty").empty());
  CHECK(!settings.contains("max_concurrent_requests"));
  CHECK(file.at("profile  x").at("region") == "us-west-2");
  CHECK(file.size() == 2);

  World world;
  world.set("HOME", "/home/me");
  world.file("/home/me/.aws/config",
             "[profile x]\nregion = eu-west-1\naws_access_key_id = from config\n");
  world.file("/home/me/.aws/credentials",
             "[x]\naws_access_key_id = from credentials\n[default]\nregion=zz\n");
  const auto merged = profile_settings("x", world.surroundings());
  CHECK(merged.at("region") == "eu-west-1");
  CHECK(merged.at("aws_access_key_id") == "from credentials");
  CHECK(profile_settings("none", world.surroundings()).empty());
  world.set("AWS_SHARED_CREDENTIALS_FILE", "/none");
  CHECK(profile_settings("x", world.surroundings()).at("aws_access_key_id") == "from config");
}

TEST_CASE("the real surroundings are the process's own") {
  const Surroundings real = real_surroundings();
  CHECK(real.variable("PATH").has_value());
  setenv("WP_TEST_EMPTY", "", 1);
  CHECK(!real.variable("WP_TEST_EMPTY"));
  CHECK(!real.variable("WP_TEST_NONE"));
  CHECK(real.read_file("/proc/self/comm").has_value());
  CHECK(!real.read_file("/none/such"));
  CHECK(!real.read_file("/"));
  CHECK(std::abs(real.wall_ms() - s3_stub::now_ms()) < 60'000);
  CHECK(real.random() != real.random());
}

TEST_CASE("URLs are taken apart, and what could smuggle something in is none") {
  const auto url = parse_url("HTTPS://User:pw@Host.Example:8443/a%20b/c?x=1#frag");
  REQUIRE(url.has_value());
  CHECK(url->scheme == "https");
  CHECK(url->user_info == "User:pw");
  CHECK(url->host == "host.example");
  CHECK(url->port == 8443);
  CHECK(url->path == "/a%20b/c");
  CHECK(url->query == "x=1");
  CHECK(url->authority() == "host.example:8443");
  CHECK(parse_url("https://host:443")->authority() == "host");
  CHECK(parse_url("http://host:443")->authority() == "host:443");
  CHECK(parse_url("http://[2001:DB8::1]:80/")->authority() == "[2001:db8::1]");
  CHECK(parse_url("http://@host")->user_info == "@");
  for (const char* text : {"", "host", "://host", "http://host\r\nX: y", "http://ho st",
                           "http://host:", "http://host:-1", "http://host:65536", "http://[::1]x",
                           "http://host:80:80"}) {
    CAPTURE(text);
    CHECK(!parse_url(text));
  }
}

TEST_CASE("encoding is S3's own, and decoding its inverse") {
  CHECK(percent_encode("aZ09-._~/ +%\xc3\xa4\n") == "aZ09-._~%2F%20%2B%25%C3%A4%0A");
  CHECK(encode_path("/a//b/../c d") == "/a//b/../c%20d");
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  CHECK(percent_decode(percent_encode(all)) == all);
  CHECK(percent_decode(encode_path(all)) == all);
  CHECK(percent_decode("a+b") == "a+b");
  CHECK(percent_decode("a+b", true) == "a b");
  for (const char* text : {"%", "%2", "%zz", "a%2", "%%%"}) CHECK(!percent_decode(text));
  CHECK(canonical_query({{"b", "2"}, {"a b", "x&y"}, {"b", "1"}, {"c", ""}}) ==
        "a%20b=x%26y&b=1&b=2&c=");
  CHECK(parse_query("a=1&&b&c=%20").value() == Query{{"a", "1"}, {"b", ""}, {"c", " "}});
  CHECK(!parse_query("a=%"));
}

}  // namespace wp::s3
