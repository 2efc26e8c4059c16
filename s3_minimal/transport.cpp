#include "s3_minimal/transport.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "platform/thread_pool.h"
#include "s3_minimal/curl.h"

namespace wp::s3 {
namespace {

using std::chrono::milliseconds;

constexpr size_t kHeaderBytesMax = 64 << 10;
constexpr size_t kErrorBytesMax = 256 << 10;  // of an answer that is no success
constexpr long kBufferBytes = 256 << 10;
// What the system may still have to send when we have nothing more to give.
constexpr uint64_t kSocketBytes = 4 << 20;

void initialise_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) std::abort();
}

TransportError error_of(int curl_code, bool answered) {
  switch (curl_code) {
    case CURLE_OK:
      return TransportError::kNone;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return TransportError::kResolve;
    case CURLE_COULDNT_CONNECT:
      return TransportError::kConnect;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
      return TransportError::kUntrusted;
    case CURLE_OPERATION_TIMEDOUT:
      return TransportError::kTimeout;
    case CURLE_PARTIAL_FILE:
      return TransportError::kCut;
    default:
      return answered ? TransportError::kCut : TransportError::kReset;
  }
}

std::vector<std::string> header_lines(const Headers& headers) {
  std::vector<std::string> lines = {"Expect:"};
  for (const Header& header : headers) lines.push_back(header.name + ": " + header.value);
  return lines;
}

}  // namespace

const std::string* HttpAnswer::header(std::string_view name) const {
  for (const Header& header : headers) {
    if (header.name == name) return &header.value;
  }
  return nullptr;
}

// One request under way.
struct Transport::Transfer {
  HttpRequest request;
  Done done;
  HttpAnswer answer;
  CURL* easy = nullptr;
  curl_slist* header_list = nullptr;
  size_t sent_bytes = 0, header_bytes = 0;
  bool too_large = false, head_complete = false;
  Clock::time_point began, progressed;
  char error_text[CURL_ERROR_SIZE] = "";

  ~Transfer() { curl_slist_free_all(header_list); }

  CURLcode prepare(const std::string& ca_file);

  static size_t on_read(char* out, size_t size, size_t count, void* self) noexcept {
    return static_cast<Transfer*>(self)->give({out, size * count});
  }
  static int on_seek(void* self, curl_off_t offset, int origin) noexcept {
    auto* transfer = static_cast<Transfer*>(self);
    const Body& body = transfer->request.body;
    if (origin != SEEK_SET || offset < 0 || body == nullptr ||
        static_cast<uint64_t>(offset) > body->size()) {
      return CURL_SEEKFUNC_CANTSEEK;
    }
    transfer->sent_bytes = static_cast<size_t>(offset);
    return CURL_SEEKFUNC_OK;
  }
  static size_t on_header(char* line, size_t size, size_t count, void* self) noexcept {
    return static_cast<Transfer*>(self)->take_header({line, size * count}) ? size * count : 0;
  }
  static size_t on_write(char* bytes, size_t size, size_t count, void* self) noexcept {
    return static_cast<Transfer*>(self)->take({bytes, size * count}) ? size * count : 0;
  }

  size_t give(std::span<char> out) {
    const Body& body = request.body;
    const size_t count = body == nullptr ? 0 : std::min(out.size(), body->size() - sent_bytes);
    if (count > 0) memcpy(out.data(), body->data() + sent_bytes, count);
    sent_bytes += count;
    progressed = Clock::now();
    return count;
  }

