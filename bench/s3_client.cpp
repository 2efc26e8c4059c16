// The S3 client's CPU per MB against `curl`, to a sink in this process: it reads a request, throws
// its body away without looking, and says that it is stored. What the sink's threads take of CPU is
// counted by themselves and taken off; what the kernel does for the sender counts for both alike.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "bench/bench.h"
#include "engine/sync.h"
#include "s3_minimal/client.h"

extern char** environ;

namespace wp {
namespace {

constexpr size_t kBodyBytes = 4 << 20;
constexpr size_t kPuts = 100;
constexpr int kRounds = 5;
constexpr double kLimit = 1.3;

double seconds_of(const timespec& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}
double cpu_seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return seconds_of(time);
}

class Sink {
 public:
  Sink() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 256) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      std::abort();
    }
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~Sink() {
    ::shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    std::vector<std::thread> threads;
    {
      MutexLock lock(mutex_);
      for (const int fd : connections_) ::shutdown(fd, SHUT_RDWR);
      threads.swap(threads_);
    }
    for (std::thread& thread : threads) thread.join();
    for (const int fd : connections_) ::close(fd);
    ::close(listener_);
  }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  uint16_t port() const { return port_; }
  // Up to the last request that was answered.
  double cpu() const { return static_cast<double>(cpu_ns_.load()) / 1e9; }
  size_t connections() {
    MutexLock lock(mutex_);
    return connections_.size();
  }
  uint64_t body_bytes() const { return body_bytes_; }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      MutexLock lock(mutex_);
      connections_.push_back(fd);
      threads_.emplace_back([this, fd] { serve(fd); });
    }
  }

  void serve(int fd) {
    double counted = 0;
    while (serve_one(fd)) {
      const double now = cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
      cpu_ns_ += static_cast<uint64_t>((now - counted) * 1e9);
      counted = now;
      static constexpr char kStored[] =
          "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n";
      if (::send(fd, kStored, sizeof kStored - 1, MSG_NOSIGNAL) < 0) return;
    }
  }

  bool serve_one(int fd) {
    std::string head;
    size_t end = std::string::npos;
    while (end == std::string::npos) {
      char piece[4096];
      const ssize_t n = ::recv(fd, piece, sizeof piece, 0);
      if (n <= 0) return false;
      head.append(piece, static_cast<size_t>(n));
      end = head.find("\r\n\r\n");
    }
    std::transform(head.begin(), head.begin() + static_cast<ptrdiff_t>(end), head.begin(),
                   [](char c) { return static_cast<char>(tolower(c)); });
    const size_t length_at = head.find("\r\ncontent-length:");
    uint64_t left = length_at == std::string::npos ? 0 : strtoull(&head[length_at + 17], {}, 10);
    body_bytes_ += left;
    left -= std::min<uint64_t>(left, head.size() - end - 4);
    if (head.find("\r\nexpect: 100") < end) {
      static constexpr char kGoOn[] = "HTTP/1.1 100 Continue\r\n\r\n";
      if (::send(fd, kGoOn, sizeof kGoOn - 1, MSG_NOSIGNAL) < 0) return false;
    }
    while (left > 0) {
      // Not even copied.
      const ssize_t n = ::recv(fd, nullptr, std::min<uint64_t>(left, 1 << 20), MSG_TRUNC);
      if (n <= 0) return false;
      left -= static_cast<uint64_t>(n);
    }
    return true;
  }

  const int listener_;
  uint16_t port_ = 0;
  std::atomic<uint64_t> cpu_ns_{0}, body_bytes_{0};
  std::thread accepting_;
  Mutex mutex_;
  std::vector<int> connections_ WP_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ WP_GUARDED_BY(mutex_);
};

struct Cost {
  double cpu_ms_per_mb = 0, mb_per_second = 0;
};

Cost cost_of(double cpu, double took) {
  const double mb = static_cast<double>(kPuts * kBodyBytes) / 1e6;
  return {cpu * 1e3 / mb, mb / took};
}

Body random_body() {
  std::vector<std::byte> bytes(kBodyBytes);
  uint64_t x = 88172645463325252;
  for (std::byte& byte : bytes) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    byte = static_cast<std::byte>(x);
  }
  return std::make_shared<const std::vector<std::byte>>(std::move(bytes));
}

s3::S3Config config_of(const Sink& sink, bool unsigned_payload) {
  s3::S3Config config;
  config.bucket = "bench";
  config.endpoint = *s3::parse_url("http://127.0.0.1:" + std::to_string(sink.port()));
  config.path_style = true;
  config.unsigned_payload = unsigned_payload;
  config.credentials = s3::Credentials{"key", "secret", "", 0, "the benchmark"};
  config.surroundings = s3::real_surroundings();
  return config;
}

