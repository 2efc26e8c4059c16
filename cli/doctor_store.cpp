// What `wp doctor` asks of any store, by the operations that the log uses; see doctor.h.
#include <algorithm>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <thread>

#include "cli/doctor.h"
#include "cli/values.h"
#include "stores/keys.h"

namespace wp::cli {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kSmallBytes = 4096;
constexpr size_t kLargeBytes = 4 << 20;
constexpr int kTries = 4;
constexpr size_t kRacers = 8, kRaces = 5;
constexpr size_t kSamples = 100;
constexpr std::chrono::seconds kSamplingTime{6};
constexpr size_t kLargeObjects = 8;

Body random_body(size_t size) {
  static std::mt19937_64 random{std::random_device{}()};
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::copy_n(reinterpret_cast<const std::byte*>(&word), std::min(sizeof word, size - i),
                bytes.begin() + static_cast<ptrdiff_t>(i));
  }
  return std::make_shared<const std::vector<std::byte>>(std::move(bytes));
}

std::string random_name() {
  std::random_device device;
  char text[20];
  std::snprintf(text, sizeof text, "%08x%08x", device(), device());
  return text;
}

const StoreStatus& status_of(const StoreStatus& status) {
  return status;
}
template <class T>
const StoreStatus& status_of(const T& result) {
  return result.status;
}

struct Percentiles {
  microseconds p50{0}, p99{0};
  size_t samples = 0;
};

Percentiles percentiles(std::vector<microseconds> times) {
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[std::min(times.size() - 1,
                          static_cast<size_t>(share * static_cast<double>(times.size())))];
  };
  return {at(0.5), at(0.99), times.size()};
}

class Examination {
 public:
  Examination(Report& report, Patient& patient, const std::string& prefix,
              const Expectations& expected, const StopSignals& signals)
      : report_(report),
        patient_(patient),
        prefix_(prefix + "wp-doctor-" + random_name() + "/"),
        expected_(expected),
        signals_(signals) {}

  void run() {
    const auto steps = {&Examination::simple_operations,
                        &Examination::odd_keys,
                        &Examination::creating,
                        &Examination::racing,
                        &Examination::ranges,
                        &Examination::latency,
                        &Examination::bandwidth};
    for (const auto step : steps) {
      if (signals_.stopped() || !(this->*step)()) break;
    }
    if (signals_.stopped()) report_.wrong("stopped", "by a signal", "run it again");
    clean_up();
    again();
  }

 private:
  // ---- asking

  std::string key(std::string_view name) {
    std::string key = prefix_ + std::string(name);
    keys_.push_back(key);
    return key;
  }
  // What may pass is asked again a few times, and told at the end.
  template <class T>
  T persist(const std::function<T()>& ask) {
    for (int tries = 1;; ++tries) {
      T result = ask();
      const StoreStatus& status = status_of(result);
      ++asked_;
      if (!status.passing() || tries == kTries || signals_.stopped()) return result;
      ++asked_again_;
      last_trouble_ = status.message;
      signals_.pause(static_cast<int>(
          std::clamp(status.retry_after, milliseconds(50), milliseconds(3000)).count()));
    }
  }
  StoreStatus put_once(const std::string& key, const Body& body, bool create_only) {
    return answer_of<StoreStatus>(
        [&](auto done) { patient_.put(key, body, create_only, std::move(done)); });
  }
  StoreStatus put(const std::string& key, const Body& body, bool create_only) {
    StoreStatus status = persist<StoreStatus>([&] { return put_once(key, body, create_only); });
    // A refusal stored nothing, so there is nothing to remove.
    const bool maybe = status.ok() || status.passing() || status.answer == Answer::kExists;
    if (!maybe) std::erase(keys_, key);
    return status;
  }
  GetResult get_once(const std::string& key, ByteRange range = {}) {
    return answer_of<GetResult>([&](auto done) { patient_.get(key, range, std::move(done)); });
  }
  GetResult get(const std::string& key, ByteRange range = {}) {
    return persist<GetResult>([&] { return get_once(key, range); });
  }
  ListResult list() {
    return persist<ListResult>([&] {
      return answer_of<ListResult>([&](auto done) { patient_.list(prefix_, std::move(done)); });
    });
  }
  StoreStatus remove(const std::vector<std::string>& keys) {
    return persist<StoreStatus>([&] {
      return answer_of<StoreStatus>([&](auto done) { patient_.remove(keys, std::move(done)); });
    });
  }

