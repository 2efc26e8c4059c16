// What Stats counts, and how it is told to Prometheus: checked against the rules of its text
// format, by a reader that knows nothing but them.
#include <doctest/doctest.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "tests/test_root.h"

namespace wp {
namespace {

using Labels = std::map<std::string, std::string>;
struct Sample {
  std::string name;
  Labels labels;
  double value = 0;
};
struct Family {
  std::string type, help;
  std::vector<Sample> samples;
};
using Families = std::map<std::string, Family>;

bool is_name(std::string_view text, bool colon) {
  const auto fits = [colon](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
  };
  return !text.empty() && fits(text[0]) && std::all_of(text.begin(), text.end(), [&](char c) {
    return fits(c) || (c >= '0' && c <= '9');
  });
}

double value_of(std::string_view text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  CHECK(error == std::errc());
  CHECK(end == text.data() + text.size());
  CHECK(std::isfinite(value));
  return value;
}

// `name{a="b",c="d"} 1`
Sample sample_of(std::string_view line) {
  Sample sample;
  size_t at = line.find_first_of("{ ");
  REQUIRE(at != line.npos);
  sample.name = line.substr(0, at);
  CHECK(is_name(sample.name, true));
  if (line[at] == '{') {
    ++at;
    while (line.at(at) != '}') {
      const size_t equals = line.find('=', at);
      REQUIRE(equals != line.npos);
      const std::string name(line.substr(at, equals - at));
      CHECK(is_name(name, false));
      CHECK_FALSE(name.starts_with("__"));
      REQUIRE(line.at(equals + 1) == '"');
      std::string value;
      for (at = equals + 2; line.at(at) != '"'; ++at) {
        if (line[at] != '\\') {
          value += line[at];
          continue;
        }
        ++at;
        REQUIRE(std::string_view("\\\"n").find(line.at(at)) != std::string_view::npos);
        value += line[at] == 'n' ? '\n' : line[at];
      }
      CHECK(sample.labels.emplace(name, value).second);
      ++at;
      if (line.at(at) == ',') ++at;
    }
    ++at;
  }
  REQUIRE(line.at(at) == ' ');
  sample.value = value_of(line.substr(at + 1));
  return sample;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.ends_with(end);
}

void check_histogram(const std::string& name, const Family& family) {
  double before = 0, bound = -1, last = -1;
  std::optional<double> sum, count;
  for (const Sample& sample : family.samples) {
    if (sample.name == name + "_bucket") {
      REQUIRE(sample.labels.contains("le"));
      const double le = value_of(sample.labels.at("le"));
      CHECK(le > bound);
      bound = le;
      CHECK(sample.value >= before);
      before = last = sample.value;
    } else if (sample.name == name + "_sum") {
      sum = sample.value;
    } else if (sample.name == name + "_count") {
      count = sample.value;
    } else {
      FAIL_CHECK(sample.name << " in a histogram");
    }
  }
  CHECK(std::isinf(bound));
  REQUIRE((sum && count));
  CHECK(*count == last);
  CHECK(*sum >= 0);
}

// Checks the whole text, and gives what it says.
Families exposed(const std::string& text) {
  Families families;
  std::string now;
  std::set<std::pair<std::string, Labels>> seen;
  REQUIRE(ends_with(text, "\n"));
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    INFO(line);
    if (line.starts_with("# HELP ")) {
      const size_t space = line.find(' ', 7);
      REQUIRE(space != line.npos);
      now = line.substr(7, space - 7);
      CHECK(is_name(now, true));
      CHECK_FALSE(families.contains(now));  // once, and all of it together
      families[now].help = line.substr(space + 1);
      CHECK_FALSE(families[now].help.empty());
    } else if (line.starts_with("# TYPE ")) {
      const size_t space = line.find(' ', 7);
      REQUIRE(space != line.npos);
      CHECK(line.substr(7, space - 7) == now);
      CHECK(families[now].samples.empty());
      CHECK(families[now].type.empty());
      families[now].type = line.substr(space + 1);
    } else {
      const Sample sample = sample_of(line);
      Family& family = families[now];
      const bool of_histogram = family.type == "histogram" && sample.name.starts_with(now + "_");
      CHECK((sample.name == now || of_histogram));
      CHECK(seen.emplace(sample.name, sample.labels).second);
      family.samples.push_back(sample);
    }
  }
  for (const auto& each : families) {
    const std::string& name = each.first;
    const Family& family = each.second;
    INFO(name);
    CHECK((family.type == "counter" || family.type == "gauge" || family.type == "histogram"));
    CHECK(ends_with(name, "_total") == (family.type == "counter"));
    for (const Sample& sample : family.samples) CHECK(sample.value >= 0);
    if (family.type == "histogram") check_histogram(name, family);
  }
  return families;
}

// The only sample with these labels, besides "root".
double metric(const Families& families, const std::string& name, const Labels& labels = {}) {
  std::optional<double> found;
  REQUIRE(families.contains(name));
  for (const Sample& sample : families.at(name).samples) {
    Labels rest = sample.labels;
    rest.erase("root");
    if (sample.name != name || rest != labels) continue;
    CHECK_FALSE(found);
    found = sample.value;
  }
  REQUIRE(found);
  return *found;
}

}  // namespace