size_t threads_of_this_process() {
  const auto tasks = std::filesystem::directory_iterator("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

struct Crowd {
  Cost cost;
  size_t threads = 0, connections = 0;
  bool ok = true;
};

// All puts are given to the client at once. With one connection, as curl has it, or as many as it
// likes.
Crowd put_all(const Body& body, bool unsigned_payload, uint32_t in_flight_max) {
  Sink sink;
  s3::S3Config config = config_of(sink, unsigned_payload);
  config.in_flight_max = in_flight_max;
  Meter meter;
  Crowd crowd;
  const size_t threads_before = threads_of_this_process();
  const double cpu_before = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::promise<bool>> stored(kPuts);
    s3::S3Client client(std::move(config), meter);
    for (size_t i = 0; i < kPuts; ++i) {
      client.put("object-" + std::to_string(i), body, true, Cause::kFlush,
                 [&stored, i](const StoreStatus& status) { stored[i].set_value(status.ok()); });
    }
    for (std::promise<bool>& one : stored) crowd.ok = one.get_future().get() && crowd.ok;
    crowd.connections = sink.connections();
    // Without the sink's, one for each connection.
    crowd.threads = threads_of_this_process() - threads_before - crowd.connections;
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  const double cpu = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_before - sink.cpu();
  crowd.ok = crowd.ok && sink.body_bytes() == kPuts * kBodyBytes;
  crowd.cost = cost_of(cpu, std::chrono::duration<double>(took).count());
  return crowd;
}

// One process for all of them, as who scripts it well would do.
bool curl_all(const std::string& file, bool hashed, Cost& cost) {
  Sink sink;
  const std::string url = "http://127.0.0.1:" + std::to_string(sink.port()) + "/bench/object-";
  std::vector<std::string> words = {"curl", "-s"};
  for (size_t i = 0; i < kPuts; ++i) {
    if (i > 0) words.insert(words.end(), {"--next", "-s"});
    words.insert(words.end(), {"-o", "/dev/null", "-H", "Expect:", url + std::to_string(i)});
    if (hashed) {
      words.insert(words.end(), {"--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "key:secret",
                                 "-X", "PUT", "--data-binary", "@" + file});
    } else {
      words.insert(words.end(), {"-T", file});
    }
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const auto begin = std::chrono::steady_clock::now();
  pid_t pid = 0;
  if (::posix_spawnp(&pid, "curl", nullptr, nullptr, arguments.data(), environ) != 0) return false;
  int status = 0;
  rusage usage{};
  if (::wait4(pid, &status, 0, &usage) != pid || status != 0) return false;
  const auto took = std::chrono::steady_clock::now() - begin;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  cost = cost_of(seconds(usage.ru_utime) + seconds(usage.ru_stime),
                 std::chrono::duration<double>(took).count());
  return sink.body_bytes() == kPuts * kBodyBytes;
}

Cost median(std::vector<Cost> costs) {
  std::sort(costs.begin(), costs.end(),
            [](const Cost& a, const Cost& b) { return a.cpu_ms_per_mb < b.cpu_ms_per_mb; });
  return costs[costs.size() / 2];
}

// Ours and curl's by turns, so that what else the machine does falls on both.
bool compare(const char* what, const Body& body, const std::string& file, bool hashed) {
  std::vector<Cost> ours, curls;
  for (int round = 0; round < kRounds; ++round) {
    const Crowd crowd = put_all(body, !hashed, 1);
    Cost cost;
    if (!crowd.ok || !curl_all(file, hashed, cost)) {
      std::fprintf(stderr, "s3 client: %s: the puts failed; is curl installed?\n", what);
      return false;
    }
    ours.push_back(crowd.cost);
    curls.push_back(cost);
  }
  const Cost own = median(ours), curl = median(curls);
  const double ratio = own.cpu_ms_per_mb / curl.cpu_ms_per_mb;
  std::printf("%-38s %6.3f ms/MB  curl %6.3f ms/MB  %.2fx%s   (%.0f and %.0f MB/s)\n", what,
              own.cpu_ms_per_mb, curl.cpu_ms_per_mb, ratio, ratio <= kLimit ? "" : "  TOO MUCH",
              own.mb_per_second, curl.mb_per_second);
  return ratio <= kLimit;
}

}  // namespace

int bench_s3_client() {
  const Body body = random_body();
  const std::string file = std::filesystem::temp_directory_path() / "wp-bench-XXXXXX";
  std::vector<char> name(file.c_str(), file.c_str() + file.size() + 1);
  const int fd = ::mkstemp(name.data());
  if (fd < 0 || ::write(fd, body->data(), body->size()) != static_cast<ssize_t>(body->size())) {
    std::perror("s3 client: a temporary file");
    return 1;
  }
  ::close(fd);
  std::printf("S3 client: %zu PUTs of 4 MiB, medians of %d\n", kPuts, kRounds);
  bool good = compare("CPU, body hashed and signed", body, name.data(), true);
  good = compare("CPU, body not hashed", body, name.data(), false) && good;
  const Crowd crowd = put_all(body, false, s3::S3Config().in_flight_max);
  std::printf("%-38s %zu thread, %zu connections, %.0f MB/s\n", "all at once", crowd.threads,
              crowd.connections, crowd.cost.mb_per_second);
  ::unlink(name.data());
  return good && crowd.ok && crowd.threads == 1 ? 0 : 1;
}

}  // namespace wp
