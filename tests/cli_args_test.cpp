// The pieces of the `wp` tool that need no root: the command line, numbers, times, sizes, JSON and
// the cutting of input into entries. The tool is no part of the library, so what is tested of it is
// compiled in here.
#include "cli/args.cpp"
#include "cli/input.cpp"
#include "cli/json.cpp"
#include "cli/progress.h"
#include "cli/values.cpp"

#include <doctest/doctest.h>
#include <sys/eventfd.h>

#include <cstdio>

using namespace wp;
using namespace wp::cli;

namespace {

constexpr OptionSpec kOptions[] = {{"from", 0, "LSN", ""},
                                   {"count", 'n', "N", ""},
                                   {"follow", 'f', "", ""},
                                   {"prop", 0, "K=V", ""}};
const CommandSpec kCommand = {"cat", "URL LOG", 1, 2, "Prints.", "", "wp cat", kOptions, nullptr};

Result<Args> parse(std::vector<const char*> words) {
  return Args::parse(kCommand, words);
}
std::string message_of(std::vector<const char*> words) {
  const auto args = parse(std::move(words));
  return args ? "" : args.status().message();
}
bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

constexpr int64_t kNow = 1'769'860'800'000;  // 2026-01-31T12:00:00Z
int64_t time_of(std::string_view text) {
  const auto time = parse_time("--since", text, kNow);
  return time ? *time : -1;
}

std::string json_of(std::string_view payload) {
  std::string out;
  JsonObject(out).bytes("payload", payload).end();
  return out;
}

// What EntryInput makes of a text, each entry in brackets.
std::string entries_of(std::string_view text, std::optional<char> separator, uint64_t max) {
  std::FILE* file = std::tmpfile();
  REQUIRE(std::fwrite(text.data(), 1, text.size(), file) == text.size());
  std::rewind(file);
  const int stop = ::eventfd(0, 0);
  EntryInput input(::fileno(file), stop, separator, max);
  std::string out;
  for (std::string_view entry;;) {
    const auto found = input.next(&entry);
    if (found == EntryInput::Found::kEntry) {
      out += entry.size() > 64 ? "(" + std::to_string(entry.size()) + ")"
                               : "[" + std::string(entry) + "]";
      continue;
    }
    if (found == EntryInput::Found::kTooLong) {
      out += "too long: " + std::to_string(input.entries());
    }
    if (found == EntryInput::Found::kError) out += "error";
    break;
  }
  ::close(stop);
  std::fclose(file);
  return out;
}

}  // namespace

TEST_CASE("options and operands may be mixed, in every spelling") {
  const auto args = parse({"url", "--from", "3", "-n5", "log", "--prop=a=b", "--prop", "c=", "-f"});
  REQUIRE(args.ok());
  CHECK(args->operands() == 2);
  CHECK(args->operand(1) == "log");
  CHECK(args->value("from") == "3");
  CHECK(args->value("count") == "5");
  CHECK(args->has("follow"));
  CHECK(args->values("prop") == std::vector<std::string_view>{"a=b", "c="});
  CHECK_FALSE(args->has("json"));
  CHECK(parse({"url", "-fn", "7"})->value("count") == "7");
}

TEST_CASE("an option's value may begin with a dash, and what follows -- is an operand") {
  CHECK(parse({"url", "--from", "-5m"})->value("from") == "-5m");
  CHECK(parse({"url", "--", "--json"})->operand(1) == "--json");
  CHECK(parse({"url", "-"})->operand(1) == "-");
  CHECK(parse({"url", ""})->operand(1).empty());
}

TEST_CASE("of an option given twice the last counts") {
  CHECK(parse({"url", "--from", "1", "--from", "2"})->value("from") == "2");
}

TEST_CASE("an unknown option names the nearest known one") {
  CHECK(
      contains(message_of({"url", "--form", "1"}), "unknown option --form, did you mean --from?"));
  CHECK(contains(message_of({"url", "--jsno"}), "did you mean --json?"));
  CHECK(contains(message_of({"url", "--fol"}), "did you mean --follow?"));
  CHECK_FALSE(contains(message_of({"url", "--wholly-other"}), "did you mean"));
  CHECK(contains(message_of({"url", "-x"}), "unknown option -x"));
}

