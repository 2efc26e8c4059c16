// HTTP requests, dozens at once, on one thread of its own that starts with the first request and
// sleeps without a wake-up while there is nothing to do.
//
// Promises
//  - Every request is answered exactly once, on the transport's thread; by shutdown() at the
//  latest.
//  - A request's body is held until its handle is gone, and never changes.
//  - No request waits without end: connecting, the first byte, a stall and the whole each have a
//    deadline.
//  - At most `in_flight_max` requests are under way, on as many kept connections; others queue. The
//    number shrinks while the server asks for less (`note`), and grows back.
// It must never follow a redirect, send `Expect: 100-continue`, or speak TLS to somebody
// unverified.
//
// It repeats nothing, with one exception that is libcurl's: a request whose kept connection turns
// out to be dead before a single byte came is sent once more on a fresh one.
#ifndef WP_S3_MINIMAL_TRANSPORT_H_
#define WP_S3_MINIMAL_TRANSPORT_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/sync.h"
#include "s3_minimal/answers.h"
#include "s3_minimal/config.h"
#include "s3_minimal/signer.h"
#include "stores/object_store.h"

namespace wp::s3 {

enum class TransportError : uint8_t {
  kNone,
  kResolve,    // the name is not known: nothing was sent
  kConnect,    // no connection: nothing was sent
  kUntrusted,  // the server's certificate was not accepted, or ours cannot be read
  kTimeout,    // a deadline passed
  kReset,      // the connection broke, or what came is not HTTP
  kCut,        // the answer began and ended early
  kTooLarge,   // the answer is larger than was allowed
  kCancelled,  // by shutdown()
};

struct HttpRequest {
  std::string method, url;
  Headers headers;                      // sent as they are
  Body body;                            // null: none
  uint64_t answer_bytes_max = 1 << 20;  // of an answer with status 2xx
  bool fresh_connection = false;
  bool direct = false;  // past any proxy: for addresses of this machine alone
  Deadlines deadlines;
};

struct HttpAnswer {
  TransportError error = TransportError::kNone;
  std::string error_text;       // libcurl's words
  int status = 0;               // 0: no answer came
  Headers headers;              // names in lower case
  std::vector<std::byte> body;  // as much as came
  bool sent = false;            // something may have reached the server
  bool reused = false;          // over a connection that was kept
  uint64_t round = 0;           // for note()
  std::chrono::microseconds resolve{0}, connect{0}, tls{0}, first_byte{0}, total{0};
  std::string address;  // of the server, as a number

  const std::string* header(std::string_view name) const;
  std::string_view text() const {
    return {reinterpret_cast<const char*>(body.data()), body.size()};
  }
};

class Transport {
 public:
  using Done = std::function<void(HttpAnswer)>;

  Transport(uint32_t in_flight_max, std::string ca_file);
  ~Transport();  // shutdown()
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Any thread, with no lock held: after shutdown() `done` runs inside the call.
  void send(HttpRequest request, Done done);
  // How the server took a request: only from inside its `done`.
  void note(uint64_t round, bool slow_down);
  // Answers everything with kCancelled. Not from inside a `done`.
  void shutdown();

 private:
  struct Transfer;
  struct Queued {
    HttpRequest request;
    Done done;
  };
  using Clock = std::chrono::steady_clock;

  void run();
  bool take_queue();  // false: shut down
  void start_some();
  void start(Queued queued);
  void finish_done();
  void finish(std::unique_ptr<Transfer> transfer, int curl_code, TransportError forced);
  std::chrono::milliseconds check_deadlines();
  std::unique_ptr<Transfer> detach(Transfer* transfer);
  void cancel_all();

  const std::string ca_file_;
  const uint32_t in_flight_max_;
  void* const multi_;  // CURLM

  Mutex mutex_;
  // guarded by mutex_
  std::deque<Queued> incoming_ WP_GUARDED_BY(mutex_);
  bool stopping_ WP_GUARDED_BY(mutex_) = false;
  std::thread thread_ WP_GUARDED_BY(mutex_);

  // of the transport's thread alone
  std::deque<Queued> waiting_;
  std::vector<std::unique_ptr<Transfer>> active_;
  std::vector<void*> spare_;  // easy handles, to be used again
  InFlightLimit limit_;
};

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_TRANSPORT_H_