  // ---- checks; each is false where the next ones make no sense

  bool simple_operations() {
    const std::string probe = key("probe");
    const Body body = random_body(kSmallBytes);
    const StoreStatus stored = put(probe, body, false);
    if (!stored.ok()) return report_.wrong("put", stored), false;
    report_.ok("put", human_bytes(body->size()) + " stored");

    const GetResult got = get(probe);
    if (!got.status.ok()) return report_.wrong("get", got.status), false;
    if (got.bytes != *body) {
      return report_.wrong("get", "other bytes came back than were stored", kNotAStore), false;
    }
    report_.ok("get", "the same bytes came back");

    const ListResult listed = list();
    if (!listed.status.ok()) return report_.wrong("list", listed.status), false;
    if (listed.objects.size() != 1 || listed.objects[0].key != probe ||
        listed.objects[0].bytes != body->size()) {
      return report_.wrong("list", "what was just stored is not in the list", kNotAStore), false;
    }
    report_.ok("list", "what was just stored is in it");

    const StoreStatus removed = remove({probe});
    if (!removed.ok()) return report_.wrong("delete", removed), false;
    const GetResult after = get(probe);
    const ListResult empty = list();
    if (after.status.answer != Answer::kNotFound || !empty.objects.empty()) {
      return report_.wrong("delete", "the object is still there",
                           "use a bucket that keeps no objects against their deletion"),
             false;
    }
    report_.ok("delete", "what was deleted is gone");
    return true;
  }

  bool odd_keys() {
    const std::string odd = key("a b+c=d%25&e/..f/\xc3\xbc~'");
    const Body body = random_body(10);
    const StoreStatus stored = put(odd, body, false);
    if (!stored.ok()) return report_.wrong("keys", stored), true;
    const ListResult listed = list();
    const GetResult got = get(odd);
    if (!listed.status.ok()) return report_.wrong("keys", listed.status), true;
    if (got.bytes != *body || listed.objects.size() != 1 || listed.objects[0].key != odd) {
      report_.wrong("keys", "a key with special characters does not come back as it was given",
                    "look for a proxy on the way that rewrites paths");
    } else {
      report_.ok("keys", "special characters are kept as they are");
    }
    return true;
  }

  bool creating() {
    const std::string taken = key("create");
    const Body first = random_body(kSmallBytes), second = random_body(kSmallBytes);
    const StoreStatus created = put(taken, first, true);
    if (created.answer == Answer::kUnsupported) {
      // What the store says, without what it advises: here there is more to say.
      const std::string& message = created.message;
      return cannot_create(message.substr(0, message.rfind("; ")));
    }
    // Its own earlier try may have landed although the answer said otherwise.
    if (!created.ok() && created.answer != Answer::kExists) {
      return report_.wrong("create", created), true;
    }
    const StoreStatus again = put(taken, second, true);
    const GetResult got = get(taken);
    if (again.ok() || (got.status.ok() && got.bytes == *second)) {
      return cannot_create("the store ignores it and overwrites");
    }
    if (again.answer != Answer::kExists) return report_.wrong("create", again), true;
    if (!got.status.ok()) return report_.wrong("create", got.status), true;
    creates_ = true;
    report_.ok("create", patient_.create_words() + " refuses a second object of the same key");
    return true;
  }

  bool cannot_create(const std::string& why) {
    const std::string what = patient_.create_words() + " does not work: " + why;
    if (expected_.exclusive) {
      report_.ok("create", what + "; exclusive=1 goes without: nobody notices a second writer");
    } else {
      report_.wrong("create", what,
                    "use another store, or exclusive=1 with your promise that there is never a "
                    "second writer");
    }
    return true;
  }

