// Whole lives of logs, as programs lead them: several logs, terms of opening and closing, appenders
// and tailing readers side by side. What Milvus asks of any of its write-ahead logs; and how a
// producer that was killed in the middle of an append finds out whether it happened.
#include <doctest/doctest.h>

#include <map>
#include <mutex>
#include <thread>

#include "tests/test_root.h"

namespace wp {
namespace {

constexpr int kLogs = 3, kTerms = 3, kAppenders = 5, kTailing = 2;
constexpr Lsn kPerTerm = 1'000;  // messages of each log
constexpr Duration kLong{120'000};

std::string log_name(int number) {
  return "vchannel-" + std::to_string(number);
}

// A message says by whom it is and which of theirs: term, appender, number.
std::string message(int term, int appender, Lsn number) {
  return std::to_string(term) + "/" + std::to_string(appender) + "/" + std::to_string(number);
}

// What each LSN of each log was acknowledged as.
class Acknowledged {
 public:
  void add(int log, Lsn lsn, const std::string& text) {
    const std::lock_guard lock(mutex_);
    const bool is_new = all_[log].emplace(lsn, text).second;
    CHECK(is_new);
  }
  std::map<Lsn, std::string> of(int log) {
    const std::lock_guard lock(mutex_);
    return all_[log];
  }

 private:
  std::mutex mutex_;
  std::map<int, std::map<Lsn, std::string>> all_;
};

// A fifth of a term's messages of one log, most of them without waiting.
void append_some(Log log, int number, int term, int appender, Acknowledged& told) {
  for (Lsn i = 1; i <= kPerTerm / kAppenders; ++i) {
    const std::string text = message(term, appender, i);
    const std::string when = std::to_string(term), who = std::to_string(appender);
    const Property properties[] = {{"term", when}, {"appender", who}};
    AppendOptions options;
    options.properties = properties;
    if (i % 20 == 0) {
      const auto lsn = log.append(as_bytes(text), options);
      CHECK(lsn.ok());
      if (lsn.ok()) told.add(number, *lsn, text);
      continue;
    }
    const auto given = log.append_async(
        as_bytes(text),
        [&told, number, text](const Result<Lsn>& lsn) {
          CHECK(lsn.ok());
          if (lsn.ok()) told.add(number, *lsn, text);
        },
        options);
    CHECK(given.ok());
  }
}

// Reads along from the first entry of all to the last of this term.
std::vector<std::string> tail(const Log& log, Lsn count) {
  std::vector<std::string> texts;
  auto reader = log.subscribe(From::first());
  CHECK(reader.ok());
  while (reader.ok() && texts.size() < count) {
    const auto got = reader->next_batch(100, kLong);
    CHECK(got.ok());
    if (!got.ok() || got->empty()) break;
    for (const Entry& entry : *got) {
      CHECK(entry.lsn == texts.size() + 1);
      texts.emplace_back(entry.text());
    }
  }
  return texts;
}

void check_order_of_each_appender(const std::vector<std::string>& texts) {
  std::map<std::string, Lsn> last;
  for (const std::string& text : texts) {
    const size_t slash = text.rfind('/');
    const Lsn number = std::stoull(text.substr(slash + 1));
    CHECK(number == ++last[text.substr(0, slash)]);
  }
}

}  // namespace

TEST_CASE("three logs, three terms: five appenders and two tailing readers each, all of it once") {
  const TestRoot root(each_root());
  Acknowledged told;
  for (int term = 1; term <= kTerms; ++term) {
    CAPTURE(term);
    const auto wal = root.open();
    const Lsn count = kPerTerm * static_cast<Lsn>(term);
    std::vector<Log> logs;
    for (int number = 0; number < kLogs; ++number) {
      logs.push_back(log_of(*wal, log_name(number)));
      CHECK(logs.back().info().lsn_durable == count - kPerTerm);
    }
    std::vector<std::thread> threads;
    std::vector<std::vector<std::string>> seen(kLogs * kTailing);
    for (int number = 0; number < kLogs; ++number) {
      const Log& log = logs[static_cast<size_t>(number)];
      for (int appender = 0; appender < kAppenders; ++appender) {
        threads.emplace_back(
            [&, log, number, term, appender] { append_some(log, number, term, appender, told); });
      }
      for (int reader = 0; reader < kTailing; ++reader) {
        threads.emplace_back(
            [&, log, place = &seen[number * kTailing + reader]] { *place = tail(log, count); });
      }
    }
    for (std::thread& thread : threads) thread.join();
    require_ok(wal->close());
    for (int number = 0; number < kLogs; ++number) {
      CAPTURE(number);
      const auto all = told.of(number);
      REQUIRE(all.size() == count);
      std::vector<std::string> expected;
      for (const auto& [lsn, text] : all) {
        CHECK(lsn == expected.size() + 1);
        expected.push_back(text);
      }
      check_order_of_each_appender(expected);
      for (int reader = 0; reader < kTailing; ++reader) {
        CHECK(seen[number * kTailing + reader] == expected);
      }
    }
  }

  Options options = root.options();
  options.read_only = true;
  const auto wal = root.open(options);
  for (int number = 0; number < kLogs; ++number) {
    Log log = log_of(*wal, log_name(number));
    CHECK_CODE(log.append(as_bytes("no")), Code::kReadOnly);
    CHECK_CODE(log.append_async(as_bytes("no")), Code::kReadOnly);
    CHECK_CODE(log.truncate(1), Code::kReadOnly);
    CHECK_CODE(wal->drop(log_name(number)), Code::kReadOnly);
    CHECK(read_texts(log).size() == kTerms * kPerTerm);
    CHECK(read_texts(log, From::at(kPerTerm + 1)).size() == (kTerms - 1) * kPerTerm);
  }
  CHECK_CODE(wal->log("another"), Code::kReadOnly);
}

TEST_CASE("a producer that was killed in an append finds out whether it happened") {
  for (const bool applied : {false, true}) {
    CAPTURE(applied);
    SimWorld world(1);
    const auto disk = std::make_shared<MemViewData>();
    const auto labelled = [](Log& log, int number) {
      const std::string text = std::to_string(number);
      const Property properties[] = {{"producer", "p7"}, {"number", text}};
      AppendOptions options;
      options.properties = properties;
      return log.append(as_bytes("entry " + text), options);
    };
    bool dies = false;
    Site site = world.open("writer", {}, disk, [&](SimStore& store) {
      store.script = [&](const SimRequest& request) -> std::optional<SimFate> {
        if (!dies || !request.put("j/")) return std::nullopt;
        return SimFate{applied, std::nullopt, {}, false};
      };
    });
    require_ok(site.status);
    Log log = log_of(site, "a");
    for (int number = 1; number <= 3; ++number) require_ok(labelled(log, number).status());
    dies = true;
    world.sim.spawn(site.machine, "append", [&] { (void)labelled(log, 4); });
    world.sim.run_for(Duration{1'000});
    site.machine->kill();

    Site again = world.open("writer again", {}, disk);
    require_ok(again.status);
    Log found = log_of(again, "a");
    Filter filter;
    filter.properties = {{"producer", "p7"}, {"number", "4"}};
    auto reader = found.read(From::first(), filter);
    require_ok(reader.status());
    const auto entry = reader->next();
    require_ok(entry.status());
    CHECK(entry->has_value() == applied);
    if (!entry->has_value()) require_ok(labelled(found, 4).status());
    CHECK(read_texts(found) == texts("entry ", 4));
  }
}

}  // namespace wp
