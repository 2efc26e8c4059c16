#include "tests/s3_stub.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace wp::s3_stub {
namespace {

void must(bool right) {
  if (!right) abort();
}

// What the environment says of proxies is not meant for tests on loopback.
const bool no_proxy = setenv("no_proxy", "127.0.0.1,localhost", 1) == 0 &&
                      setenv("NO_PROXY", "127.0.0.1,localhost", 1) == 0;

bool fits(const Fault& fault, const Request& request) {
  return (fault.method.empty() || fault.method == request.method) &&
         request.target.find(fault.part) != std::string::npos;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string odd(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    text[i] = static_cast<char>(i % 2 == 0 ? tolower(c) : toupper(c));
  }
  return text;
}

std::string chunked(const std::string& body) {
  std::string out;
  for (size_t at = 0; at < body.size(); at += 1000) {
    const std::string piece = body.substr(at, 1000);
    char size[32];
    snprintf(size, sizeof(size), "%zx;ext=1\r\n", piece.size());
    out += size + piece + "\r\n";
  }
  return out + "0\r\n\r\n";
}

}  // namespace

struct TlsFiles {
  std::string directory, ca;
  SSL_CTX* context = nullptr;

  TlsFiles() {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    must(key != nullptr && certificate != nullptr);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86'400);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("stub"), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    for (const auto& [kind, value] : {std::pair{NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1"},
                                      std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
      must(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
      X509_EXTENSION_free(extension);
    }
    must(X509_sign(certificate, key, EVP_sha256()) != 0);
    char path[] = "/tmp/wp-stub-XXXXXX";
    must(mkdtemp(path) != nullptr);
    directory = path;
    ca = directory + "/ca.pem";
    FILE* file = fopen(ca.c_str(), "w");
    must(file != nullptr && PEM_write_X509(file, certificate) == 1);
    fclose(file);
    context = SSL_CTX_new(TLS_server_method());
    must(context != nullptr && SSL_CTX_use_certificate(context, certificate) == 1 &&
         SSL_CTX_use_PrivateKey(context, key) == 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ~TlsFiles() {
    SSL_CTX_free(context);
    unlink(ca.c_str());
    rmdir(directory.c_str());
  }
};

// A socket, with TLS or without.
class Server::Wire {
 public:
  Wire(int fd, SSL_CTX* tls) : fd_(fd) {
    if (tls == nullptr) return;
    ssl_ = SSL_new(tls);
    SSL_set_fd(ssl_, fd);
    usable_ = SSL_accept(ssl_) == 1;
  }
  ~Wire() { SSL_free(ssl_); }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  bool usable() const { return usable_; }
  bool wait_readable() {
    if (!buffer_.empty() || (ssl_ != nullptr && SSL_pending(ssl_) > 0)) return true;
    pollfd entry{fd_, POLLIN, 0};
    return poll(&entry, 1, -1) == 1;
  }
  // At most `max` more bytes into the buffer; 0: ended.
  size_t fill(size_t max) {
    const size_t size = std::min<size_t>(max, 256 << 10), before = buffer_.size();
    buffer_.resize(before + size);
    const ssize_t got = ssl_ != nullptr
                            ? SSL_read(ssl_, buffer_.data() + before, static_cast<int>(size))
                            : recv(fd_, buffer_.data() + before, size, 0);
    buffer_.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    return buffer_.size() - before;
  }
  std::string& buffer() { return buffer_; }

  bool send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const size_t size = std::min<size_t>(bytes.size(), 1 << 20);
      const ssize_t sent = ssl_ != nullptr ? SSL_write(ssl_, bytes.data(), static_cast<int>(size))
                                           : ::send(fd_, bytes.data(), size, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // The connection's close() becomes a reset.
  void reset_at_close() {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  // Until the other side gives up, or the server ends. Nothing more is read.
  void wait_for_end() {
    pollfd entry{fd_, POLLRDHUP, 0};
    poll(&entry, 1, -1);
  }

 private:
  const int fd_;
  SSL* ssl_ = nullptr;
  bool usable_ = true;
  std::string buffer_;
};

Fault refusal(int status, std::string_view code, int times, std::string method) {
  Fault fault;
  fault.method = std::move(method);
  fault.times = times;
  fault.apply = false;
  fault.change = [status, code = std::string(code)](const Request&, Answer& answer) {
    answer = error(status, code);
  };
  return fault;
}

Server::Server(Tls tls) : tls_(tls == Tls::kOn ? std::make_unique<TlsFiles>() : nullptr) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  must(listener_ >= 0 && bind(listener_, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
       listen(listener_, 512) == 0 &&
       getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

Server::~Server() {
  stopping_ = true;
  release();
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  std::list<Connection> connections;
  {
    MutexLock lock(mutex_);
    for (Connection& connection : connections_) {
      if (!connection.done) shutdown(connection.fd, SHUT_RDWR);
    }
    std::swap(connections, connections_);
  }
  for (Connection& connection : connections) connection.thread.join();
}

std::string Server::endpoint(std::string_view host) const {
  return std::string(tls_ ? "https://" : "http://") + std::string(host) + ":" +
         std::to_string(port_);
}

std::string Server::ca_file() const {
  return tls_ ? tls_->ca : std::string();
}

void Server::set(const std::function<void(Settings&)>& change) {
  Settings settings = bucket_.settings();
  change(settings);
  bucket_.set(settings);
}

void Server::script(Fault fault) {
  MutexLock lock(mutex_);
  const int times = fault.times, skip = fault.skip;
  scripts_.push_back({std::move(fault), times, skip});
}

void Server::clear_script() {
  MutexLock lock(mutex_);
  scripts_.clear();
}

void Server::serve(std::function<std::optional<Answer>(const Request&)> handler) {
  MutexLock lock(mutex_);
  handler_ = std::move(handler);
}

void Server::release() {
  MutexLock lock(mutex_);
  released_ = true;
  changed_.notify_all();
}

void Server::hold_again() {
  MutexLock lock(mutex_);
  released_ = false;
  held_most_ = 0;
}

std::vector<int> Server::do_late() {
  std::vector<Request> late;
  {
    MutexLock lock(mutex_);
    std::swap(late, late_);
  }
  std::vector<int> answers;
  for (const Request& request : late) answers.push_back(bucket_.handle(request).status);
  return answers;
}

void Server::close_idle() {
  MutexLock lock(mutex_);
  for (Connection& connection : connections_) {
    if (!connection.done && !connection.busy) shutdown(connection.fd, SHUT_RDWR);
  }
}

std::vector<Request> Server::log() const {
  MutexLock lock(mutex_);
  return log_;
}

size_t Server::requests(std::string_view method, std::string_view part) const {
  MutexLock lock(mutex_);
  return static_cast<size_t>(std::count_if(log_.begin(), log_.end(), [&](const Request& request) {
    return (method.empty() || request.method == method) &&
           request.target.find(part) != std::string::npos;
  }));
}

void Server::forget_log() {
  MutexLock lock(mutex_);
  log_.clear();
}

size_t Server::threads() const {
  MutexLock lock(mutex_);
  return connections_.size() + 1;
}

void Server::wait_held(size_t count) {
  MutexLock lock(mutex_);
  while (held_ < count) changed_.native().wait(lock);
}

size_t Server::held_most() const {
  MutexLock lock(mutex_);
  return held_most_;
}

// --------------------------------------------------------------------------------- connections

void Server::accept_all() {
  while (!stopping_) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    reap();
    const uint64_t number = ++connections_made_;
    MutexLock lock(mutex_);
    Connection& connection = connections_.emplace_back();
    connection.fd = fd;
    connection.thread = std::thread([this, &connection, number] {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      serve_connection(connection, number);
    });
  }
}

void Server::reap() {
  std::list<Connection> gone;
  MutexLock lock(mutex_);
  for (auto it = connections_.begin(); it != connections_.end();) {
    const auto next = std::next(it);
    if (it->done) gone.splice(gone.end(), connections_, it);
    it = next;
  }
  lock.unlock();
  for (Connection& connection : gone) connection.thread.join();
}

void Server::serve_connection(Connection& connection, uint64_t number) {
  {
    Wire wire(connection.fd, tls_ ? tls_->context : nullptr);
    while (wire.usable() && !stopping_ && serve_one(wire, connection, number)) {
    }
  }
  MutexLock lock(mutex_);
  connection.done = true;  // under the lock: nobody shuts down a number that is another's by now
  close(connection.fd);
}

// One request and its answer; false: the connection ends here.
bool Server::serve_one(Wire& wire, Connection& connection, uint64_t number) {
  connection.busy = false;
  if (!wire.wait_readable()) return false;
  connection.busy = true;
  if (wire.buffer().empty() && wire.fill(1) == 0) return false;
  Request request;
  request.connection = number;
  request.tls = tls_ != nullptr;
  if (const auto fault = take_fault(nullptr)) {
    read_request(wire, request, *fault->request_bytes);
    end(wire, fault->end);
    return false;
  }
  if (!read_request(wire, request, {})) return false;
  const Fault fault = take_fault(&request).value_or(Fault{});
  {
    MutexLock lock(mutex_);
    Request seen = request;
    seen.body.clear();
    log_.push_back(std::move(seen));
    if (fault.late) late_.push_back(request);
  }
  if (fault.hold) hold();
  if (fault.late) {
    wire.reset_at_close();
    return false;
  }
  Answer answer;
  if (fault.apply) answer = answer_to(request);
  if (fault.change) fault.change(request, answer);
  if (!send_answer(wire, answer, fault)) return false;
  return !answer.close_after && !answer.without_length && request.header("connection") != "close";
}

Answer Server::answer_to(const Request& request) {
  std::function<std::optional<Answer>(const Request&)> handler;
  {
    MutexLock lock(mutex_);
    handler = handler_;
  }
  if (handler) {
    if (auto answer = handler(request)) return std::move(*answer);
  }
  const std::string name = bucket_.settings().bucket;
  const bool virtual_host = request.header("host").starts_with(name + ".");
  if (!virtual_host && request.path != "/" + name && !request.path.starts_with("/" + name + "/")) {
    return error(404, "NoSuchBucket");
  }
  return bucket_.handle(request);
}

// The first fault that fits: for a whole request, or (null) for one that is about to come.
std::optional<Fault> Server::take_fault(const Request* request) {
  MutexLock lock(mutex_);
  for (Script& script : scripts_) {
    if (script.left == 0 || script.fault.request_bytes.has_value() != (request == nullptr))
      continue;
    if (request != nullptr && !fits(script.fault, *request)) continue;
    if (script.skip > 0) {
      --script.skip;
      continue;
    }
    if (script.left > 0) --script.left;
    return script.fault;
  }
  return {};
}

void Server::hold() {
  MutexLock lock(mutex_);
  ++held_;
  held_most_ = std::max(held_most_, held_);
  changed_.notify_all();
  while (!released_) changed_.native().wait(lock);
  --held_;
}

// --------------------------------------------------------------------------------------- the wire

// False: it ended early, or the limit was reached.
bool Server::read_request(Wire& wire, Request& request, std::optional<size_t> bytes_max) {
  std::string& buffer = wire.buffer();
  const auto more = [&] {
    const size_t max = bytes_max ? *bytes_max - std::min(*bytes_max, buffer.size()) : SIZE_MAX;
    return max > 0 && wire.fill(max) > 0;
  };
  size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!more()) return false;
  }
  const std::string head = buffer.substr(0, end + 2);
  buffer.erase(0, end + 4);
  if (bytes_max) *bytes_max -= std::min(*bytes_max, end + 4);
  size_t line_end = head.find("\r\n");
  const std::string first = head.substr(0, line_end);
  request.method = first.substr(0, first.find(' '));
  request.target =
      first.substr(request.method.size() + 1, first.rfind(' ') - request.method.size() - 1);
  for (size_t at = line_end + 2; at < head.size(); at = line_end + 2) {
    line_end = head.find("\r\n", at);
    const std::string line = head.substr(at, line_end - at);
    const size_t colon = line.find(':');
    std::string value = line.substr(std::min(colon + 1, line.size()));
    value.erase(0, value.find_first_not_of(" \t"));
    request.headers[lower(line.substr(0, colon))] = value;
  }
  // Proxies are told the whole URL.
  if (request.target.starts_with("http://")) {
    request.target.erase(0, request.target.find('/', sizeof("http://") - 1));
  }
  const size_t mark = std::min(request.target.find('?'), request.target.size());
  request.path = request.target.substr(0, mark);
  request.raw_query = request.target.substr(std::min(mark + 1, request.target.size()));
  const bool virtual_host = request.header("host").starts_with(bucket_.settings().bucket + ".");
  const size_t slash = virtual_host ? 0 : request.path.find('/', 1);
  if (slash != std::string::npos) {
    request.key = decode(request.path.substr(slash + 1)).value_or("?");
  }
  for (std::string rest = request.raw_query; !rest.empty();) {
    const std::string item = rest.substr(0, rest.find('&'));
    rest.erase(0, std::min(item.size() + 1, rest.size()));
    const size_t equals = std::min(item.find('='), item.size());
    request.query[decode(item.substr(0, equals)).value_or("?")] =
        decode(item.substr(std::min(equals + 1, item.size()))).value_or("?");
  }
  const size_t length = strtoull(request.header("content-length").c_str(), nullptr, 10);
  buffer.reserve(length);
  while (buffer.size() < length) {
    if (!more()) return false;
  }
  if (buffer.size() == length) {
    std::swap(request.body, buffer);
  } else {
    request.body = buffer.substr(0, length);
    buffer.erase(0, length);
  }
  request.bytes = end + 4 + length;
  return true;
}

bool Server::send_answer(Wire& wire, const Answer& answer, const Fault& fault) {
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " Stub\r\n";
  const auto add = [&](const std::string& name, const std::string& value) {
    head += (answer.odd_case ? odd(name) : name) + (answer.odd_case ? ":" : ": ") + value + "\r\n";
  };
  bool length_set = false;
  for (const auto& [name, value] : answer.headers) {
    add(name, value);
    length_set = length_set || name == "Content-Length";
  }
  if (answer.chunked) {
    add("Transfer-Encoding", "chunked");
  } else if (!answer.without_length && !length_set && answer.status != 204) {
    add("Content-Length", std::to_string(answer.body.size()));
  }
  head += "\r\n";
  const size_t head_bytes = head.size();
  std::string all = std::move(head);
  if (!answer.head_only) all += answer.chunked ? chunked(answer.body) : answer.body;
  std::optional<size_t> cut = fault.answer_bytes;
  if (fault.body_bytes) cut = head_bytes + *fault.body_bytes;
  if (cut) all.resize(std::min(all.size(), *cut));
  if (fault.trickle.count() > 0) {
    for (const char& c : all) {
      if (stopping_ || !wire.send_all({&c, 1})) return false;
      std::this_thread::sleep_for(fault.trickle);
    }
  } else if (!wire.send_all(all)) {
    return false;
  }
  if (cut) end(wire, fault.end);
  return !cut;
}

void Server::end(Wire& wire, End how) {
  if (how == End::kReset) wire.reset_at_close();
  if (how == End::kHang) wire.wait_for_end();
}

}  // namespace wp::s3_stub