  bool racing() {
    if (!creates_) return true;
    for (size_t race = 0; race < kRaces && !signals_.stopped(); ++race) {
      const std::string prize = key("race-" + std::to_string(race));
      std::vector<Body> bodies;
      std::vector<std::future<StoreStatus>> answers;
      for (size_t i = 0; i < kRacers; ++i) bodies.push_back(random_body(kSmallBytes));
      for (const Body& body : bodies) {
        auto promise = std::make_shared<std::promise<StoreStatus>>();
        answers.push_back(promise->get_future());
        patient_.put(prize, body, true,
                     [promise](StoreStatus status) { promise->set_value(std::move(status)); });
      }
      size_t winners = 0, winner = kRacers;
      for (size_t i = 0; i < kRacers; ++i) {
        const StoreStatus status = answers[i].get();
        ++asked_;
        if (status.ok()) {
          ++winners;
          winner = i;
        } else if (status.answer != Answer::kExists && !status.passing()) {
          return report_.wrong("race", status), true;
        }
      }
      const GetResult got = get(prize);
      if (!got.status.ok()) return report_.wrong("race", got.status), true;
      // A winner may have been told "unknown".
      if (winners > 1 || (winners == 1 && got.bytes != *bodies[winner])) {
        report_.wrong("race",
                      std::to_string(winners) + " of " + std::to_string(kRacers) +
                          " writers at once were each told that the key is theirs",
                      "do not use this store: two writers would destroy each other's entries");
        return true;
      }
    }
    report_.ok("race", "of " + std::to_string(kRacers) + " writers at once exactly one wins, " +
                           std::to_string(kRaces) + " times");
    return true;
  }