TEST_CASE("a histogram counts a value in the first bucket that reaches it") {
  using std::chrono::nanoseconds;
  Histogram histogram;
  for (size_t i = 0; i < Histogram::kBuckets; ++i) {
    histogram.add(Histogram::upper_bound(i));
    histogram.add(Histogram::upper_bound(i) + nanoseconds{1});
    if (i > 0) CHECK(Histogram::upper_bound(i) == Histogram::upper_bound(i - 1) * 2);
  }
  CHECK(histogram.counts[0] == 1);
  for (size_t i = 1; i < Histogram::kBuckets; ++i) CHECK(histogram.counts[i] == 2);
  CHECK(histogram.counts[Histogram::kBuckets] == 1);
  CHECK(histogram.count == 2 * Histogram::kBuckets);
  CHECK(histogram.sum > Histogram::upper_bound(Histogram::kBuckets - 1) * 3);
  Histogram none;
  none.add(nanoseconds{0});
  CHECK(none.counts[0] == 1);
}

TEST_CASE("stats of a root that did nothing, and of one that did, are valid for Prometheus") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  (void)exposed(to_prometheus(Stats(), ""));
  const Families before = exposed(to_prometheus(wal->stats(), root.url()));
  CHECK(metric(before, "wp_appended_entries_total") == 0);
  Log log = log_of(*wal, "a");
  Reader reader = std::move(log.subscribe()).value();
  const Property properties[] = {{"host", "web1"}};
  AppendOptions options;
  options.properties = properties;
  for (int i = 0; i < 10; ++i) require_ok(log.append(as_bytes("12345"), options).status());
  require_ok(log.publish(as_bytes("x")));
  const Stats stats = wal->stats();
  const Families after = exposed(to_prometheus(stats, root.url()));
  CHECK(metric(after, "wp_appended_entries_total") == 10);
  CHECK(metric(after, "wp_durable_entries_total") == 10);
  // With the lengths of the properties, as LogInfo counts them.
  CHECK(metric(after, "wp_appended_bytes_total") == static_cast<double>(log.info().bytes));
  CHECK(metric(after, "wp_durable_bytes_total") == static_cast<double>(log.info().bytes));
  CHECK(metric(after, "wp_backlog_entries") == 0);
  CHECK(metric(after, "wp_backlog_bytes") == 0);
  CHECK(metric(after, "wp_backlog_age_seconds") == 0);
  CHECK(metric(after, "wp_stored_fragments_total") == 10);
  CHECK(stats.flush_latency.count == 10);
  CHECK(stats.flush_latency.sum > std::chrono::nanoseconds{0});
  CHECK(metric(after, "wp_ephemeral_published_entries_total") == 1);
  CHECK(metric(after, "wp_ram_bytes", {{"use", "ephemeral"}}) > 0);
  CHECK(metric(after, "wp_requests_total", {{"operation", "put"}, {"cause", "flush"}}) == 10);
  CHECK(metric(after, "wp_request_bytes_total", {{"operation", "put"}, {"cause", "flush"}}) ==
        static_cast<double>(stats.fragment_bytes_stored));
  uint64_t ram = 0;
  for (const Sample& sample : after.at("wp_ram_bytes").samples) {
    ram += static_cast<uint64_t>(sample.value);
  }
  CHECK(ram == stats.ram_bytes);
}

TEST_CASE("the root's label comes back whatever it holds") {
  const auto label = [](std::string_view root) {
    const Families families = exposed(to_prometheus(Stats(), root));
    return families.at("wp_backlog_bytes").samples.at(0).labels.at("root");
  };
  for (const std::string_view root :
       {"", "s3://bucket/a b", "quote\" back\\slash\nline} ,x=\"1\"", "caf\xc3\xa9", "\\n", "\\"}) {
    CHECK(label(root) == root);
  }
  CHECK(label("\xff x") == "? x");  // no UTF-8
}

