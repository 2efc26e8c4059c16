// What the client can be asked for: put, get, head, list, delete.
#include <algorithm>
#include <charconv>
#include <utility>

#include "s3_minimal/client.h"
#include "s3_minimal/client_call.h"
#include "stores/keys.h"

namespace wp::s3 {
namespace {

// A read that breaks is gone on with so often without progress; a piece of this size is progress.
constexpr int kReadTries = 4;
constexpr size_t kProgressBytes = 256 << 10;
// A store may take a thousand at once; slow ones then say nothing for longer than one waits.
constexpr size_t kDeleteBatch = 250;
constexpr uint32_t kListMax = 1000;
// No object is as large; a range that begins behind it need not be asked for.
constexpr uint64_t kOffsetMax = uint64_t{1} << 50;

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

struct ContentRange {
  uint64_t first = 0, last = 0, total = 0;
};

// "bytes 10-19/1000"; with `unsatisfied` also "bytes */1000".
std::optional<ContentRange> parse_content_range(std::string_view text, bool unsatisfied = false) {
  if (!text.starts_with("bytes ")) return {};
  text.remove_prefix(6);
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return {};
  const auto total = number(text.substr(slash + 1));
  const std::string_view range = text.substr(0, slash);
  if (!total) return {};
  if (unsatisfied && range == "*") return ContentRange{0, 0, *total};
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos) return {};
  const auto first = number(range.substr(0, dash)), last = number(range.substr(dash + 1));
  if (!first || !last || *first > *last || *last >= *total) return {};
  return ContentRange{*first, *last, *total};
}

// Which bytes of the object an answer holds, by its own headers; nothing where they do not say.
struct Piece {
  uint64_t first = 0, count = 0, total = 0;
};
std::optional<Piece> piece_of(const HttpAnswer& http) {
  const std::string* range_text = http.header("content-range");
  const std::string* length_text = http.header("content-length");
  if (http.status == 206) {
    const auto range = range_text == nullptr ? std::nullopt : parse_content_range(*range_text);
    if (!range) return {};
    const uint64_t count = range->last - range->first + 1;
    if (length_text != nullptr && number(*length_text) != count) return {};
    return Piece{range->first, count, range->total};
  }
  if (length_text != nullptr) {
    const auto length = number(*length_text);
    if (!length) return {};
    return Piece{0, *length, *length};
  }
  // Chunks have an end of their own. A body that ends where the connection does could be cut
  // without anybody noticing.
  const bool chunked = http.header("transfer-encoding") != nullptr;
  if (!chunked || http.error != TransportError::kNone) return {};
  return Piece{0, http.body.size(), http.body.size()};
}

Body body_of(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const std::vector<std::byte>>(bytes, bytes + text.size());
}

// Nothing of a list is believed that would make a caller miss keys or go round in circles.
std::string wrong_in_list(const ListPage& page, std::string_view prefix, std::string_view after) {
  std::string_view before = after;
  for (const ListedObject& object : page.objects) {
    if (!object.key.starts_with(prefix) || object.key <= before) {
      return printable_key(object.key) +
             " is listed out of order; use a bucket that lists in byte order";
    }
    before = object.key;
  }
  if (page.more && page.objects.empty()) return "a page without keys that claims more";
  return {};
}

// The HTTP status that an error inside a deletion's answer would have had.
int status_of(std::string_view code) {
  if (code == "AccessDenied") return 403;
  if (code == "SlowDown" || code == "ServiceUnavailable") return 503;
  if (code == "NoSuchKey") return 404;
  return 500;
}

}  // namespace

// ------------------------------------------------------------------------------------------- put

void S3Client::put(std::string key, Body body, bool create_only_asked, Cause cause,
                   StatusDone done) {
  const std::string tried = "put " + name_of(key);
  CallPtr call = make_call(Verb::kPut, "PUT", tried, std::move(key), cause);
  call->payload_hash =
      config_.unsigned_payload ? std::string(kUnsignedPayload) : hex(sha256(*body));
  call->body = std::move(body);
  if (create_only_asked) call->headers.push_back(create_only(config_.dialect));
  call->sound = [](const HttpAnswer& http) {
    return http.header("etag") != nullptr && http.body.empty();
  };
  call->done = [tried, done = std::move(done)](Reply reply) {
    if (reply.status.answer == Answer::kExists) reply.status.message = tried + ": exists";
    done(std::move(reply.status));
  };
  start(std::move(call));
}

// ------------------------------------------------------------------------------------------- get

struct S3Client::Read {
  std::string key;
  ByteRange range;
  Cause cause{};
  GetDone done;
  std::vector<std::byte> bytes;  // of the range, from its beginning
  // of the object they are of, once an answer began:
  std::string etag;
  std::optional<uint64_t> object_bytes;
  int tries_left = kReadTries;