  bool take_header(std::string_view line) noexcept {
    progressed = Clock::now();
    try {
      if (line.starts_with("HTTP/")) {
        // A new answer, perhaps after an interim one.
        answer.headers.clear();
        head_complete = false;
        const size_t blank = line.find(' ');
        answer.status = blank == std::string_view::npos ? 0 : atoi(line.data() + blank);
        return true;
      }
      header_bytes += line.size();
      if (header_bytes > kHeaderBytesMax) return false;
      const size_t colon = line.find(':');
      if (colon == std::string_view::npos) {
        // Trailers of a body in chunks come later, and have no empty line of their own.
        head_complete = head_complete || trim(line).empty();
        return true;
      }
      answer.headers.push_back(
          {lower(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1)))});
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  bool take(std::string_view bytes) noexcept {
    progressed = Clock::now();
    const bool success = answer.status >= 200 && answer.status < 300;
    const uint64_t max = success ? request.answer_bytes_max : kErrorBytesMax;
    if (bytes.size() > max - answer.body.size()) {
      too_large = true;
      return false;
    }
    try {
      if (answer.body.empty()) {
        const int64_t length = get_offset(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T);
        if (length > 0) answer.body.reserve(std::min<uint64_t>(static_cast<uint64_t>(length), max));
      }
      const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
      answer.body.insert(answer.body.end(), begin, begin + bytes.size());
      return true;
    } catch (const std::exception&) {  // out of memory, or a length that no vector can have
      too_large = true;
      return false;
    }
  }

  // The time by which something has to happen, and what it is that did not.
  std::pair<Clock::time_point, const char*> deadline() const {
    const Deadlines& limits = request.deadlines;
    const size_t body_bytes = request.body == nullptr ? 0 : request.body->size();
    const bool waiting = sent_bytes == body_bytes && answer.status == 0;
    milliseconds quiet = waiting ? limits.first_byte : limits.stall;
    quiet +=
        milliseconds(std::min<uint64_t>(body_bytes, kSocketBytes) * 1000 / limits.bytes_per_second);
    const uint64_t moved = sent_bytes + answer.body.size();
    const auto total = limits.total + milliseconds(moved * 1000 / limits.bytes_per_second);
    const auto quiet_end = progressed + quiet, total_end = began + total;
    if (quiet_end < total_end) {
      return {quiet_end, waiting ? "no answer began in time" : "nothing moved any more"};
    }
    return {total_end, "it took too long as a whole"};
  }
};

Transport::Transport(uint32_t in_flight_max, std::string ca_file)
    : ca_file_(std::move(ca_file)),
      in_flight_max_(std::max<uint32_t>(in_flight_max, 1)),
      multi_((initialise_curl(), curl_multi_init())),
      limit_(in_flight_max_) {
  if (multi_ == nullptr) std::abort();
  const auto connections_max = static_cast<long>(in_flight_max_);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, connections_max);
  curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, connections_max);
}

Transport::~Transport() {
  shutdown();
  for (void* easy : spare_) curl_easy_cleanup(easy);
  curl_multi_cleanup(multi_);
}

void Transport::send(HttpRequest request, Done done) {
  HttpAnswer answer;
  {
    MutexLock lock(mutex_);
    if (stopping_) {
      answer.error = TransportError::kCancelled;
      answer.error_text = "shut down";
    } else if (!thread_.joinable() && !start_thread(thread_, "wp-s3", [this] { run(); })) {
      answer.error = TransportError::kConnect;
      answer.error_text = "no thread can be started";
    } else {
      incoming_.push_back({std::move(request), std::move(done)});
    }
  }
  if (answer.error == TransportError::kNone) {
    curl_multi_wakeup(multi_);
  } else {
    done(std::move(answer));
  }
}

void Transport::note(uint64_t round, bool slow_down) {
  if (slow_down) {
    limit_.throttled(round);
  } else {
    limit_.succeeded();
  }
}

void Transport::shutdown() {
  std::thread thread;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    std::swap(thread, thread_);
  }
  if (!thread.joinable()) return;
  curl_multi_wakeup(multi_);
  thread.join();
}

void Transport::run() {
  while (take_queue()) {
    start_some();
    int running = 0;
    curl_multi_perform(multi_, &running);
    finish_done();
    const milliseconds wait = check_deadlines();
    start_some();  // in the places that became free
    curl_multi_poll(multi_, nullptr, 0, static_cast<int>(wait.count()), nullptr);
  }
  cancel_all();
}