TEST_CASE("dollars are told by kind and cause, and add up") {
  SimWorld world(1);
  Options options;
  options.dollars_per_1000_puts = 5;
  options.dollars_per_1000_gets = 0.5;
  Site site = world.open("a", options);
  Log log = log_of(site, "a");
  for (int i = 0; i < 20; ++i) append_text(log, "x");
  const Stats stats = site->stats();
  double sum = 0;
  for (const RequestCount& count : stats.requests) {
    const double each = count.operation == "get" ? 0.0005 : count.operation == "delete" ? 0 : 0.005;
    CHECK(count.dollars == doctest::Approx(static_cast<double>(count.requests) * each));
    sum += count.dollars;
  }
  CHECK(sum > 0);
  CHECK(stats.dollars == doctest::Approx(sum));
  const Families families = exposed(to_prometheus(stats, "sim"));
  CHECK(metric(families, "wp_request_dollars_total", {{"operation", "put"}, {"cause", "flush"}}) ==
        doctest::Approx(20 * 0.005));
  require_ok(site->close());
}

TEST_CASE("retries are counted by what the store answered, and add up") {
  const std::vector<std::pair<Answer, uint64_t RetryCounts::*>> causes = {
      {Answer::kThrottled, &RetryCounts::throttled}, {Answer::kUnknown, &RetryCounts::unknown},
      {Answer::kConflict, &RetryCounts::conflict},   {Answer::kDenied, &RetryCounts::denied},
      {Answer::kNoSpace, &RetryCounts::no_space},    {Answer::kUnsupported, &RetryCounts::other},
  };
  for (const auto& each : causes) {
    const Answer answer = each.first;
    const auto member = each.second;
    CAPTURE(answer_name(answer));
    SimWorld world(1);
    Site site = world.open("a");
    Log log = log_of(site, "a");
    site.store->script = [answer](const SimRequest& request) -> std::optional<SimFate> {
      if (!request.put("j/") || request.attempt >= 3) return std::nullopt;
      return fate_lost_request(answer);
    };
    append_text(log, "x");
    const Stats stats = site->stats();
    CHECK(stats.retries == 3);
    CHECK(stats.retries_by_cause.*member == 3);
    const RetryCounts& by = stats.retries_by_cause;
    CHECK(by.throttled + by.unknown + by.conflict + by.denied + by.no_space + by.other == 3);
    CHECK(stats.last_error.empty());
    require_ok(site->close());
  }
}

TEST_CASE("the backlog is what is neither acknowledged nor refused, with the age of the oldest") {
  SimWorld world(1);
  Site site = world.open("a");
  Log log = log_of(site, "a");
  append_text(log, "1");
  CHECK(site->stats().backlog_entries == 0);
  site.store->faults.down = true;
  for (int i = 0; i < 3; ++i) require_ok(log.append_async(as_bytes("12345")).status());
  world.sim.run_for(Duration{5'000});
  for (int i = 0; i < 4; ++i) require_ok(log.append_async(as_bytes("123")).status());
  Stats stats = site->stats();
  CHECK(stats.backlog_entries == 7);
  CHECK(stats.backlog_bytes == 3 * 5 + 4 * 3);
  CHECK(stats.backlog_age >= Duration{5'000});
  CHECK(stats.entries_appended == stats.entries_durable + stats.backlog_entries);
  CHECK(stats.bytes_appended == stats.bytes_durable + stats.backlog_bytes);
  CHECK_FALSE(stats.last_error.empty());
  CHECK(metric(exposed(to_prometheus(stats, "sim")), "wp_store_failing") == 1);

  SUBCASE("and it goes when the store is back") {
    site.store->faults.down = false;
    require_ok(site->flush({}));
    stats = site->stats();
    CHECK(stats.backlog_entries == 0);
    CHECK(stats.backlog_bytes == 0);
    CHECK(stats.backlog_age == Duration{0});
    // The fragment waited for the store.
    CHECK(stats.flush_latency.sum >= std::chrono::seconds{5});
    CHECK(metric(exposed(to_prometheus(stats, "sim")), "wp_store_failing") == 0);
    require_ok(site->close());
  }
  SUBCASE("and it goes when its callers are told that it will not be stored") {
    SimStore& store = *site.store;
    store.faults.down = false;
    Site other = world.open("b");
    CHECK_CODE(site->flush({}), Code::kFenced);
    stats = site->stats();
    CHECK(stats.backlog_entries == 0);
    CHECK(stats.backlog_bytes == 0);
    CHECK(stats.backlog_age == Duration{0});
    site.engine->abandon();
    require_ok(other->close());
  }
}

}  // namespace wp
