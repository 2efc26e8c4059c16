// URLs and options, without opening anything.
#include <doctest/doctest.h>

#include <limits>

#include "engine/options.h"

namespace wp {
namespace {

Options options_of(const std::string& query) {
  auto options = Options::from_url("mem://x?" + query);
  INFO(query);
  INFO(options.status().to_string());
  REQUIRE(options.ok());
  return *std::move(options);
}

std::string refusal_of(std::string_view url) {
  const auto root = parse_root_url(url);
  CAPTURE(url);
  CHECK(root.code() == Code::kInvalid);
  return root.status().message();
}

bool has(std::string_view text, std::string_view part) {
  INFO(text);
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("a URL is taken apart into a scheme, a place and options") {
  const auto check = [](std::string_view url, Scheme scheme, std::string_view place) {
    const auto root = parse_root_url(url);
    CAPTURE(url);
    INFO(root.status().to_string());
    REQUIRE(root.ok());
    CHECK(root->scheme == scheme);
    CHECK(root->place == place);
  };
  check("file:///data/wal", Scheme::kDirectory, "/data/wal");
  check("file:///", Scheme::kDirectory, "/");
  check("file:///a%20b%3Fc", Scheme::kDirectory, "/a b?c");
  check("/data/wal", Scheme::kDirectory, "/data/wal");
  check("data", Scheme::kDirectory, "data");
  check("./a:b", Scheme::kDirectory, "./a:b");
  check("dir/a:b", Scheme::kDirectory, "dir/a:b");
  check("/100%25", Scheme::kDirectory, "/100%25");  // a path is a path
  check("data?linger_ms=5", Scheme::kDirectory, "data");
  check("data?", Scheme::kDirectory, "data");
  check("mem://name", Scheme::kMemory, "name");
  check("mem://a/b", Scheme::kMemory, "a/b");
  check("s3://bucket/a/b?region=eu-west-1", Scheme::kS3, "bucket/a/b");
  check("s3://bucket", Scheme::kS3, "bucket");
}

TEST_CASE("a URL that is none is refused with those that would be one") {
  for (const std::string_view url :
       {"", "?", "?linger_ms=5", "file://", "file://host/dir", "file://%2Fdir", "mem://", "s3://",
        "http://host/x", "FILE:///x", "://", ":", "mem:/x", "C:\\x", "file:/dir", "file:///a%zz",
        "file:///a%2", "file:///a%00", "mem://a%0"}) {
    CHECK(has(refusal_of(url), "s3://bucket/prefix"));
  }
  CHECK(has(refusal_of("gopher://x"), "'gopher'"));
  CHECK(has(refusal_of(std::string_view("mem://a\0b", 9)), "zero byte"));
}

TEST_CASE("a refusal repeats neither credentials nor without end") {
  CHECK_FALSE(has(refusal_of("http://user:hunter2@host/"), "hunter2"));
  CHECK_FALSE(has(refusal_of("mem://x?endpoint=http://user:hunter2@host%00"), "hunter2"));
  CHECK(refusal_of("mem://x?" + std::string(100'000, 'a')).size() < 1'000);
  CHECK(refusal_of("mem://x?linger_ms=" + std::string(100'000, '1')).size() < 1'000);
  CHECK(refusal_of(std::string(100'000, 'a') + "://").size() < 1'000);
}

TEST_CASE("every option can be set in a URL") {
  const Options options = options_of(
      "read_only=1&create=0&meta_path=/a%26b&rebuild=true&fragment_bytes_max=4096&block_bytes=1024"
      "&entry_bytes_max=1073741824&puts_in_flight_max=256&linger_ms=0&puts_per_second_max=0.25"
      "&ram_bytes_max=16384&at_limit=busy&compression_level=-7&checkpoint_slots=16"
      "&close_timeout_ms=1&open_timeout_ms=2&follow_pause_min_ms=3&follow_pause_max_ms=4"
      "&sync=process&allow_network=true&exclusive=1&endpoint=http://localhost:9000&region=r"
      "&ca=/ca.pem&profile=p%20q&path_style=false&unsigned_payload=1");
  CHECK(options.read_only);
  CHECK_FALSE(options.create);
  CHECK(options.meta_path == "/a&b");
  CHECK(options.rebuild);
  CHECK(options.fragment_bytes_max == 4'096);
  CHECK(options.block_bytes == 1'024);
  CHECK(options.entry_bytes_max == 1u << 30);
  CHECK(options.puts_in_flight_max == 256);
  CHECK(options.linger == Duration{0});
  CHECK(options.puts_per_second_max == 0.25);
  CHECK(options.ram_bytes_max == 16'384);
  CHECK(options.at_limit == AtLimit::kBusy);
  CHECK(options.compression_level == -7);
  CHECK(options.checkpoint_slots == 16);
  CHECK(options.close_timeout == Duration{1});
  CHECK(options.open_timeout == Duration{2});
  CHECK(options.follow_pause_min == Duration{3});
  CHECK(options.follow_pause_max == Duration{4});
  CHECK_FALSE(options.sync);
  CHECK(options.allow_network);
  CHECK(options.exclusive);
  CHECK(options.endpoint == "http://localhost:9000");
  CHECK(options.region == "r");
  CHECK(options.ca == "/ca.pem");
  CHECK(options.profile == "p q");
  CHECK(options.path_style == std::optional<bool>(false));
  CHECK(options.unsigned_payload);
}

TEST_CASE("the words of sync are its own") {
  for (const char* yes : {"full", "true", "1"}) CHECK(options_of(std::string("sync=") + yes).sync);
  for (const char* no : {"process", "false", "0"}) {
    CHECK_FALSE(options_of(std::string("sync=") + no).sync);
  }
  CHECK(has(refusal_of("mem://x?sync=FULL"), "full, process"));
  CHECK(has(refusal_of("mem://x?read_only=full"), "read_only"));
}

TEST_CASE("of an option given twice the last holds, and all must be right") {
  CHECK(options_of("linger_ms=5&linger_ms=6").linger == Duration{6});
  CHECK(has(refusal_of("mem://x?linger_ms=6x&linger_ms=5"), "linger_ms"));
  CHECK(has(refusal_of("mem://x?linger_ms=5&linger_ms=6x"), "linger_ms"));
}

TEST_CASE("pieces of a query that are empty are nothing, those without a value are wrong") {
  CHECK(options_of("&&linger_ms=5&").linger == Duration{5});
  CHECK(has(refusal_of("mem://x?read_only"), "read_only=VALUE"));
  CHECK(has(refusal_of("mem://x?linger_ms="), "linger_ms"));
  CHECK(options_of("meta_path=").meta_path.empty());
  CHECK(has(refusal_of("mem://x?=5"), "did you mean"));
  CHECK(has(refusal_of("mem://x?region=%4"), "region"));
  CHECK(has(refusal_of("mem://x?%4=1"), "%25"));
  CHECK(options_of("%6Cinger_ms=5").linger == Duration{5});
  CHECK(options_of("region=a+b").region == "a+b");
}

TEST_CASE("an option that is not known is told with the nearest") {
  CHECK(has(refusal_of("mem://x?linger=5"), "linger_ms"));
  CHECK(has(refusal_of("mem://x?lingre_ms=5"), "linger_ms"));
  CHECK(has(refusal_of("mem://x?fragment_byte_max=5"), "fragment_bytes_max"));
  CHECK(has(refusal_of("mem://x?sink=process"), "did you mean sync?"));
  CHECK(has(refusal_of("mem://x?Region=x"), "did you mean region?"));
  CHECK(has(refusal_of("mem://x?on_message=x"), "did you mean"));
}

TEST_CASE("numbers are whole, in their range, and nothing else") {
  for (const char* value : {"", "+5", " 5", "5 ", "0x10", "5.5", "1e3", "5ms", "-2", "86400001",
                            "9223372036854775808", "-99999999999999999999"}) {
    CAPTURE(value);
    CHECK(has(refusal_of(std::string("mem://x?linger_ms=") + value), "-1 to 86400000"));
  }
  CHECK(options_of("linger_ms=-1").linger == Duration{-1});
  CHECK(options_of("linger_ms=86400000").linger == Duration{86'400'000});
  for (const char* value : {"", "nan", "inf", "-inf", "-0.1", "1000001", "1e400", "x", "1,5"}) {
    CAPTURE(value);
    CHECK(has(refusal_of(std::string("mem://x?puts_per_second_max=") + value), "0 to 1000000"));
  }
  CHECK(options_of("puts_per_second_max=1e-3").puts_per_second_max == 0.001);
}

TEST_CASE("what the program sets wins over the URL, which wins over the defaults") {
  Options of_url;
  of_url.read_only = false;
  of_url.linger = Duration{5};
  of_url.region = "url";
  of_url.path_style = true;
  Options given;
  given.read_only = true;
  given.linger = Duration{7};
  given.profile = "program";
  bool told = false;
  given.on_message = [&](Level, std::string_view) { told = true; };
  const auto joined = join_options(of_url, given);
  REQUIRE(joined.ok());
  CHECK(joined->read_only);
  CHECK(joined->linger == Duration{7});
  CHECK(joined->region == "url");
  CHECK(joined->profile == "program");
  CHECK(joined->path_style == std::optional<bool>(true));
  CHECK(joined->block_bytes == Options().block_bytes);
  joined->on_message(Level::kInfo, "");
  CHECK(told);
}

TEST_CASE("options that do not fit together are refused by name") {
  const auto refused = [](auto change, std::string_view part) {
    Options options;
    change(options);
    const auto joined = join_options({}, options);
    CHECK(joined.code() == Code::kInvalid);
    CHECK(has(joined.status().message(), part));
  };
  refused([](Options& o) { o.ram_bytes_max = 4 * o.fragment_bytes_max - 1; }, "ram_bytes_max");
  refused([](Options& o) { o.fragment_bytes_max = 1u << 30; }, "ram_bytes_max");
  refused([](Options& o) { o.follow_pause_min = Duration{5'000}; }, "follow_pause_max");
  refused([](Options& o) { o.follow_pause_max = Duration{0}; }, "follow_pause_max_ms");
  refused([](Options& o) { o.close_timeout = Duration{-1}; }, "close_timeout_ms");
  refused([](Options& o) { o.open_timeout = Duration::max(); }, "open_timeout_ms");
  refused([](Options& o) { o.meta_path = std::string("a\0b", 3); }, "meta_path");
  refused([](Options& o) { o.puts_per_second_max = std::numeric_limits<double>::quiet_NaN(); },
          "puts_per_second_max");
  Options fits;
  fits.ram_bytes_max = 4 * fits.fragment_bytes_max;
  fits.linger = Duration{-5};
  fits.at_limit = AtLimit::kDefault;
  const auto joined = join_options({}, fits);
  REQUIRE(joined.ok());
  CHECK(joined->linger == Options().linger);
  CHECK(joined->at_limit == AtLimit::kBlock);
}

}  // namespace wp