bool Transport::take_queue() {
  MutexLock lock(mutex_);
  while (!incoming_.empty()) {
    waiting_.push_back(std::move(incoming_.front()));
    incoming_.pop_front();
  }
  return !stopping_;
}

void Transport::start_some() {
  while (!waiting_.empty() && active_.size() < limit_.now()) {
    Queued next = std::move(waiting_.front());
    waiting_.pop_front();
    start(std::move(next));
  }
}

void Transport::start(Queued queued) {
  auto transfer = std::make_unique<Transfer>();
  transfer->request = std::move(queued.request);
  transfer->done = std::move(queued.done);
  transfer->answer.round = limit_.round();
  transfer->began = transfer->progressed = Clock::now();
  if (spare_.empty()) {
    transfer->easy = curl_easy_init();
  } else {
    transfer->easy = spare_.back();
    spare_.pop_back();
  }
  if (transfer->easy == nullptr) std::abort();
  CURLcode code = transfer->prepare(ca_file_);
  if (code == CURLE_OK && curl_multi_add_handle(multi_, transfer->easy) != CURLM_OK) {
    code = CURLE_FAILED_INIT;
  }
  if (code != CURLE_OK) return finish(std::move(transfer), code, TransportError::kConnect);
  active_.push_back(std::move(transfer));
}