  uint64_t next() const { return range.offset + bytes.size(); }
  // Behind the last byte that is wanted; UINT64_MAX: the object's end.
  uint64_t end() const {
    return range.length > UINT64_MAX - range.offset ? UINT64_MAX : range.offset + range.length;
  }
  bool complete() const { return object_bytes && next() >= std::min(end(), *object_bytes); }
  void restart() {
    bytes.clear();
    object_bytes.reset();
  }
};

void S3Client::get(std::string key, ByteRange range, Cause cause, GetDone done) {
  if (range.length == 0 || range.offset >= kOffsetMax) {
    return head(std::move(key), cause, std::move(done));
  }
  auto read = std::make_shared<Read>();
  read->key = std::move(key);
  read->range = range;
  read->cause = cause;
  read->done = std::move(done);
  read_on(read);
}

void S3Client::read_on(const std::shared_ptr<Read>& read) {
  CallPtr call = make_call(Verb::kGet, "GET", "get " + name_of(read->key), read->key, read->cause);
  call->fresh_connection = read->tries_left < kReadTries;
  const uint64_t end = read->end();
  call->answer_bytes_max = end == UINT64_MAX ? UINT64_MAX : end - read->next();
  if (read->next() > 0 || end != UINT64_MAX) {
    std::string value = "bytes=" + std::to_string(read->next()) + "-";
    if (end != UINT64_MAX) value += std::to_string(end - 1);
    call->headers.push_back({"Range", std::move(value)});
  }
  // No If-Match where it goes on: stores differ in the form they want, and the tag of the answer
  // says the same.
  call->done = [this, read](Reply reply) { read_answered(read, std::move(reply)); };
  start(std::move(call));
}

// Takes what came, as far as it is what was asked for. Else says what is wrong with it.
std::string S3Client::take_piece(Read& read, HttpAnswer& http) {
  const bool whole = http.error == TransportError::kNone;
  const std::string* etag = http.header("etag");
  if (etag == nullptr) return "success without an ETag, as no S3 says it";
  const std::optional<Piece> piece = piece_of(http);
  if (!piece) return whole ? "its headers do not say which bytes it holds" : "";
  const bool ranged = http.status == 206;
  if (ranged && (piece->first != read.next() ||
                 piece->first + piece->count != std::min(read.end(), piece->total))) {
    return "another range than was asked for";
  }
  if (http.body.size() > piece->count || (whole && http.body.size() != piece->count)) {
    return std::to_string(http.body.size()) + " bytes came of " + std::to_string(piece->count);
  }
  if (read.object_bytes && (*read.object_bytes != piece->total || read.etag != *etag)) {
    return "the object changed while it was read";
  }
  read.object_bytes = piece->total;
  read.etag = *etag;
  if (read.bytes.empty() && (ranged || (read.range.offset == 0 && read.end() >= piece->total))) {
    read.bytes = std::move(http.body);
  } else if (ranged) {
    read.bytes.insert(read.bytes.end(), http.body.begin(), http.body.end());
  } else if (whole) {
    // The range was ignored: it is cut out here.
    const auto at = [&](uint64_t offset) {
      return http.body.begin() + static_cast<ptrdiff_t>(std::min(offset, piece->total));
    };
    read.bytes.assign(at(read.range.offset), at(read.end()));
  }
  return {};
}

void S3Client::read_answered(const std::shared_ptr<Read>& read, Reply reply) {
  HttpAnswer& http = reply.http;
  if (http.status == 416) return read_behind_end(read, reply);
  const bool data = http.status == 200 || http.status == 206;
  const bool cancelled = reply.status.answer == Answer::kCancelled;
  if (data && !cancelled && http.error != TransportError::kTooLarge) {
    const size_t before = read->bytes.size();
    const std::string wrong = take_piece(*read, http);
    if (wrong.empty() && (http.error == TransportError::kNone || read->complete())) {
      GetResult result;
      result.bytes = std::move(read->bytes);
      result.object_bytes = *read->object_bytes;
      return read->done(std::move(result));
    }
    if (!wrong.empty()) {
      reply.status = {
          Answer::kCorrupt,
          "get " + name_of(read->key) + ": " + wrong + "; check what answers at the endpoint",
          {}};
      read->restart();
    } else if (read->bytes.size() >= before + kProgressBytes) {
      read->tries_left = kReadTries;
    }
  }
  // What broke is gone on with here; where no answer came at all, the caller waits before it asks
  // again.
  const bool again = data || (http.status == 0 && !read->bytes.empty());
  if (!again || cancelled || --read->tries_left <= 0) {
    GetResult result;
    result.status = std::move(reply.status);
    return read->done(std::move(result));
  }
  read_on(read);
}

