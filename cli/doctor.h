// `wp doctor`: what its checks of any store share. A check is one line of the report: ok, slow
// (it works, but worse than it should), or wrong with what to do about it.
#ifndef WP_CLI_DOCTOR_H_
#define WP_CLI_DOCTOR_H_

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/session.h"
#include "cli/signals.h"
#include "stores/object_store.h"

namespace wp::cli {

enum class Verdict : uint8_t { kOk, kSlow, kWrong };

struct Finding {
  std::string_view check;  // "latency"
  Verdict verdict = Verdict::kOk;
  std::string what;
  std::string todo;  // empty where it is ok
  // For --json: what the text says, as numbers.
  std::vector<std::pair<std::string_view, double>> numbers = {};
};

// Prints each finding as it comes, so that one sees where it hangs.
class Report {
 public:
  explicit Report(Session& session) : session_(session) {}
  void add(const Finding& finding);
  void ok(std::string_view check, std::string what) {
    add({check, Verdict::kOk, std::move(what), {}});
  }
  void slow(std::string_view check, std::string what, std::string todo) {
    add({check, Verdict::kSlow, std::move(what), std::move(todo)});
  }
  void wrong(std::string_view check, std::string what, std::string todo) {
    add({check, Verdict::kWrong, std::move(what), std::move(todo)});
  }
  // The same for what a store answered, which says itself what to do.
  void wrong(std::string_view check, const StoreStatus& status);
  int finish();  // the counts; returns the exit status

 private:
  Session& session_;
  size_t counts_[3] = {};
};

// A store as the doctor asks it: each call waits for its answer.
class Patient {
 public:
  virtual ~Patient() = default;
  virtual void put(std::string key, Body body, bool create_only, ObjectStore::PutDone done) = 0;
  virtual void get(std::string key, ByteRange range, ObjectStore::GetDone done) = 0;
  virtual void list(std::string prefix, ObjectStore::ListDone done) = 0;
  virtual void remove(std::vector<std::string> keys, ObjectStore::RemoveDone done) = 0;
  virtual std::string create_words() const = 0;  // how it is asked to create only
};

// Asks, and waits for the one answer.
template <class T, class Ask>
T answer_of(Ask ask) {
  // Whoever answers may not yet be done with the promise when the answer is here.
  auto promise = std::make_shared<std::promise<T>>();
  auto future = promise->get_future();
  ask([promise](T answer) { promise->set_value(std::move(answer)); });
  return future.get();
}

// What is good enough for this kind of store.
struct Expectations {
  std::chrono::milliseconds put_p50, put_p99;
  double bytes_per_second = 0;
  bool exclusive = false;  // conditional writes may be missing
  bool measure = true;     // how fast it is, and whether that will do
};

// Puts, gets, lists, creates, races and measures below `prefix`, and removes all of it again.
// Ends early where it makes no sense to go on, or on a signal.
void examine_store(Report& report, Patient& patient, const std::string& prefix,
                   const Expectations& expected, const StopSignals& signals);

// `wp doctor` of an S3 root, without the final counts.
Status examine_s3(Report& report, std::string_view url, const Options& options,
                  const StopSignals& signals);

std::string human_micros(std::chrono::microseconds time);  // "3.4 ms"
std::string human_rate(double bytes_per_second);           // "12.3 MiB/s"

}  // namespace wp::cli

#endif  // WP_CLI_DOCTOR_H_