CURLcode Transport::Transfer::prepare(const std::string& ca_file) {
  EasyOptions set(easy);
  set.text(CURLOPT_URL, request.url);
  set.text(CURLOPT_PROTOCOLS_STR, "http,https");
  set.number(CURLOPT_PATH_AS_IS, 1);
  set.number(CURLOPT_FOLLOWLOCATION, 0);
  set.number(CURLOPT_NOSIGNAL, 1);
#if LIBCURL_VERSION_NUM >= 0x075700
  // Else a name that is not resolved in time holds up all that is under way until it is.
  set.number(CURLOPT_QUICK_EXIT, 1);
#endif
  set.number(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  set.number(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
  set.number(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.deadlines.connect.count()));
  set.number(CURLOPT_MAXAGE_CONN, static_cast<long>(request.deadlines.idle.count()));
  set.number(CURLOPT_FRESH_CONNECT, request.fresh_connection ? 1 : 0);
  set.number(CURLOPT_BUFFERSIZE, kBufferBytes);
  set.number(CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
  set.pointer(CURLOPT_ERRORBUFFER, error_text);
  set.pointer(CURLOPT_PRIVATE, this);
  set.transfer(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set.pointer(CURLOPT_HEADERDATA, this);
  set.transfer(CURLOPT_WRITEFUNCTION, &Transfer::on_write);
  set.pointer(CURLOPT_WRITEDATA, this);
  if (!ca_file.empty()) set.text(CURLOPT_CAINFO, ca_file);
  if (request.direct) set.text(CURLOPT_PROXY, "");
  if (request.body != nullptr) {
    set.number(CURLOPT_UPLOAD, 1);
    set.offset(CURLOPT_INFILESIZE_LARGE, request.body->size());
    set.transfer(CURLOPT_READFUNCTION, &Transfer::on_read);
    set.pointer(CURLOPT_READDATA, this);
    set.seek(&Transfer::on_seek);
    set.pointer(CURLOPT_SEEKDATA, this);
  } else if (request.method == "HEAD") {
    set.number(CURLOPT_NOBODY, 1);
  }
  set.text(CURLOPT_CUSTOMREQUEST, request.method);
  // One without a value takes away what libcurl would send.
  for (const std::string& line : header_lines(request.headers)) {
    curl_slist* const longer = curl_slist_append(header_list, line.c_str());
    if (longer == nullptr) return CURLE_OUT_OF_MEMORY;
    header_list = longer;
  }
  set.list(CURLOPT_HTTPHEADER, header_list);
  return set.code();
}

std::unique_ptr<Transport::Transfer> Transport::detach(Transfer* transfer) {
  const auto it = std::find_if(active_.begin(), active_.end(),
                               [&](const auto& candidate) { return candidate.get() == transfer; });
  std::unique_ptr<Transfer> out = std::move(*it);
  active_.erase(it);
  curl_multi_remove_handle(multi_, out->easy);
  return out;
}

void Transport::finish_done() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const int code = message->data.result;
    auto* transfer = static_cast<Transfer*>(get_private(message->easy_handle));
    finish(detach(transfer), code, TransportError::kNone);
  }
}

void Transport::finish(std::unique_ptr<Transfer> transfer, int curl_code, TransportError forced) {
  HttpAnswer answer = std::move(transfer->answer);
  CURL* easy = transfer->easy;
  answer.error = forced != TransportError::kNone ? forced : error_of(curl_code, answer.status != 0);
  if (answer.error == TransportError::kNone && !transfer->head_complete) {
    // libcurl is content with a head that ends where the connection does.
    answer.error = TransportError::kCut;
    answer.error_text = "the connection ended within the answer's headers";
  }
  if (transfer->too_large) answer.error = TransportError::kTooLarge;
  if (answer.error != TransportError::kNone && answer.error_text.empty()) {
    answer.error_text = transfer->error_text[0] != '\0'
                            ? transfer->error_text
                            : curl_easy_strerror(static_cast<CURLcode>(curl_code));
  }
  answer.sent = get_number(easy, CURLINFO_REQUEST_SIZE) > 0 || answer.status != 0;
  answer.reused = answer.sent && get_number(easy, CURLINFO_NUM_CONNECTS) == 0;
  const auto time = [&](CURLINFO info) {
    return std::chrono::microseconds(get_offset(easy, info));
  };
  answer.resolve = time(CURLINFO_NAMELOOKUP_TIME_T);
  answer.connect = time(CURLINFO_CONNECT_TIME_T);
  answer.tls = time(CURLINFO_APPCONNECT_TIME_T);
  answer.first_byte = time(CURLINFO_STARTTRANSFER_TIME_T);
  answer.total = time(CURLINFO_TOTAL_TIME_T);
  const char* address = nullptr;
  if (curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address != nullptr) {
    answer.address = address;
  }
  curl_easy_reset(easy);
  // A handle that failed is not used again: after a name that was not found it still holds a
  // buffer, and libcurl 7.88 then refuses CURLOPT_BUFFERSIZE.
  if (answer.error == TransportError::kNone && spare_.size() < in_flight_max_) {
    spare_.push_back(easy);
  } else {
    curl_easy_cleanup(easy);
  }
  const Done done = std::move(transfer->done);
  // The body's last holder here goes only now, when no handle can read it any more, and after the
  // answer was given.
  const Body body = transfer->request.body;
  transfer.reset();
  done(std::move(answer));
}

milliseconds Transport::check_deadlines() {
  const auto now = Clock::now();
  auto next = now + std::chrono::hours(24);  // nothing under way: only a new request wakes
  std::vector<std::pair<Transfer*, const char*>> late;
  for (const auto& transfer : active_) {
    const auto [end, what] = transfer->deadline();
    if (end <= now) {
      late.emplace_back(transfer.get(), what);
    } else {
      next = std::min(next, end);
    }
  }
  for (const auto& [transfer, what] : late) {
    transfer->answer.error_text = what;
    finish(detach(transfer), CURLE_OPERATION_TIMEDOUT, TransportError::kTimeout);
  }
  return std::chrono::ceil<milliseconds>(next - now);
}

void Transport::cancel_all() {
  // Whoever is told may ask for more; that is cancelled inside the asking.
  while (!active_.empty()) {
    active_.back()->answer.error_text = "shut down";
    finish(detach(active_.back().get()), CURLE_OK, TransportError::kCancelled);
  }
  while (!waiting_.empty()) {
    const Queued next = std::move(waiting_.front());
    waiting_.pop_front();
    HttpAnswer answer;
    answer.error = TransportError::kCancelled;
    answer.error_text = "shut down";
    next.done(std::move(answer));
  }
}

}  // namespace wp::s3