// The range lies behind the object's end: no bytes, and how large the object is.
void S3Client::read_behind_end(const std::shared_ptr<Read>& read, const Reply& reply) {
  std::optional<uint64_t> total = reply.error.object_bytes;
  if (const std::string* text = reply.http.header("content-range")) {
    if (const auto range = parse_content_range(*text, true)) total = range->total;
  }
  if (!total && read->range.offset == 0) total = 0;
  const auto answer = [this, read](GetResult result) {
    if (result.status.ok() && result.object_bytes > read->range.offset) {
      result.status = {
          Answer::kCorrupt,
          "get " + name_of(read->key) +
              ": a range inside the object was refused; check what answers at the endpoint",
          {}};
    }
    read->done(std::move(result));
  };
  if (!total) return head(read->key, read->cause, answer);
  GetResult result;
  result.object_bytes = *total;
  answer(std::move(result));
}

void S3Client::head(std::string key, Cause cause, GetDone done) {
  CallPtr call = make_call(Verb::kHead, "HEAD", "look at " + name_of(key), key, cause);
  call->sound = [](const HttpAnswer& http) {
    const std::string* length = http.header("content-length");
    return length != nullptr && number(*length) && http.header("etag") != nullptr;
  };
  call->done = [this, key, cause, done = std::move(done)](Reply reply) mutable {
    GetResult result;
    const int status = reply.http.status;
    if (status >= 300 && status < 500 && status != 404 &&
        reply.status.answer != Answer::kCancelled) {
      // HEAD is refused without words: asked like this, the store says why.
      auto read = std::make_shared<Read>();
      read->key = std::move(key);
      read->range = {0, 1};
      read->cause = cause;
      read->done = [done = std::move(done)](GetResult got) {
        got.bytes.clear();
        done(std::move(got));
      };
      return read_on(read);
    }
    result.status = std::move(reply.status);
    if (result.status.ok()) {
      result.object_bytes = number(*reply.http.header("content-length")).value_or(0);
    }
    done(std::move(result));
  };
  start(std::move(call));
}

// ------------------------------------------------------------------------------------------ list

void S3Client::list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                    ListDone done) {
  const std::string tried = "list " + name_of(prefix);
  CallPtr call = make_call(Verb::kList, "GET", tried, "", cause);
  call->query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", prefix}};
  if (!after.empty()) call->query.emplace_back("start-after", after);
  if (count_max != 0) {
    call->query.emplace_back("max-keys", std::to_string(std::min(count_max, kListMax)));
  }
  const auto page = std::make_shared<std::optional<ListPage>>();
  call->sound = [page](const HttpAnswer& http) {
    *page = parse_list(http.text());
    return page->has_value();
  };
  call->done = [=, done = std::move(done)](Reply reply) {
    ListResult result;
    result.status = std::move(reply.status);
    if (!result.status.ok()) return done(std::move(result));
    if (const std::string wrong = wrong_in_list(**page, prefix, after); !wrong.empty()) {
      result.status = {Answer::kCorrupt, tried + ": " + wrong, {}};
      return done(std::move(result));
    }
    result.objects = std::move((*page)->objects);
    result.more = (*page)->more;
    done(std::move(result));
  };
  start(std::move(call));
}

// ---------------------------------------------------------------------------------------- delete

struct S3Client::Removal {
  std::vector<std::string> batched, single;
  Cause cause{};
  StatusDone done;
  Mutex mutex;
  // guarded by mutex
  StoreStatus worst WP_GUARDED_BY(mutex);
  size_t outstanding WP_GUARDED_BY(mutex) = 0;

  void failed(StoreStatus status) {
    MutexLock lock(mutex);
    // What does not pass by itself is told before what does.
    if (worst.ok() || (worst.passing() && !status.passing())) worst = std::move(status);
  }
};

void S3Client::remove(std::vector<std::string> keys, Cause cause, StatusDone done) {
  auto removal = std::make_shared<Removal>();
  removal->cause = cause;
  removal->done = std::move(done);
  const bool batches = batch_delete_ && keys.size() > 1;
  for (std::string& key : keys) {
    auto& part = batches && xml_can_carry(key) ? removal->batched : removal->single;
    part.push_back(std::move(key));
  }
  remove_on(removal);
}