TEST_CASE("wrong usage of options and operands is said in words") {
  CHECK(contains(message_of({"url", "--from"}), "--from needs a value: --from LSN"));
  CHECK(contains(message_of({"url", "-n"}), "-n needs a value"));
  CHECK(contains(message_of({"url", "--follow=1"}), "--follow takes no value"));
  CHECK(contains(message_of({}), "too few operands, wanted URL LOG"));
  CHECK(contains(message_of({"a", "b", "c"}), "one operand too many: 'c'"));
  CHECK(parse({"--help"}).ok());
  const auto both = parse({"url", "--from", "1", "--count", "1"});
  CHECK_FALSE(both->exclusive("from", "count").ok());
  CHECK(both->exclusive("from", "follow").ok());
}

TEST_CASE("help shows every option and the example") {
  const std::string help = command_help(kCommand);
  for (const char* part : {"usage: wp cat [option ...] URL LOG", "-n, --count N", "--json",
                           "--meta PATH", "example:\n  wp cat"}) {
    CHECK(contains(help, part));
  }
}

TEST_CASE("numbers are parsed strictly") {
  CHECK(*parse_number("n", "0") == 0);
  CHECK(*parse_number("n", "18446744073709551615") == UINT64_MAX);
  for (const char* text : {"", " 1", "1 ", "-1", "+1", "0x10", "1e3", "1.0", "1k", "\xd9\xa1",
                           "18446744073709551616", "99999999999999999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_number("n", text).ok());
  }
  CHECK(contains(parse_number("--count", "ten").status().message(), "--count: 'ten'"));
  CHECK_FALSE(parse_lsn("LSN", "0").ok());
  CHECK(*parse_lsn("LSN", "007") == 7);
}

TEST_CASE("times: milliseconds, ISO 8601, and how long ago") {
  CHECK(time_of("0") == 0);
  CHECK(time_of("1769860800000") == kNow);
  CHECK(time_of("2026-01-31T12:00:00Z") == kNow);
  CHECK(time_of("2026-01-31t12:00:00.5z") == kNow + 500);
  CHECK(time_of("2026-01-31T12:00:00.123999Z") == kNow + 123);
  CHECK(time_of("2026-01-31 12:00") == kNow);
  CHECK(time_of("2026-01-31T14:00:00+02:00") == kNow);
  CHECK(time_of("2026-01-31T06:30:00-0530") == kNow);
  CHECK(time_of("2026-01-31") == kNow - 12 * 3'600'000);
  CHECK(time_of("2024-02-29") == 1'709'164'800'000);
  CHECK(time_of("-5m") == kNow - 300'000);
  CHECK(time_of("5m") == kNow - 300'000);
  CHECK(time_of("90s") == kNow - 90'000);
  CHECK(time_of("2h") == kNow - 7'200'000);
  CHECK(time_of("-3d") == kNow - 259'200'000);
  CHECK(time_of("99999999d") == 0);
}

TEST_CASE("what is no time is refused, and the message says what would be one") {
  for (const char* text : {"",
                           "-",
                           "m",
                           "-m",
                           "5",
                           "--5m",
                           "5 m",
                           "5w",
                           "5mm",
                           "1.5h",
                           "2026",
                           "2026-1-31",
                           "2026-13-01",
                           "2025-02-29",
                           "2026-01-31T",
                           "2026-01-31T24:00:00Z",
                           "2026-01-31T12:60:00Z",
                           "2026-01-31T12:00:60Z",
                           "2026-01-31T12:00:00.Z",
                           "2026-01-31T12:00:00Zx",
                           "2026-01-31T12:00:00+2:00",
                           "2026-01-31Z",
                           "yesterday",
                           "99999999999999999999",
                           "99999999999999999999d",
                           "9223372036854775808"}) {
    CAPTURE(text);
    const auto time = parse_time("--since", text, kNow);
    if (std::string_view(text) == "5" || std::string_view(text) == "2026") {
      CHECK(time.ok());  // milliseconds since 1970
    } else {
      REQUIRE_FALSE(time.ok());
      CHECK(contains(time.status().message(), "--since"));
    }
  }
}

TEST_CASE("sizes, durations, counts and prices read well") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1024) == "1.0 KiB");
  CHECK(human_bytes(1258291) == "1.2 MiB");
  CHECK(human_bytes(1048575) == "1.0 MiB");
  CHECK(human_bytes(UINT64_MAX) == "16.0 EiB");
  CHECK(human_duration(0) == "0.0 s");
  CHECK(human_duration(9'990) == "9.9 s");
  CHECK(human_duration(59'999) == "59 s");
  CHECK(human_duration(60'000) == "1 min");
  CHECK(human_duration(3'725'000) == "1 h 2 min");
  CHECK(human_duration(273'600'000) == "3 d 4 h");
  CHECK(human_duration(-60'000) == "-1 min");
  CHECK(human_count(0) == "0");
  CHECK(human_count(999) == "999");
  CHECK(human_count(1234567) == "1,234,567");
  CHECK(human_dollars(0) == "$0");
  CHECK(human_dollars(0.0000508) == "$0.000051");
  CHECK(human_dollars(0.00006) == "$0.00006");
  CHECK(human_dollars(0.0000004) == "$0.0000004");
  CHECK(human_dollars(1.239) == "$1.24");
  CHECK(human_dollars(1234) == "$1234.00");
  CHECK(iso_time(kNow + 7) == "2026-01-31T12:00:00.007Z");
  CHECK(iso_time(-1) == "1969-12-31T23:59:59.999Z");
}

TEST_CASE("the nearest word is one that may have been meant") {
  constexpr std::string_view known[] = {"append", "cat", "tail", "truncate", "verify"};
  CHECK(nearest("apend", known) == "append");
  CHECK(nearest("tial", known) == "tail");
  CHECK(nearest("cta", known) == "cat");
  CHECK(nearest("trunc", known) == "truncate");
  CHECK(nearest("VERIFY", known).empty());
  CHECK(nearest("xyzzy", known).empty());
  CHECK(nearest("", known).empty());
  CHECK(nearest(std::string(10'000, 'a'), known).empty());
}

TEST_CASE("UTF-8 is told from what only looks like it") {
  for (const char* good : {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                           "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80"}) {
    CHECK(is_utf8(good));
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x80\x80", "\xe2\x82", "\xed\xa0\x80",
        "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xff"}) {
    CHECK_FALSE(is_utf8(bad));
  }
  CHECK(is_utf8(std::string_view("\0", 1)));
  CHECK(printable("a\nb\x1b") == "a?b?");
  CHECK(printable("\xff\xfe") == "??");
  CHECK(printable(std::string(1000, 'x')).size() == 83);
}

TEST_CASE("JSON strings are escaped, and other bytes become base64") {
  CHECK(json_of("a\"b\\c\n\t\r\x01\x7f/") == "{\"payload\":\"a\\\"b\\\\c\\n\\t\\r\\u0001\x7f/\"}");
  CHECK(json_of(std::string_view("\0", 1)) == R"({"payload":"\u0000"})");
  CHECK(json_of("\xc3\xa4") == "{\"payload\":\"\xc3\xa4\"}");
  CHECK(json_of("") == R"({"payload":""})");
  CHECK(json_of("\xff") == R"({"payload_base64":"/w=="})");
  CHECK(json_of("\xff\xfe") == R"({"payload_base64":"//4="})");
  CHECK(json_of("\xff\xfe\xfd") == R"({"payload_base64":"//79"})");
  CHECK(json_of("\xff\xfe\xfd\xfc") == R"({"payload_base64":"//79/A=="})");
  std::string repaired;
  append_json_string(repaired, "a\xff\xc3\xa4\xe2\x82");
  CHECK(repaired == "\"a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST_CASE("JSON objects hold numbers, nothing, truth and properties") {
  const std::vector<Property> plain = {{"k", "v\""}, {"", ""}};
  const std::vector<Property> bytes = {{"k", "\xff"}};
  std::string out;
  JsonObject(out)
      .number("n", UINT64_MAX)
      .signed_number("i", INT64_MIN)
      .real("d", 0.5)
      .real("inf", 1e300 * 1e300)
      .null("x")
      .boolean("b", true)
      .properties("p", plain)
      .properties("q", bytes)
      .properties("e", {})
      .end_line();
  CHECK(
      out ==
      "{\"n\":18446744073709551615,\"i\":-9223372036854775808,\"d\":0.5,\"inf\":null,"
      "\"x\":null,\"b\":true,\"p\":{\"k\":\"v\\\"\",\"\":\"\"},\"q_base64\":[[\"aw==\",\"/w==\"]],"
      "\"e\":{}}\n");
}

TEST_CASE("lines: the newline is no part, a last line may lack it, an empty one is an entry") {
  CHECK(entries_of("", '\n', 100).empty());
  CHECK(entries_of("\n", '\n', 100) == "[]");
  CHECK(entries_of("a", '\n', 100) == "[a]");
  CHECK(entries_of("a\n", '\n', 100) == "[a]");
  CHECK(entries_of("a\n\nb", '\n', 100) == "[a][][b]");
  CHECK(entries_of("a\r\n", '\n', 100) == "[a\r]");
  CHECK(entries_of(std::string_view("a\nb\0c", 5), '\0', 100) == "[a\nb][c]");
  CHECK(entries_of("a\nb\n", std::nullopt, 100) == "[a\nb\n]");
  CHECK(entries_of("", std::nullopt, 100).empty());
}

TEST_CASE("an entry past the limit is named by its number, one at the limit is taken") {
  CHECK(entries_of("12345\n", '\n', 5) == "[12345]");
  CHECK(entries_of("12345", '\n', 5) == "[12345]");
  CHECK(entries_of("a\n123456\nb\n", '\n', 5) == "[a]too long: 2");
  CHECK(entries_of("123456", std::nullopt, 5) == "too long: 1");
  // Larger than the buffer, so that it has to grow, and to stop growing.
  const size_t max = 3'000'000;
  CHECK(entries_of("a\n" + std::string(max, 'x') + "\nb\n", '\n', max) == "[a](3000000)[b]");
  CHECK(entries_of("a\n" + std::string(max + 1, 'x') + "\nb\n", '\n', max) == "[a]too long: 2");
  CHECK(entries_of(std::string(max, 'x'), std::nullopt, max) == "(3000000)");
  CHECK(entries_of(std::string(max + 1, 'x'), std::nullopt, max) == "too long: 1");
}

TEST_CASE("lines that lie across the edges of the buffer come out whole") {
  std::string text, wanted;
  for (size_t i = 0; text.size() < 5'000'000; ++i) {
    const std::string line(i * 7919 % 150'000, static_cast<char>('a' + i % 26));
    text += line + "\n";
    wanted += line.size() > 64 ? "(" + std::to_string(line.size()) + ")" : "[" + line + "]";
  }
  CHECK(entries_of(text, '\n', 1 << 20) == wanted);
}

TEST_CASE("a request to stop ends the input after what was read, with the line that was begun") {
  int pipe_fds[2];
  REQUIRE(::pipe(pipe_fds) == 0);
  const int stop = ::eventfd(0, 0);
  EntryInput input(pipe_fds[0], stop, '\n', 100);
  REQUIRE(::write(pipe_fds[1], "a\nb", 3) == 3);
  std::string_view entry;
  REQUIRE(input.next(&entry) == EntryInput::Found::kEntry);
  CHECK(entry == "a");
  // "b" is in the buffer, its rest and another line are still in the pipe.
  REQUIRE(::write(pipe_fds[1], "bb\nc\n", 5) == 5);
  const uint64_t one = 1;
  REQUIRE(::write(stop, &one, sizeof(one)) == sizeof(one));
  REQUIRE(input.next(&entry) == EntryInput::Found::kEntry);
  CHECK(entry == "bbb");
  CHECK(input.next(&entry) == EntryInput::Found::kEnd);
  CHECK(input.next(&entry) == EntryInput::Found::kEnd);
  CHECK(input.bytes() == 6);
  for (const int fd : {pipe_fds[0], pipe_fds[1], stop}) ::close(fd);
}