  bool ranges() {
    const std::string whole = key("range");
    const Body body = random_body(100'000);
    const StoreStatus stored = put(whole, body, false);
    if (!stored.ok()) return report_.wrong("range", stored), true;
    for (const ByteRange range : {ByteRange{0, 1}, ByteRange{54'321, 10'000},
                                  ByteRange{99'990, 1000}, ByteRange{50'000, UINT64_MAX}}) {
      const GetResult got = get(whole, range);
      if (!got.status.ok()) return report_.wrong("range", got.status), true;
      const auto begin = body->begin() + static_cast<ptrdiff_t>(range.offset);
      const uint64_t length = std::min(range.length, body->size() - range.offset);
      if (got.object_bytes != body->size() || !std::equal(got.bytes.begin(), got.bytes.end(), begin,
                                                          begin + static_cast<ptrdiff_t>(length))) {
        return report_.wrong("range", "other bytes came than were asked for", kNotAStore), true;
      }
    }
    report_.ok("range", "parts of an object come as they were asked for");
    return true;
  }

  // One small object after the other, as a lone writer has it.
  bool latency() {
    if (!expected_.measure) return false;
    const Body body = random_body(kSmallBytes);
    std::vector<microseconds> puts, gets;
    const auto end = Clock::now() + kSamplingTime;
    for (size_t i = 0; i < kSamples && !signals_.stopped(); ++i) {
      if (i > 0 && Clock::now() > end) break;
      const std::string sample = key("sample-" + std::to_string(i));
      const auto begin = Clock::now();
      const StoreStatus stored = put_once(sample, body, creates_);
      const auto middle = Clock::now();
      ++asked_;
      if (stored.passing()) {
        ++asked_again_;
        last_trouble_ = stored.message;
        continue;
      }
      if (!stored.ok()) return report_.wrong("latency", stored), true;
      const auto before_get = Clock::now();
      const GetResult got = get_once(sample);
      ++asked_;
      if (!got.status.ok() && !got.status.passing()) {
        return report_.wrong("latency", got.status), true;
      }
      puts.push_back(std::chrono::duration_cast<microseconds>(middle - begin));
      gets.push_back(std::chrono::duration_cast<microseconds>(Clock::now() - before_get));
    }
    if (puts.empty()) {
      return report_.wrong("latency", "no put got through: " + last_trouble_, kNotAStore), true;
    }
    tell_latency("put latency", percentiles(std::move(puts)));
    tell_latency("get latency", percentiles(std::move(gets)));
    return true;
  }

  void tell_latency(std::string_view check, const Percentiles& times) {
    Finding finding{check,
                    Verdict::kOk,
                    "p50 " + human_micros(times.p50) + ", p99 " + human_micros(times.p99) + " of " +
                        std::to_string(times.samples) + " of " + human_bytes(kSmallBytes),
                    {}};
    if (times.p50 > expected_.put_p50 || times.p99 > expected_.put_p99) {
      finding.verdict = Verdict::kSlow;
      finding.todo =
          "a durable append waits for one put: move nearer to the store, or append "
          "without waiting";
    }
    finding.numbers = {{"p50_ms", static_cast<double>(times.p50.count()) / 1000},
                       {"p99_ms", static_cast<double>(times.p99.count()) / 1000},
                       {"samples", static_cast<double>(times.samples)}};
    report_.add(finding);
  }

  // A few large objects at once, as a busy writer has it; one alone where that takes long.
  bool bandwidth() {
    const Body body = random_body(kLargeBytes);
    size_t count = 1;
    auto begin = Clock::now();
    const StoreStatus stored = put(key("large-0"), body, false);
    if (!stored.ok()) return report_.wrong("bandwidth", stored), true;
    auto took = Clock::now() - begin;
    if (took < std::chrono::seconds(2) && !signals_.stopped()) {
      count = kLargeObjects;
      std::vector<std::string> names;
      for (size_t i = 0; i < count; ++i) names.push_back(key("large-" + std::to_string(i + 1)));
      begin = Clock::now();
      if (!all_at_once<StoreStatus>(
              count,
              [&](size_t i, auto done) { patient_.put(names[i], body, false, std::move(done)); },
              [](const StoreStatus& status) { return status; })) {
        return true;
      }
      took = Clock::now() - begin;
    }
    tell_bandwidth("upload", count, took);
    const size_t first = keys_.size() - count;
    begin = Clock::now();
    if (!all_at_once<GetResult>(
            count,
            [&](size_t i, auto done) { patient_.get(keys_[first + i], {}, std::move(done)); },
            [&](const GetResult& result) {
              if (result.status.ok() && result.bytes != *body) {
                return StoreStatus{Answer::kCorrupt, "other bytes came back; " + kNotAStore, {}};
              }
              return result.status;
            })) {
      return true;
    }
    tell_bandwidth("download", count, Clock::now() - begin);
    return true;
  }

  template <class T, class Ask, class Judge>
  bool all_at_once(size_t count, Ask ask, Judge judge) {
    std::vector<std::future<T>> answers;
    for (size_t i = 0; i < count; ++i) {
      auto promise = std::make_shared<std::promise<T>>();
      answers.push_back(promise->get_future());
      ask(i, [promise](T answer) { promise->set_value(std::move(answer)); });
    }
    StoreStatus worst;
    for (auto& answer : answers) {
      const StoreStatus status = judge(answer.get());
      ++asked_;
      if (!status.ok()) worst = status;
    }
    if (!worst.ok()) report_.wrong("bandwidth", worst);
    return worst.ok();
  }

  void tell_bandwidth(std::string_view check, size_t count, Clock::duration took) {
    const double seconds = std::max(1e-6, std::chrono::duration<double>(took).count());
    const double rate = static_cast<double>(count * kLargeBytes) / seconds;
    Finding finding{check,
                    Verdict::kOk,
                    human_rate(rate) + " with " + std::to_string(count) +
                        (count == 1 ? " object" : " objects at once") + " of " +
                        human_bytes(kLargeBytes),
                    {}};
    if (rate < expected_.bytes_per_second) {
      finding.verdict = Verdict::kSlow;
      finding.todo = "look at the network on the way to the store";
    }
    finding.numbers = {{"bytes_per_second", rate}};
    report_.add(finding);
  }

  // Every key that may be there, whatever was answered, and then a look.
  void clean_up() {
    if (keys_.empty()) return;
    StoreStatus status = remove(keys_);
    const ListResult left = list();
    if (status.ok()) status = left.status;
    if (status.ok() && left.objects.empty()) {
      report_.ok("clean", "nothing is left of this look");
      return;
    }
    report_.wrong("clean",
                  "objects below " + printable_key(prefix_) + " may be left" +
                      (status.ok() ? "" : ": " + status.message),
                  "remove them, once deleting works");
  }

  void again() {
    if (asked_again_ == 0) return;
    report_.slow("answers",
                 std::to_string(asked_again_) + " of " + std::to_string(asked_) +
                     " requests had no final answer at first, the last: " + last_trouble_,
                 "wp asks again by itself; look at the store if it happens often");
  }

  static inline const std::string kNotAStore = "check what answers at this address";

  Report& report_;
  Patient& patient_;
  const std::string prefix_;
  const Expectations expected_;
  const StopSignals& signals_;
  std::vector<std::string> keys_;
  bool creates_ = false;
  uint64_t asked_ = 0, asked_again_ = 0;
  std::string last_trouble_;
};

}  // namespace

void examine_store(Report& report, Patient& patient, const std::string& prefix,
                   const Expectations& expected, const StopSignals& signals) {
  Examination(report, patient, prefix, expected, signals).run();
}

}  // namespace wp::cli
