// Readers that want entries with given properties: they see just those, and what cannot hold any is
// neither fetched nor decoded.
#include <doctest/doctest.h>

#include <algorithm>

#include "engine/filter.h"
#include "tests/format_samples.h"
#include "tests/test_root.h"

namespace wp {
namespace {

constexpr Duration kLong{60'000};
using Texts = std::vector<std::string>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

// One that was appended, as it is remembered here.
struct Told {
  std::string text;
  Pairs properties;
};

bool has(const Told& entry, const Pairs& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& pair) {
    return std::find(entry.properties.begin(), entry.properties.end(), pair) !=
           entry.properties.end();
  });
}

Lsn append(Log& log, const Told& entry) {
  AppendOptions options;
  std::vector<Property> properties;
  for (const auto& [key, value] : entry.properties) properties.push_back({key, value});
  options.properties = properties;
  const auto lsn = log.append_async(as_bytes(entry.text), {}, options);
  require_ok(lsn.status());
  return *lsn;
}

std::vector<std::pair<Lsn, std::string>> all_of(Reader& reader, size_t batch = 0) {
  std::vector<std::pair<Lsn, std::string>> seen;
  for (;;) {
    if (batch == 0) {
      const auto next = reader.next();
      require_ok(next.status());
      if (!next->has_value()) return seen;
      seen.emplace_back((*next)->lsn, (*next)->text());
    } else {
      const auto next = reader.next_batch(batch);
      require_ok(next.status());
      if (next->empty()) return seen;
      for (const Entry& entry : *next) seen.emplace_back(entry.lsn, entry.text());
    }
  }
}

Reader reading(const Log& log, const Pairs& wanted, From from = From::first()) {
  auto reader = log.read(from, Filter{wanted});
  require_ok(reader.status());
  return std::move(reader).value();
}
Reader subscribed(const Log& log, const Pairs& wanted, From from = From::first()) {
  auto reader = log.subscribe(from, Filter{wanted});
  require_ok(reader.status());
  return std::move(reader).value();
}

struct Asked {
  uint64_t requests = 0, bytes = 0;
  Asked operator-(const Asked& other) const {
    return {requests - other.requests, bytes - other.bytes};
  }
};
Asked asked(const Wal& wal) {
  Asked sum;
  for (const RequestCount& count : wal.stats().requests) {
    if (count.cause != "read") continue;
    sum.requests += count.requests;
    sum.bytes += count.bytes;
  }
  return sum;
}

Pairs random_properties(SimRandom& random) {
  Pairs pairs;
  // Some are rare, some in every entry of a stretch, some different in each.
  if (random.chance(0.3)) pairs.emplace_back("host", "web" + std::to_string(random.below(3)));
  if (random.chance(0.02)) pairs.emplace_back("level", "error");
  if (random.chance(0.1)) pairs.emplace_back("host", "second");
  if (random.chance(0.05)) pairs.emplace_back("id", std::to_string(random.below(1'000)));
  if (random.chance(0.03)) pairs.emplace_back("", "");
  return pairs;
}

const std::vector<Pairs> kWanted = {
    {},
    {{"host", "web1"}},
    {{"level", "error"}},
    {{"level", "error"}, {"host", "web2"}},
    {{"host", "second"}, {"host", "web0"}},
    {{"id", "17"}},
    {{"", ""}},
    {{"host", "nosuch"}},
    {{"host", ""}},
};

// What a filter must give, from that LSN on.
std::vector<std::pair<Lsn, std::string>> expected(const std::vector<Told>& told,
                                                  const Pairs& wanted, Lsn from = 1) {
  std::vector<std::pair<Lsn, std::string>> out;
  for (Lsn lsn = from; lsn <= told.size(); ++lsn) {
    if (has(told[lsn - 1], wanted)) out.emplace_back(lsn, told[lsn - 1].text);
  }
  return out;
}

// The same of the entries that a reader without a filter gives.
std::vector<std::pair<Lsn, std::string>> by_hand(const Log& log, const Pairs& wanted) {
  std::vector<std::pair<Lsn, std::string>> out;
  for (const Entry& entry : read_entries(log)) {
    Told told{std::string(entry.text()), {}};
    for (const Property& each : entry.properties()) {
      told.properties.emplace_back(each.key, each.value);
    }
    if (has(told, wanted)) out.emplace_back(entry.lsn, told.text);
  }
  return out;
}

}  // namespace

TEST_CASE("a filter gives just the entries that have all the properties, wherever it begins") {
  const TestRoot root(each_root());
  SimRandom random(11);
  Options options = root.options();
  options.fragment_bytes_max = 32u << 10;
  options.block_bytes = 1u << 10;
  options.ram_bytes_max = 2u << 20;
  std::vector<Told> told, other;
  const auto check_all = [&](Wal& wal) {
    const Log log = log_of(wal, "a");
    for (const Pairs& wanted : kWanted) {
      Reader one = reading(log, wanted), batch = reading(log, wanted);
      CHECK((all_of(one) == expected(told, wanted)));
      CHECK((all_of(batch, 1 + random.below(50)) == expected(told, wanted)));
      CHECK((by_hand(log, wanted) == expected(told, wanted)));
      CHECK(one.position() == told.size() + 1);
      const Lsn from = random.between(1, told.size());
      Reader part = subscribed(log, wanted, From::at(from));
      CHECK((all_of(part, 7) == expected(told, wanted, from)));
      CHECK(part.position() == told.size() + 1);
      require_ok(part.seek(From::at(from / 2 + 1)));
      CHECK((all_of(part) == expected(told, wanted, from / 2 + 1)));
    }
  };
  {
    const auto wal = root.open(options);
    Log log = log_of(*wal, "a"), beside = log_of(*wal, "b");
    for (int i = 0; i < 4'000; ++i) {
      // Stretches without properties, which fill whole fragments.
      const bool none = i / 500 % 2 == 1;
      Told entry{std::to_string(i) + noise(static_cast<uint64_t>(i), random.below(200)),
                 none ? Pairs{} : random_properties(random)};
      if (random.chance(0.2)) {
        append(beside, entry);
      } else {
        append(log, entry);
        told.push_back(std::move(entry));
      }
      if (i % 300 == 0) require_ok(wal->flush());
    }
    require_ok(wal->flush());
    check_all(*wal);
    require_ok(wal->verify());
    require_ok(wal->close());
  }
  const auto wal = root.open(options);
  check_all(*wal);
}

TEST_CASE("blocks that cannot match are not fetched") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.block_bytes = 32u << 10;
  options.compression_level = 0;
  options.linger = Duration{600'000};
  const std::string text = noise(1, 1'000);
  constexpr uint64_t kCount = 4'000;  // of 4 MB, in one fragment
  const std::vector<Lsn> rare = {1'001, 1'003, 2'500, 3'900};
  {
    const auto wal = root.open(options);
    Log log = log_of(*wal, "a");
    for (Lsn lsn = 1; lsn <= kCount; ++lsn) {
      const bool is_rare = std::find(rare.begin(), rare.end(), lsn) != rare.end();
      append(log, {text, {{"kind", is_rare ? "rare" : "common"}}});
    }
    require_ok(wal->close());
  }
  REQUIRE(root.keys().size() <= 5);
  auto wal = root.open(options);
  Log log = log_of(*wal, "a");
  Asked before = asked(*wal);
  Reader reader = reading(log, {{"kind", "rare"}});
  const auto found = all_of(reader);
  REQUIRE(found.size() == rare.size());
  for (size_t i = 0; i < rare.size(); ++i) CHECK(found[i].first == rare[i]);
  CHECK(reader.position() == kCount + 1);
  Asked cost = asked(*wal) - before;
  // The head, and three blocks.
  CHECK(cost.requests == 1 + 3);
  CHECK(cost.bytes <= (64u << 10) + 3 * (33u << 10));
  // What nobody has costs nothing now: the index is known.
  before = asked(*wal);
  Reader nothing = reading(log, {{"kind", "nosuch"}});
  CHECK(all_of(nothing).empty());
  CHECK(nothing.position() == kCount + 1);
  CHECK((asked(*wal) - before).requests == 0);
  // Neighbours are fetched with one request.
  require_ok(wal->close());
  wal = root.open(options);
  log = log_of(*wal, "a");
  before = asked(*wal);
  Reader common = reading(log, {{"kind", "common"}});
  CHECK(all_of(common).size() == kCount - rare.size());
  CHECK((asked(*wal) - before).requests <= 10);
}

TEST_CASE("runs in which nothing matches are passed over by their index alone") {
  const TestRoot root(each_root());
  Options options = root.options();
  options.fragment_bytes_max = 256u << 10;
  options.block_bytes = 16u << 10;
  options.compression_level = 0;
  options.linger = Duration{600'000};
  const std::string text = noise(2, 1'000);
  constexpr uint64_t kFragments = 20;
  {
    const auto wal = root.open(options);
    Log log = log_of(*wal, "a");
    for (uint64_t fragment = 0; fragment < kFragments; ++fragment) {
      for (int i = 0; i < 200; ++i) {
        append(log, {text, {{"fragment", std::to_string(fragment)}}});
      }
      require_ok(wal->flush());
    }
    require_ok(wal->close());
  }
  const auto wal = root.open(options);
  const Log log = log_of(*wal, "a");
  const Asked before = asked(*wal);
  Reader reader = reading(log, {{"fragment", "nosuch"}});
  CHECK(all_of(reader).empty());
  CHECK(reader.position() == kFragments * 200 + 1);
  Asked cost = asked(*wal) - before;
  CHECK(cost.requests == kFragments);  // their heads
  CHECK(cost.bytes <= kFragments * (64u << 10));
  Reader one = reading(log, {{"fragment", "7"}});
  CHECK(all_of(one).size() == 200);
  cost = asked(*wal) - before;
  CHECK(cost.requests == kFragments + 1);
}

TEST_CASE("a subscriber with a filter waits for what it wants, and for what is published of it") {
  const TestRoot root(each_root());
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  const Pairs wanted = {{"host", "web1"}};
  Reader reader = subscribed(log, wanted);
  append(log, {"1", {}});
  append(log, {"2", {{"host", "web2"}}});
  require_ok(wal->flush());
  auto next = reader.next();
  require_ok(next.status());
  CHECK_FALSE(next->has_value());
  CHECK(reader.position() == 3);
  const Property web1[] = {{"host", "web1"}}, web2[] = {{"host", "web2"}};
  require_ok(log.publish(as_bytes("not this"), web2));
  require_ok(log.publish(as_bytes("nor this")));
  require_ok(log.publish(as_bytes("this"), web1));
  append(log, {"3", {{"x", "y"}}});
  append(log, {"4", {{"x", "y"}, {"host", "web1"}}});
  require_ok(log.publish(as_bytes("and this"), web1));
  for (const char* text : {"this", "4", "and this"}) {
    next = reader.next(kLong);
    require_ok(next.status());
    REQUIRE(next->has_value());
    CHECK((*next)->text() == text);
    CHECK((*next)->stored == (std::string_view(text) == "4"));
  }
  CHECK(wal->stats().ephemeral_published == 4);
  CHECK(wal->stats().ephemeral_delivered == 2);
}

TEST_CASE("a filter beginning at a time gives what matches from then on") {
  SimWorld world(3);
  Options options;
  options.block_bytes = 1u << 10;
  Site site = world.open("a", options);
  Log log = log_of(site, "a");
  std::vector<Told> told;
  int64_t middle = 0;
  for (int i = 0; i < 300; ++i) {
    told.push_back(
        {std::to_string(i) + std::string(100, 'x'), i % 50 == 7 ? Pairs{{"k", "v"}} : Pairs{}});
    append(log, told.back());
    world.sim.run_for(Duration{10});
    if (i == 120) middle = site.machine->wall_ms();
  }
  require_ok(site->flush({}));
  Reader reader = reading(log, {{"k", "v"}}, From::time(middle));
  CHECK((all_of(reader) == expected(told, {{"k", "v"}}, 122)));
  require_ok(site->close());
}

TEST_CASE("a filter finds everything on a store that loses answers and is slow") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    SimWorld world(seed);
    SimRandom random(seed);
    Options options;
    options.fragment_bytes_max = 512u << 10;
    options.block_bytes = 4u << 10;
    options.compression_level = 0;
    options.ram_bytes_max = 8u << 20;
    std::vector<Told> told;
    const auto disk = std::make_shared<MemViewData>();
    {
      Site site = world.open("writer", options, disk);
      Log log = log_of(site, "a");
      for (int i = 0; i < 1'500; ++i) {
        told.push_back({noise(static_cast<uint64_t>(i), 400), random_properties(random)});
        append(log, told.back());
      }
      require_ok(site->close());
    }
    Site site = world.open("reader", options, disk);
    site.store->faults = SimFaults::some();
    const Log log = log_of(site, "a");
    for (const Pairs& wanted : kWanted) {
      Reader reader = reading(log, wanted);
      CHECK((all_of(reader, 10) == expected(told, wanted)));
    }
    site.store->faults = {};
    require_ok(site->close());
  }
}

TEST_CASE("damage in a block that cannot match is in nobody's way, and elsewhere it is told") {
  const TestRoot root(RootKind::kMemory);
  Options options = root.options();
  options.block_bytes = 4u << 10;
  options.compression_level = 0;
  options.linger = Duration{10'000};  // all in one fragment
  {
    const auto wal = root.open(options);
    Log log = log_of(*wal, "a");
    for (int i = 0; i < 400; ++i) {
      append(log, {noise(static_cast<uint64_t>(i), 1'000), {{"half", i < 200 ? "1" : "2"}}});
    }
    require_ok(wal->close());
  }
  for (const std::string& key : root.keys()) {
    auto bytes = root.bytes(key);
    if (bytes.size() < 300'000) continue;
    bytes[bytes.size() - 1'000] ^= std::byte{1};
    root.put(key, bytes);
  }
  const auto wal = root.open(options);
  const Log log = log_of(*wal, "a");
  Reader first = reading(log, {{"half", "1"}});
  CHECK(all_of(first).size() == 200);
  Reader second = reading(log, {{"half", "2"}});
  Result<std::optional<Entry>> next = second.next();
  while (next.ok() && next->has_value()) next = second.next();
  CHECK_CODE(next, Code::kCorrupt);
}

TEST_CASE("fragments that do not say which properties they have are looked through") {
  SimWorld world(1);
  for (const char* name : {"root", "one_log"}) {
    const SampleObject& object = sample(name);
    world.bucket->overwrite(object.key, {object.bytes.begin(), object.bytes.end()});
  }
  Options options;
  options.read_only = true;
  Site site = world.open("a", options);
  require_ok(site.status);
  const auto log = site->find("orders");
  require_ok(log.status());
  Reader reader = reading(*log, {{"host", "web1"}, {"empty", ""}});
  CHECK((all_of(reader) == std::vector<std::pair<Lsn, std::string>>{{2, ""}}));
  require_ok(site->close());
}

TEST_CASE("only fragments in which an entry has properties say which") {
  const TestRoot root(RootKind::kMemory);
  const auto wal = root.open();
  Log log = log_of(*wal, "a");
  const auto newest_flag = [&] {
    const auto keys = root.keys();
    const auto last = std::find_if(keys.rbegin(), keys.rend(),
                                   [](const std::string& key) { return key.starts_with("j/"); });
    REQUIRE(last != keys.rend());
    const auto header = decode_header(root.bytes(*last));
    require_ok(header.status());
    return header->properties;
  };
  append_text(log, "1");
  CHECK_FALSE(newest_flag());
  append(log, {"2", {{"k", "v"}}});
  require_ok(wal->flush());
  CHECK(newest_flag());
  append_text(log, "3");
  CHECK_FALSE(newest_flag());
}

TEST_CASE("verify tells a property that the index does not know") {
  const TestRoot root(RootKind::kMemory);
  {
    const auto wal = root.open();
    Log log = log_of(*wal, "a");
    append(log, {"1", {{"k", "v"}}});
    require_ok(wal->flush());
    wal->abandon();
  }
  const auto keys = root.keys();
  const auto key = std::find_if(keys.begin(), keys.end(),
                                [](const std::string& each) { return each.starts_with("j/"); });
  REQUIRE(key != keys.end());
  ByteVector bytes = root.bytes(*key);
  auto header = decode_header(bytes);
  require_ok(header.status());
  REQUIRE(header->properties);
  // The hash ends the index.
  bytes[header->header_bytes + header->index_bytes - 1] ^= std::byte{1};
  const Bytes body = Bytes(bytes).subspan(header->header_bytes);
  header->index_crc = crc32c(body.first(header->index_bytes));
  header->body_digest = sha256(body);
  encode_header(*header, bytes.data());
  root.put(*key, bytes);
  Options options = root.options();
  options.rebuild = true;
  const auto wal = root.open(options);
  std::string what;
  const Status status = wal->verify([&](const VerifyProgress& progress) {
    if (progress.damage != nullptr) what = progress.damage->what;
  });
  CHECK_CODE(status, Code::kCorrupt);
  CHECK(what == "an entry has a property that the index does not know");
}

}  // namespace wp
