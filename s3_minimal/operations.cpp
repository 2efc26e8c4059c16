// What the client can be asked for: put, get, head, list, delete.
#include <algorithm>
#include <charconv>
#include <utility>

#include "s3_minimal/client.h"
#include "s3_minimal/client_call.h"
#include "stores/keys.h"

namespace wp::s3 {
namespace {

// Reads are repeated so often without any progress; a piece of this size is progress.
constexpr int kReadTries = 4;
constexpr size_t kProgressBytes = 256 << 10;
constexpr size_t kDeleteBatch = 1000;
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

Body body_of(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const std::vector<std::byte>>(bytes, bytes + text.size());
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
  call->done = [this, call, done = std::move(done)](Reply reply) {
    if (reply.status.ok() && reply.http.header("etag") == nullptr) {
      // A captive portal says 200 to everything.
      reply.status = explain(*call, Answer::kUnknown, "success without an ETag, as no S3 says it",
                             "check what answers at the endpoint", &reply.http, nullptr);
    }
    if (reply.status.answer == Answer::kExists) reply.status.message = call->tried + ": exists";
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
  std::string etag;              // of the object they are of
  std::optional<uint64_t> object_bytes;
  int tries_left = kReadTries;
  bool fresh_connection = false;

  uint64_t next() const { return range.offset + bytes.size(); }
  // Behind the last byte that is wanted; UINT64_MAX: the object's end.
  uint64_t end() const {
    return range.length > UINT64_MAX - range.offset ? UINT64_MAX : range.offset + range.length;
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
  call->fresh_connection = read->fresh_connection;
  const uint64_t end = read->end();
  call->answer_bytes_max = end == UINT64_MAX ? UINT64_MAX : end - read->next();
  if (read->next() > 0 || end != UINT64_MAX) {
    std::string value = "bytes=" + std::to_string(read->next()) + "-";
    if (end != UINT64_MAX) value += std::to_string(end - 1);
    call->headers.push_back({"Range", std::move(value)});
  }
  if (!read->bytes.empty()) call->headers.push_back({"If-Match", read->etag});
  call->done = [this, read](Reply reply) { read_answered(read, std::move(reply)); };
  start(std::move(call));
}

// Whether the answer is the piece that was asked for; takes its bytes if it is.
bool S3Client::read_matches(Read& read, const HttpAnswer& http, std::string* wrong) {
  const std::string* etag = http.header("etag");
  if (etag == nullptr) {
    *wrong = "success without an ETag, as no S3 says it";
    return false;
  }
  if (!read.bytes.empty() && *etag != read.etag) {
    *wrong = "the object changed while it was read";
    return false;
  }
  const std::string* range_text = http.header("content-range");
  const std::string* length_text = http.header("content-length");
  const bool has_length = length_text != nullptr && number(*length_text).has_value();
  const uint64_t length = has_length ? number(*length_text).value_or(0) : 0;
  uint64_t first = 0, count = 0, total = 0;
  if (http.status == 206) {
    const auto range = range_text == nullptr ? std::nullopt : parse_content_range(*range_text);
    if (!range || range->first != read.next() || range->last >= read.end()) {
      *wrong = "another range than was asked for" +
               (range_text == nullptr ? std::string() : " (" + printable_key(*range_text) + ")");
      return false;
    }
    first = range->first;
    count = range->last - range->first + 1;
    total = range->total;
    if (range->last + 1 != std::min(read.end(), total)) {
      *wrong = "a shorter range than was asked for";
      return false;
    }
  } else {
    count = total = has_length ? length : http.body.size();
  }
  const bool whole = http.error == TransportError::kNone;
  if ((whole && http.body.size() != count) || http.body.size() > count ||
      (has_length && length != count)) {
    *wrong = std::to_string(http.body.size()) + " bytes came of " + std::to_string(count);
    return false;
  }
  if (read.object_bytes && *read.object_bytes != total) {
    *wrong = "the object's size changed while it was read";
    return false;
  }
  if (first != read.next() && !read.bytes.empty()) return true;  // a range was ignored: from new
  read.object_bytes = total;
  read.etag = *etag;
  return true;
}

void S3Client::read_answered(const std::shared_ptr<Read>& read, Reply reply) {
  const int status = reply.http.status;
  const bool data = status == 200 || status == 206;
  const bool whole = reply.http.error == TransportError::kNone;
  std::string wrong;
  GetResult result;
  if (status == 416) return read_behind_end(read, reply);
  if (data && reply.http.error != TransportError::kTooLarge &&
      reply.status.answer != Answer::kCancelled) {
    if (read_matches(*read, reply.http, &wrong)) {
      const bool from_zero = status == 200;  // the whole object, whatever was asked for
      std::vector<std::byte>& came = reply.http.body;
      const size_t progress = came.size();
      if (from_zero && (read->next() > 0 || read->end() != UINT64_MAX)) {
        read->bytes.clear();
        if (whole) {
          const uint64_t begin = std::min<uint64_t>(read->range.offset, came.size());
          const uint64_t end = std::min<uint64_t>(read->end(), came.size());
          read->bytes.assign(came.begin() + static_cast<ptrdiff_t>(begin),
                             came.begin() + static_cast<ptrdiff_t>(end));
        }
      } else if (read->bytes.empty()) {
        read->bytes = std::move(came);
      } else {
        read->bytes.insert(read->bytes.end(), came.begin(), came.end());
      }
      if (progress >= kProgressBytes) read->tries_left = kReadTries;
      if (whole) {
        result.bytes = std::move(read->bytes);
        result.object_bytes = *read->object_bytes;
        return read->done(std::move(result));
      }
    } else {
      reply.status = {
          Answer::kCorrupt,
          "get " + name_of(read->key) + ": " + wrong + "; check what answers at the endpoint",
          {}};
      read->bytes.clear();
      read->object_bytes.reset();
    }
  } else if (status == 412 && !read->bytes.empty()) {
    // Another object has the key now, or the store reads tags in its own way: from the beginning.
    read->bytes.clear();
    read->object_bytes.reset();
  } else if (status != 0 && !data) {
    result.status = std::move(reply.status);
    return read->done(std::move(result));
  }
  const bool cancelled = reply.status.answer == Answer::kCancelled;
  const bool refused = reply.status.answer == Answer::kDenied;
  if (cancelled || refused || --read->tries_left <= 0) {
    result.status = std::move(reply.status);
    return read->done(std::move(result));
  }
  // Behind a cut that came just at the end there is nothing left to ask for.
  if (read->object_bytes && !read->bytes.empty() &&
      read->next() >= std::min(read->end(), *read->object_bytes)) {
    result.bytes = std::move(read->bytes);
    result.object_bytes = *read->object_bytes;
    return read->done(std::move(result));
  }
  read->fresh_connection = true;
  read_on(read);
}

// The range lies behind the object's end: no bytes, and how large the object is.
void S3Client::read_behind_end(const std::shared_ptr<Read>& read, const Reply& reply) {
  std::optional<uint64_t> total = reply.error.object_bytes;
  if (const std::string* text = reply.http.header("content-range")) {
    if (const auto range = parse_content_range(*text, true)) total = range->total;
  }
  const auto answer = [read](GetResult result) {
    if (result.status.ok() && result.object_bytes > read->range.offset) {
      result.status = {
          Answer::kCorrupt,
          "get " + printable_key(read->key) + ": a range inside the object was refused",
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
      const std::string* length = reply.http.header("content-length");
      const auto bytes = length == nullptr ? std::nullopt : number(*length);
      if (!bytes || reply.http.header("etag") == nullptr) {
        result.status = {Answer::kUnknown,
                         "look at " + name_of(key) +
                             ": success without size and ETag; check what "
                             "answers at the endpoint",
                         {}};
      }
      result.object_bytes = bytes.value_or(0);
    }
    done(std::move(result));
  };
  start(std::move(call));
}

// ------------------------------------------------------------------------------------------ list

void S3Client::list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                    ListDone done) {
  list_page(std::move(prefix), std::move(after), count_max, cause, kReadTries, std::move(done));
}

void S3Client::list_page(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                         int tries, ListDone done) {
  CallPtr call = make_call(Verb::kList, "GET", "list " + name_of(prefix), "", cause);
  call->query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", prefix}};
  if (!after.empty()) call->query.emplace_back("start-after", after);
  if (count_max != 0) {
    call->query.emplace_back("max-keys", std::to_string(std::min(count_max, kListMax)));
  }
  call->fresh_connection = tries < kReadTries;
  const std::string tried = call->tried;
  call->done = [=, this, done = std::move(done)](Reply reply) mutable {
    ListResult result;
    const bool broken = reply.status.answer == Answer::kUnknown &&
                        (reply.http.status == 0 || reply.http.status == 200);
    result.status = std::move(reply.status);
    std::optional<ListPage> page;
    if (result.status.ok()) page = parse_list(reply.http.text());
    if (((result.status.ok() && !page) || broken) && tries > 1) {
      return list_page(std::move(prefix), std::move(after), count_max, cause, tries - 1,
                       std::move(done));
    }
    if (result.status.ok() && !page) {
      result.status = {Answer::kUnknown,
                       tried + ": the answer is not a list; check what answers at the endpoint",
                       {}};
    }
    if (page) {
      result.objects = std::move(page->objects);
      result.more = page->more;
      const std::string* before = after.empty() ? nullptr : &after;
      for (const ListedObject& object : result.objects) {
        if (!object.key.starts_with(prefix) || (before != nullptr && object.key <= *before)) {
          result.status = {Answer::kCorrupt,
                           tried + ": " + printable_key(object.key) +
                               " is listed out of order; use a bucket that lists in byte order",
                           {}};
          result.objects.clear();
          break;
        }
        before = &object.key;
      }
      if (result.more && result.objects.empty() && result.status.ok()) {
        result.status = {Answer::kCorrupt, tried + ": a page without keys that claims more", {}};
      }
    }
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
  call->done = [this, removal, tried, keys = std::move(keys)](Reply reply) mutable {
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
    } else if (const auto failures = parse_delete_result(reply.http.text())) {
      for (const DeleteFailure& failure : *failures) {
        if (failure.code == "NoSuchKey") continue;
        const Verdict verdict = judge(Verb::kDelete, status_of(failure.code), failure.code);
        removal->failed({verdict.answer,
                         "delete " + name_of(failure.key) + ": " + printable_key(failure.code),
                         {}});
      }
    } else {
      removal->failed({Answer::kUnknown, tried + ": the answer is not a deletion's", {}});
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

void S3Client::versioning(Cause cause, std::function<void(StoreStatus, std::string)> done) {
  CallPtr call =
      make_call(Verb::kList, "GET", "look at the versioning of " + name_of(""), "", cause);
  call->query = {{"versioning", ""}};
  call->done = [done = std::move(done)](Reply reply) {
    std::string status;
    if (reply.status.ok()) status = parse_versioning(reply.http.text()).value_or("");
    done(std::move(reply.status), std::move(status));
  };
  start(std::move(call));
}

}  // namespace wp::s3
