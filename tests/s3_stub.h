// An S3 server for tests: in this process, on a loopback port of its own, path-style and
// virtual-host style, with or without TLS. It misbehaves by script: each fault meets so many of the
// requests that it fits, and says what is done, what is answered, and where the wire breaks.
//
// Each connection has a thread; a fault is over when the test says so, never by a timer, but for
// `trickle`.
#ifndef WP_TESTS_S3_STUB_H_
#define WP_TESTS_S3_STUB_H_

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/sync.h"
#include "tests/s3_stub_bucket.h"

namespace wp::s3_stub {

enum class End { kReset, kClose, kHang };

struct Fault {
  // Which requests, and how many of them.
  std::string method;  // empty: all
  std::string part;    // of the target
  int skip = 0, times = 1;
  // The connection ends when this much of a request came. Such a fault meets any request.
  std::optional<size_t> request_bytes;
  bool hold = false;  // until release(); then all else goes on
  bool late = false;  // is done only when do_late() is called; the connection is reset
  bool apply = true;  // false: the bucket never hears of it, and `change` makes the answer
  std::function<void(const Request&, Answer&)> change;
  // After so much of the answer, or of its body, this happens.
  std::optional<size_t> answer_bytes, body_bytes;
  End end = End::kReset;
  // The answer comes byte by byte, with such pauses.
  std::chrono::milliseconds trickle{0};
};

// Not done, and refused like this.
Fault refusal(int status, std::string_view code, int times = 1, std::string method = "");

struct TlsFiles;  // a key and a self-signed certificate, made anew

class Server {
 public:
  enum class Tls { kOff, kOn };
  explicit Server(Tls tls = Tls::kOff);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Bucket& bucket() { return bucket_; }
  void set(const std::function<void(Settings&)>& change);
  std::string endpoint(std::string_view host = "127.0.0.1") const;  // "http://127.0.0.1:4711"
  uint16_t port() const { return port_; }
  std::string ca_file() const;

  void script(Fault fault);
  void clear_script();
  // Answers in place of the bucket, signed or not: for metadata services and the like.
  void serve(std::function<std::optional<Answer>(const Request&)> handler);
  void release();  // all that is held, now and later
  void hold_again();
  std::vector<int> do_late();  // with their status
  void close_idle();           // connections on which nothing is under way

  // What was seen. Requests in the order they came in full, without their bodies.
  std::vector<Request> log() const;
  size_t requests(std::string_view method = "", std::string_view part = "") const;
  void forget_log();
  uint64_t connections() const { return connections_made_; }  // accepted so far
  size_t threads() const;
  // Waits until so many requests are held; and how many were held at once at most.
  void wait_held(size_t count);
  size_t held_most() const;

 private:
  class Wire;
  struct Connection {
    std::thread thread;
    int fd = -1;
    std::atomic<bool> busy{false}, done{false};
  };
  struct Script {
    Fault fault;
    int left = 0, skip = 0;
  };

  void accept_all();
  void serve_connection(Connection& connection, uint64_t number);
  bool serve_one(Wire& wire, Connection& connection, uint64_t number);
  bool read_request(Wire& wire, Request& request, std::optional<size_t> bytes_max);
  bool send_answer(Wire& wire, const Answer& answer, const Fault& fault);
  Answer answer_to(const Request& request);
  std::optional<Fault> take_fault(const Request* request);
  void hold();
  void end(Wire& wire, End how);
  void reap();

  Bucket bucket_;
  std::unique_ptr<TlsFiles> tls_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<uint64_t> connections_made_{0};
  std::atomic<bool> stopping_{false};

  mutable Mutex mutex_;
  CondVar changed_;
  // guarded by mutex_
  std::vector<Script> scripts_ WP_GUARDED_BY(mutex_);
  std::function<std::optional<Answer>(const Request&)> handler_ WP_GUARDED_BY(mutex_);
  std::vector<Request> log_ WP_GUARDED_BY(mutex_);
  std::vector<Request> late_ WP_GUARDED_BY(mutex_);
  size_t held_ WP_GUARDED_BY(mutex_) = 0, held_most_ WP_GUARDED_BY(mutex_) = 0;
  bool released_ WP_GUARDED_BY(mutex_) = false;
  std::list<Connection> connections_ WP_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

}  // namespace wp::s3_stub

#endif  // WP_TESTS_S3_STUB_H_
