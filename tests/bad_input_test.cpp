// Calls that are wrong, and places that are no roots: each is refused with an error that says what
// to do, and nothing is harmed.
#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/test_root.h"

namespace wp {
namespace {

namespace fs = std::filesystem;

bool mentions(const Status& status, std::string_view what) {
  INFO(status.to_string());
  return status.message().find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("an unknown URL scheme is refused, and the known ones are named") {
  for (const char* url :
       {"http://host/x", "s4://bucket/x", "FILE:///tmp/x", "mem:/x", "://", ":"}) {
    CAPTURE(url);
    const auto wal = Wal::open(url);
    if (std::string_view(url).find("://") != std::string_view::npos)
      CHECK_CODE(wal, Code::kInvalid);
    CHECK_FALSE(wal.ok());
  }
  CHECK(mentions(Wal::open("http://host/x").status(), "s3://"));
  CHECK_CODE(Wal::open(""), Code::kInvalid);
  CHECK_CODE(Wal::open("file://"), Code::kInvalid);
  CHECK_CODE(Wal::open("s3://"), Code::kInvalid);
  CHECK_CODE(Wal::open(std::string("mem://a\0b", 9)), Code::kInvalid);
}

TEST_CASE("an unknown option is refused, and the nearest known one is named") {
  const auto wal = Wal::open("mem://options?lingre_ms=5");
  CHECK_CODE(wal, Code::kInvalid);
  CHECK(mentions(wal.status(), "lingre_ms"));
  CHECK(mentions(wal.status(), "linger_ms"));
  CHECK(mentions(Wal::open("mem://options?fragment_byte_max=5").status(), "fragment_bytes_max"));
  CHECK(mentions(Options::from_url("mem://options?sink=process").status(), "sync"));
}

TEST_CASE("a value that an option cannot have is refused by name") {
  for (const char* option : {"linger_ms=soon",
                             "linger_ms=",
                             "puts_in_flight_max=0",
                             "puts_in_flight_max=257",
                             "puts_in_flight_max=-1",
                             "fragment_bytes_max=1",
                             "fragment_bytes_max=99999999999",
                             "block_bytes=1",
                             "compression_level=20",
                             "compression_level=-8",
                             "checkpoint_slots=15",
                             "checkpoint_slots=1000001",
                             "ram_bytes_max=1000",
                             "entry_bytes_max=99999999999",
                             "sync=maybe",
                             "read_only=2",
                             "at_limit=explode",
                             "puts_per_second_max=-1",
                             "puts_per_second_max=nan",
                             "linger_ms=5&linger_ms=6x"}) {
    CAPTURE(option);
    const auto wal = Wal::open(std::string("mem://values?") + option);
    CHECK_CODE(wal, Code::kInvalid);
    const std::string_view text = option;
    CHECK(mentions(wal.status(), text.substr(0, text.find('='))));
  }
}

TEST_CASE("options set in the program are checked as those of a URL are") {
  const auto refused = [](auto change) {
    Options options;
    change(options);
    CHECK_CODE(Wal::open("mem://options", options), Code::kInvalid);
  };
  refused([](Options& o) { o.fragment_bytes_max = 100; });
  refused([](Options& o) { o.block_bytes = 0; });
  refused([](Options& o) { o.puts_in_flight_max = 0; });
  refused([](Options& o) { o.compression_level = 99; });
  refused([](Options& o) { o.checkpoint_slots = 1; });
  refused([](Options& o) { o.entry_bytes_max = 2ull << 30; });
  refused([](Options& o) { o.ram_bytes_max = o.fragment_bytes_max; });
  refused([](Options& o) { o.puts_per_second_max = -1; });
}

TEST_CASE("options of a URL take effect") {
  const auto options =
      Options::from_url("mem://x?linger_ms=5&fragment_bytes_max=65536&sync=process");
  require_ok(options.status());
  CHECK(options->linger == Duration{5});
  CHECK(options->fragment_bytes_max == 65'536);
  CHECK_FALSE(options->sync);
}

TEST_CASE("names that no log can have are refused, and all others work") {
  const TestRoot root(each_root());
  auto wal = root.open();
  const std::vector<std::string> bad = {"",
                                        ".",
                                        "..",
                                        "a/b",
                                        "/",
                                        "../x",
                                        "a\nb",
                                        "\x7f",
                                        "\xff\xfe",
                                        std::string("a\0b", 3),
                                        std::string(513, 'x'),
                                        std::string(1u << 20, 'x'),
                                        "\xc3",
                                        "\xed\xa0\x80"};
  for (const std::string& name : bad) {
    CAPTURE(name.substr(0, 20));
    CHECK_CODE(wal->log(name), Code::kInvalid);
    CHECK_FALSE(wal->find(name).ok());
    CHECK_FALSE(wal->drop(name).ok());
  }
  CHECK(wal->logs()->empty());
  const std::vector<std::string> good = {"a",    "...",    "a b",    " ",
                                         "ä",    "日本語", "-",      "%2F",
                                         "a\\b", "CON",    "'\";--", std::string(512, 'x')};
  for (const std::string& name : good) {
    CAPTURE(name);
    Log log = log_of(*wal, name);
    append_text(log, name);
  }
  require_ok(wal->close());
  wal = root.open();
  CHECK(wal->logs()->size() == good.size());
  for (const std::string& name : good) {
    auto log = wal->find(name);
    require_ok(log.status());
    CHECK(read_texts(*log) == std::vector<std::string>{name});
  }
}

TEST_CASE("a log that is not there is told with the nearest name") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "orders");
  append_text(log, "1");
  const auto found = wal->find("order");
  CHECK_CODE(found, Code::kNotFound);
  CHECK(mentions(found.status(), "orders"));
  CHECK_CODE(wal->find("something else entirely"), Code::kNotFound);
}

TEST_CASE("an entry past the limit is refused, and the log goes on") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.entry_bytes_max = 1'000;
  const auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  CHECK(append_text(log, std::string(1'000, 'x')) == 1);
  CHECK_CODE(log.append(as_bytes(std::string(1'001, 'x'))), Code::kInvalid);
  CHECK_CODE(log.append_async(as_bytes(std::string(1'001, 'x'))), Code::kInvalid);
  const std::string value(600, 'v');
  const Property properties[] = {{"key", value}};
  AppendOptions with_properties;
  with_properties.properties = properties;
  CHECK_CODE(log.append(as_bytes(std::string(500, 'x')), with_properties), Code::kInvalid);
  CHECK(log.append(as_bytes(std::string(300, 'x')), with_properties).ok());
  CHECK(append_text(log, "3") == 3);
}

TEST_CASE("LSN 0 and LSNs past the end are refused") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  for (const std::string& text : texts("", 3)) append_text(log, text);
  CHECK_CODE(log.read(From::at(0)), Code::kInvalid);
  CHECK_CODE(log.read(From::at(5)), Code::kInvalid);
  CHECK_CODE(log.subscribe(From::at(5)), Code::kInvalid);
  CHECK_CODE(log.read(From::at(UINT64_MAX)), Code::kInvalid);
  CHECK(log.read(From::at(4)).ok());
  CHECK(log.subscribe(From::at(4)).ok());
  CHECK_CODE(log.truncate(0), Code::kInvalid);
  CHECK_CODE(log.truncate(4), Code::kInvalid);
  CHECK_CODE(log.truncate(UINT64_MAX), Code::kInvalid);
  auto reader = log.read();
  require_ok(reader.status());
  CHECK_CODE(reader->seek(From::at(0)), Code::kInvalid);
  CHECK_CODE(reader->seek(From::at(9)), Code::kInvalid);
  const auto next = reader->next();  // where it was
  require_ok(next.status());
  REQUIRE(next->has_value());
  CHECK((*next)->lsn == 1);
}

TEST_CASE("a root that is not there is not created when that is not wanted") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.create = false;
  CHECK_CODE(Wal::open(root.url(), options), Code::kNotFound);
  options.create = true;
  options.read_only = true;
  CHECK_CODE(Wal::open(root.url(), options), Code::kNotFound);
  CHECK(root.keys().empty());
  if (root.kind() == RootKind::kDirectory) CHECK_FALSE(fs::exists(root.directory()));
}

TEST_CASE("a directory that holds other things is no root, and stays as it is") {
  const TestDirectory directory;
  std::ofstream(directory.path() + "/letter.txt") << "dear reader";
  const auto wal = Wal::open("file://" + directory.path());
  CHECK_CODE(wal, Code::kInvalid);
  CHECK(mentions(wal.status(), directory.path()));
  size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(directory.path())) {
    CHECK(entry.path().filename() == "letter.txt");
    ++entries;
  }
  CHECK(entries == 1);
}

TEST_CASE("a file is no directory") {
  const TestDirectory directory;
  const std::string file = directory.path() + "/file";
  std::ofstream(file) << "content";
  CHECK_CODE(Wal::open("file://" + file), Code::kInvalid);
  CHECK_FALSE(Wal::open("file://" + file + "/below").ok());
  CHECK(fs::file_size(file) == 7);
}

TEST_CASE("a directory that may not be written is refused, and can be read") {
  const TestRoot root(RootKind::kDirectory);
  {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    append_text(log, "1");
  }
  if (geteuid() == 0) return;  // to the superuser nothing is forbidden
  REQUIRE(chmod(root.directory().c_str(), 0555) == 0);
  CHECK_CODE(Wal::open(root.url()), Code::kDenied);
  Options read_only;
  read_only.read_only = true;
  {
    const auto wal = root.open(read_only);
    auto log = wal->find("a");
    require_ok(log.status());
    CHECK(read_texts(*log) == texts("", 1));
  }
  REQUIRE(chmod(root.directory().c_str(), 0755) == 0);
}

TEST_CASE("a full device is kNoSpace for who set a deadline, and nothing is lost") {
  SimWorld world(1);
  Site site = world.open("writer");
  Log log = log_of(site, "a");
  append_text(log, "1");
  bool full = true;
  site.store->script = [&](const SimRequest& request) -> std::optional<SimFate> {
    if (!full || request.operation != Operation::kPut) return std::nullopt;
    return fate_lost_request(Answer::kNoSpace);
  };
  AppendOptions hasty;
  hasty.timeout = Duration{10'000};
  CHECK_CODE(log.append(as_bytes("2"), hasty), Code::kNoSpace);
  CHECK_CODE(site->flush(Duration{10'000}), Code::kNoSpace);
  full = false;
  require_ok(site->flush({}));
  CHECK(read_texts(log) == texts("", 2));
  require_ok(site->close());
  // And a new root on a full device is none.
  SimWorld other(2);
  Site none = other.open("writer", {}, nullptr, [](SimStore& store) {
    store.script = [](const SimRequest& request) -> std::optional<SimFate> {
      if (request.operation != Operation::kPut) return std::nullopt;
      return fate_lost_request(Answer::kNoSpace);
    };
  });
  CHECK_CODE(none.status, Code::kNoSpace);
}

TEST_CASE("an object that is no root's identity is refused, and nothing is written beside it") {
  const TestRoot root(each_root());
  require_ok(root.open()->close());
  root.forget_view();
  const auto keys = root.keys();
  const std::vector<std::byte> text(200, std::byte{'x'});
  for (const auto& bytes : {std::vector<std::byte>{}, text}) {
    root.put("root", bytes);
    const auto wal = Wal::open(root.url(), root.options());
    CHECK_CODE(wal, Code::kCorrupt);
    CHECK(mentions(wal.status(), "root"));
    CHECK(root.keys() == keys);
  }
}

TEST_CASE("a read-only root refuses every change") {
  const TestRoot root(each_root());
  {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    append_text(log, "1");
  }
  const auto keys = root.keys();
  Options options = root.options();
  options.read_only = true;
  const auto wal = root.open(options);
  auto log = wal->find("a");
  require_ok(log.status());
  CHECK(read_texts(*log) == texts("", 1));
  CHECK_CODE(log->append(as_bytes("2")), Code::kReadOnly);
  CHECK_CODE(log->append_async(as_bytes("2")), Code::kReadOnly);
  CHECK_CODE(log->truncate(1), Code::kReadOnly);
  CHECK_CODE(wal->drop("a"), Code::kReadOnly);
  CHECK_CODE(wal->log("b"), Code::kReadOnly);
  require_ok(wal->verify());
  require_ok(wal->close());
  CHECK(root.keys() == keys);
}

}  // namespace wp