// A batch, or all that goes singly, or the end.
void S3Client::remove_on(const std::shared_ptr<Removal>& removal) {
  if (!removal->batched.empty()) {
    const size_t count = std::min(kDeleteBatch, removal->batched.size());
    const auto begin = removal->batched.end() - static_cast<ptrdiff_t>(count);
    std::vector<std::string> keys(std::make_move_iterator(begin),
                                  std::make_move_iterator(removal->batched.end()));
    removal->batched.erase(begin, removal->batched.end());
    return remove_batch(removal, std::move(keys));
  }
  if (!removal->single.empty()) {
    return remove_singly(removal, std::exchange(removal->single, {}));
  }
  StoreStatus status;
  {
    MutexLock lock(removal->mutex);
    status = removal->worst;
  }
  removal->done(std::move(status));
}

void S3Client::remove_batch(const std::shared_ptr<Removal>& removal,
                            std::vector<std::string> keys) {
  const std::string document = delete_document(keys);
  const std::string tried =
      "delete " + std::to_string(keys.size()) + " objects, one of them " + name_of(keys.front());
  CallPtr call = make_call(Verb::kDelete, "POST", tried, "", removal->cause);
  call->query = {{"delete", ""}};
  call->headers = {{"Content-Type", "application/xml"}};
  if (const std::string md5 = md5_base64(document); !md5.empty()) {
    call->headers.push_back({"Content-MD5", md5});
  }
  const Sha256 digest = sha256(document);
  if (!google_) call->headers.push_back({"x-amz-checksum-sha256", base64(view(digest))});
  call->payload_hash = hex(digest);
  call->body = body_of(document);
  const auto failures = std::make_shared<std::optional<std::vector<DeleteFailure>>>();
  call->sound = [failures](const HttpAnswer& http) {
    *failures = parse_delete_result(http.text());
    return failures->has_value();
  };
  call->done = [this, removal, failures, keys = std::move(keys)](Reply reply) mutable {
    const Answer answer = reply.status.answer;
    if (answer == Answer::kUnsupported || (answer == Answer::kInvalid && reply.http.status != 0)) {
      // The store has no such request: one by one, from now on.
      batch_delete_ = false;
      for (auto* part : {&keys, &removal->batched}) {
        std::move(part->begin(), part->end(), std::back_inserter(removal->single));
        part->clear();
      }
    } else if (!reply.status.ok()) {
      removal->failed(std::move(reply.status));
      removal->batched.clear();  // what comes next would meet the same
      removal->single.clear();
    } else {
      for (const DeleteFailure& failure : **failures) {
        if (failure.code == "NoSuchKey") continue;
        const Verdict verdict = judge(Verb::kDelete, status_of(failure.code), failure.code);
        const std::string text = name_of(failure.key) + ": " + printable_key(failure.code);
        removal->failed({verdict.answer, "delete " + redact(text, credentials_.last()), {}});
      }
    }
    remove_on(removal);
  };
  start(std::move(call));
}

void S3Client::remove_singly(const std::shared_ptr<Removal>& removal,
                             std::vector<std::string> keys) {
  {
    MutexLock lock(removal->mutex);
    removal->outstanding = keys.size();
  }
  for (std::string& key : keys) {
    const std::string tried = "delete " + name_of(key);
    CallPtr call = make_call(Verb::kDelete, "DELETE", tried, std::move(key), removal->cause);
    call->done = [this, removal](Reply reply) {
      const bool absent = reply.error.code == "NoSuchKey";
      if (!reply.status.ok() && !absent) removal->failed(std::move(reply.status));
      bool last = false;
      {
        MutexLock lock(removal->mutex);
        last = --removal->outstanding == 0;
      }
      if (last) remove_on(removal);
    };
    start(std::move(call));
  }
}

template <class T>
void S3Client::look_at(const std::string& what, Cause cause,
                       std::optional<T> (*parse)(std::string_view),
                       std::function<void(StoreStatus, T)> done) {
  CallPtr call =
      make_call(Verb::kList, "GET", "look at the " + what + " of " + name_of(""), "", cause);
  call->query = {{what, ""}};
  call->sound = [parse](const HttpAnswer& http) { return parse(http.text()).has_value(); };
  call->done = [parse, done = std::move(done)](Reply reply) {
    std::optional<T> found;
    if (reply.status.ok()) found = parse(reply.http.text());
    done(std::move(reply.status), found ? *std::move(found) : T());
  };
  start(std::move(call));
}

void S3Client::versioning(Cause cause, std::function<void(StoreStatus, std::string)> done) {
  look_at<std::string>("versioning", cause, parse_versioning, std::move(done));
}

void S3Client::lifecycle(Cause cause,
                         std::function<void(StoreStatus, std::vector<LifecycleRule>)> done) {
  look_at<std::vector<LifecycleRule>>("lifecycle", cause, parse_lifecycle, std::move(done));
}

}  // namespace wp::s3
