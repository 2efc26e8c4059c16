// wp: a write-ahead log that a program embeds. One process, one library, no server.
//
// A *root* holds any number of named *logs*. Entries that are appended to any of them gather in
// RAM, are packed into one compressed *fragment* and stored as one object: in a directory, in
// memory or in an S3-compatible bucket. Entries of a log are numbered by LSN: 1, 2, 3, ... without
// gaps, for ever.
//
// What will hurt you, first:
//  - One writing process per root at a time. A second one on the same machine is refused (kBusy);
//  one
//    on another machine takes over, and the first gets kFenced at its next append and must reopen.
//  - Acknowledged means durable. `append` returns, and `Done` of `append_async` runs, when the
//  entry and
//    everything before it is stored. An entry that was not acknowledged may still become durable,
//    unless the error was kFenced.
//  - RAM is bounded by `Options::ram_bytes_max`. When the store cannot keep up, appends wait or
//  fail
//    with kBusy (`AppendOptions::at_limit`); nothing is dropped.
//  - After fork() the child must not use what the parent opened: every call there gives kForked.
//  - Not offered: removing or overwriting the newest entries, several writers at once, lookup by
//  key.
//
// Threads: every method of Wal and Log may be called from any thread. A Reader belongs to one
// thread at a time. No exception leaves the library; errors are values. Callbacks of yours run on
// the library's event thread with no lock held: keep them short, and do not wait in them (a call
// that would is refused).
#ifndef WP_H_
#define WP_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#define WP_VERSION_MAJOR 0
#define WP_VERSION_MINOR 1
#define WP_VERSION_PATCH 0
#define WP_API [[gnu::visibility("default")]]

namespace wp {

using Lsn = uint64_t;  // an entry's number in its log; the first is 1; 0 is none
using Bytes =
    std::span<const std::byte>;  // borrowed bytes; who lends them is said where they are used
using Duration = std::chrono::milliseconds;

// The bytes of a text, borrowed: valid as long as the text is.
inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// ----------------------------------------------------------------------------------------------
// errors

// What went wrong, told apart by what the caller should do about it.
enum class Code : uint8_t {
  kOk,
  kInvalid,   // the call is wrong (name, size, LSN, option, URL): fix the call
  kNotFound,  // no such root, log or object: create it, or check the name
  kBusy,      // another process holds the root, or RAM is full and the caller would not wait: retry
  kTimeout,   // the deadline passed first; an append may still become durable: look, or wait again
  kUnavailable,  // the store cannot be reached or is failing: retry later; nothing acknowledged is
                 // lost
  kDenied,       // the store refuses the credentials or the permission: fix them, then retry
  kNoSpace,      // the disk is full: free space, then retry
  kFenced,       // another opener took the root over: this handle is done writing; reopen
  kClosed,       // the root was closed or abandoned: reopen
  kReadOnly,     // the root was opened read-only: open it for writing
  kTruncated,    // the entry was truncated away: go on at Status::lsn(), the first that is left
  kDropped,      // the log was dropped: ask for it by name again
  kCorrupt,      // stored bytes are damaged: the message names them; run `wp verify`
  kRolledBack,   // the store is older than the local view knows, or another root: see the message
  kUnsupported,  // a newer format, or a store that lacks what is needed: upgrade, or use another
                 // store
  kForked,       // called in a child of fork(): open anew in the child
  kInternal,     // a bug in wp: the log stops writing, reading goes on; please report it
};

// The name as written above: "kBusy".
WP_API std::string_view code_name(Code code);

// The outcome of a call. Cheap to pass; success holds no memory. A message reads
// "<what was tried>: <what happened> [where]; <what to do>" and never holds a secret.
class [[nodiscard]] WP_API Status {
 public:
  Status() = default;  // success
  Status(Code code, std::string message, Lsn lsn = 0);

  bool ok() const { return detail_ == nullptr; }
  Code code() const;
  const std::string& message() const;  // empty on success
  Lsn lsn() const;                     // kTruncated: the first LSN that is left; otherwise 0
  bool retryable() const;              // the same call may succeed later without any change
  std::string to_string() const;       // "kBusy: message", or "ok"

 private:
  struct Detail;
  std::shared_ptr<const Detail> detail_;
};

// A value, or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT: meant to convert
  Result(Status status) : status_(std::move(status)) {}  // NOLINT: meant to convert; never success

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Status& status() const { return status_; }
  Code code() const { return status_.code(); }
  // Only when ok().
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

// ---------------------------------------------------------------------------------------------
// options

// What an append does when RAM is full.
enum class AtLimit : uint8_t {
  kDefault,  // as Options::at_limit says
  kBlock,    // wait for room, until the deadline
  kBusy,     // fail at once with kBusy
};

enum class Level : uint8_t { kInfo, kWarning, kError };

// How a root is opened. Every field has a default that is right for most; in a URL each is a query
// parameter of the same name, durations with the suffix _ms:
// "file:///data/wal?linger_ms=5&sync=process". Where a program sets a field to something else than
// its default, the URL's does not count.
struct WP_API Options {
  // Opens beside a live writer without lock, fence or any write, also on another machine.
  bool read_only = false;

  // Creates the root where there is none. Without it such an open gives kNotFound and creates
  // nothing.
  bool create = true;

  // Path of the SQLite file that holds the view (a cache of the bucket: it may be lost at any
  // time). Empty: `wp.sqlite` inside a directory root; in the user's state directory for S3; none
  // for memory. Not used with read_only: the view is the writer's, and a reader has its own in RAM.
  std::string meta_path;

  // Throws the view away and builds it from the bucket. Also the way out of kRolledBack, once you
  // are sure that the bucket is the one you want.
  bool rebuild = false;

  // A fragment is sent when this much (uncompressed) has gathered. Higher: fewer requests, better
  // compression, more RAM. Lower: less to lose sight of per request. On S3 a PUT costs $0.000005
  // whatever its size: 1 TB in 8 MiB fragments costs about $0.60. Range 4 KiB to 1 GiB.
  uint64_t fragment_bytes_max = 8u << 20;

  // Entries are compressed in blocks of about this size; a reader decodes whole blocks. Higher:
  // better compression. Lower: cheaper reads of single entries. Leave it alone. Range 1 KiB to 64
  // MiB.
  uint32_t block_bytes = 256u << 10;

  // Largest entry (payload and properties), and largest sum of a batch. Up to 1 GiB.
  uint64_t entry_bytes_max = 64u << 20;

  // PUTs under way at once. Higher: more bandwidth on a store with latency, more RAM. 1 to 256.
  uint32_t puts_in_flight_max = 8;

  // How long entries of `append_async` may gather while nobody waits for them. Negative: as the
  // store says (S3 200 ms; directory and memory 0). On S3, 200 ms costs at most $65 a month while
  // something is appended all the time; 0 may cost ten times that; 5000 costs $2.60. A durable
  // `append` or `flush` never waits for it.
  Duration linger{-1};

  // A budget of PUTs per second that holds everyone, durable appends too. 0: none. For people who
  // would rather wait than pay: 0.1 is at most $1.30 a month on S3.
  double puts_per_second_max = 0;

  // What requests cost, for Stats::dollars; nothing else depends on it. The defaults are S3's list
  // prices of the standard class in us-east-1. Lists cost what puts do; deletions are free.
  double dollars_per_1000_puts = 0.005, dollars_per_1000_gets = 0.0004;

  // One budget for all RAM that grows with use: gathering, compressing, uploading, caching,
  // recovering. At least four fragments are needed. At the limit, appends do what `at_limit` says.
  uint64_t ram_bytes_max = 256u << 20;

  // What an append does at the RAM limit, unless it says otherwise itself.
  AtLimit at_limit = AtLimit::kBlock;

  // zstd level of fragments, -7 (fastest) to 19; 0 stores raw. 1 compresses log text about fivefold
  // at some 600 MB/s per core; higher levels cost much and gain little.
  int compression_level = 1;

  // A checkpoint of the view is stored after this many slots of the journal. Higher: fewer
  // requests. Lower: faster opening where the local view is lost. 16 to 1,000,000.
  uint32_t checkpoint_slots = 1000;

  // Cursors that are committed ride along with the next fragment, or at the latest after this one
  // of their own. Lower: less is read twice after a crash. On S3 every commit on its own costs a
  // PUT: 10 s of steady commits without appends are at most $1.30 a month.
  Duration cursor_commit_interval{10'000};

  // What nobody needs any more stays for so long after that was noted, for readers in other
  // processes that may stand there. 0 on a root that no other process reads.
  Duration reclaim_grace{3'600'000};

  // How many small fragments (or segments) make it worth to gather their entries in segments.
  // Higher: fewer requests. Lower: faster reading back. 2 to 100,000.
  uint32_t compact_objects = 256;
  // Share of the time in which that may be at work; 0: only Wal::gc() does it. 0 to 1.
  double compact_share = 0.2;

  // How long close() tries to store what is pending before it gives up and says what was not
  // stored.
  Duration close_timeout{30'000};

  // How long open() tries to reach a store that does not answer.
  Duration open_timeout{30'000};

  // A follower (a read-only root) probes for news after this pause at first, and ever slower up to
  // it `follow_pause_max`. Each probe is one GET ($0.0000004 on S3).
  Duration follow_pause_min{10};
  Duration follow_pause_max{2'000};

  // Directory roots: false (in a URL: sync=process) skips fdatasync. Faster; a power loss or a
  // crash of the kernel may then lose acknowledged entries, a crash of the process alone does not.
  bool sync = true;

  // Directory roots: a network file system is refused unless this is set, for want of locks and of
  // atomic links that can be trusted there.
  bool allow_network = false;

  // S3: the store has no conditional writes, and you promise that no second writer exists. What is
  // given up: a second writer is no longer noticed, and the two destroy each other's entries.
  bool exclusive = false;

  // S3: where and as whom. Empty fields come from the environment as for AWS's own tools.
  std::string endpoint, region, ca, profile;
  std::optional<bool> path_style;  // default: by the endpoint
  bool unsigned_payload = false;   // over TLS only: spares a SHA-256 of every body

  // Told about what is worth a line in your log: the library itself prints nothing. Any thread, no
  // lock held; it must not call back into wp.
  std::function<void(Level, std::string_view)> on_message;

  // Defaults plus what the URL's query says. kInvalid names an unknown option and the nearest known
  // one.
  static Result<Options> from_url(std::string_view url);
};

// What of a log is kept. Whatever one of `age`, `bytes` and `cursors` lets go, goes, unless a
// cursor holds it: every cursor holds the entries behind what it committed, as long as it is not
// further behind than `hold_age` and `hold_bytes` say. Whole fragments go, so somewhat more is
// kept. Truncation by hand asks no cursor.
struct Retention {
  Duration age{0};     // older entries may go, counted back from the log's newest; 0: no limit
  uint64_t bytes = 0;  // what lies before the newest so many bytes may go; 0: no limit
  bool cursors =
      false;  // what every cursor that holds has passed may go (where none holds: nothing)
  // A cursor this far behind, by the log's own time or in bytes, holds nothing; 0: any holds.
  Duration hold_age{0};
  uint64_t hold_bytes = 0;
  bool operator==(const Retention&) const = default;
};

// ----------------------------------------------------------------------------------------------
// entries

struct Property {
  std::string_view key, value;
};

struct AppendOptions {
  // Key and value strings that come back with the entry. Copied; they count towards
  // entry_bytes_max.
  std::span<const Property> properties;
  // How long the call may wait, for room and for durability. Default: without end.
  std::optional<Duration> timeout;
  AtLimit at_limit = AtLimit::kDefault;
};

// Runs exactly once per append_async that returned an LSN, in LSN order within a log: with the LSN
// once the entry is durable, or with the error that means it was not acknowledged.
using Done = std::function<void(Result<Lsn>)>;

// One entry as read. Cheap to copy. The bytes live as long as any copy of the entry does: it holds
// the decoded block they lie in, so keeping one small entry for long keeps up to `block_bytes` of
// RAM.
class WP_API Entry {
 public:
  Lsn lsn = 0;
  int64_t time_ms = 0;  // wall clock at the append, ms since 1970; never decreases within a log
  Bytes payload;
  // False: it was published, and stands nowhere; `lsn` is that of the entry before it.
  bool stored = true;

  std::string_view text() const { return as_text(payload); }
  std::vector<Property> properties() const;  // views into the entry
  std::optional<std::string_view> property(std::string_view key) const;

 private:
  friend class EntryCursor;
  friend class PropertyFilter;
  friend class Subscription;
  Bytes properties_;
  std::shared_ptr<const void> hold_;
};

// Where reading starts.
struct From {
  enum class Kind : uint8_t { kFirst, kLatest, kLsn, kTime };
  Kind kind = Kind::kFirst;
  uint64_t value = 0;

  static From first() { return {Kind::kFirst, 0}; }  // the first entry that is left
  static From latest() {
    return {Kind::kLatest, 0};
  }  // behind the last durable entry: what comes next
  static From at(Lsn lsn) { return {Kind::kLsn, lsn}; }
  static From after(Lsn lsn) { return {Kind::kLsn, lsn + 1}; }
  static From time(int64_t time_ms) {  // the first entry whose time is not before this
    return {Kind::kTime, static_cast<uint64_t>(time_ms < 0 ? 0 : time_ms)};
  }
};

// Which entries a reader gives: those that have all of these keys with these values. Empty: all.
// Blocks in which no entry can have them are neither fetched nor decoded, as far as that is known:
// of a fragment of which no entry has properties, and of a block with more than 32 different ones,
// it is not.
struct Filter {
  std::vector<std::pair<std::string, std::string>> properties;
};

struct LogInfo {
  std::string name;
  uint64_t id = 0;      // of this log, once it is stored; a dropped log's id is never given again
  Lsn lsn_first = 1;    // the first LSN that is left
  Lsn lsn_durable = 0;  // the last acknowledged one; lsn_first - 1 where there is none left
  Lsn lsn_last = 0;     // the last one given out, durable or not
  uint64_t bytes = 0;   // payload and properties of the fragments from lsn_first's on
  int64_t time_first_ms = 0,
          time_last_ms = 0;  // append times of the first and last durable entry; 0: none
  Retention retention;
  uint64_t entries() const { return lsn_durable + 1 - lsn_first; }
};

struct CursorInfo {
  std::string name;
  Lsn committed = 0;          // everything up to it is done
  Lsn entries_behind = 0;     // durable entries that are not
  uint64_t bytes_behind = 0;  // about as many bytes
  Duration age_behind{0};     // of what is not done, by the log's own time, since the last commit
  bool holds = true;          // false: too far behind for the retention, see there
};

// ----------------------------------------------------------------------------------- a root, from
// outside

struct RootInfo {
  std::string url;
  std::string root_id;  // 32 hex digits
  uint32_t format_version = 0;
  bool read_only = false;
  uint32_t epoch = 0;         // of the newest durable slot; of this opening once it wrote
  uint64_t slots = 0;         // journal objects from the first epoch on, fences included
  uint64_t stored_bytes = 0;  // of those objects
  uint64_t logs = 0;
  std::string view_path;   // empty: in memory
  std::string view_error;  // why the view is not being written, empty when it is
};

// Why a part of the space is not free.
struct Holding {
  enum class Why : uint8_t {
    kEntries,      // entries that nothing lets go: no retention or truncation
    kRetention,    // entries that the log's retention keeps
    kCursor,       // entries that a cursor holds
    kMixed,        // entries that are gone, beside others of the same objects: until compaction
    kCheckpoint,   // gone, once two checkpoints say so
    kGrace,        // gone, after the grace for readers elsewhere
    kFence,        // ends of epochs whose owner did not close: for ever
    kCheckpoints,  // the checkpoints themselves
  };
  Why why = Why::kEntries;
  std::string log, cursor;          // whose, where it is somebody's
  uint64_t objects = 0, bytes = 0;  // as stored; of entries the share of their objects
  Lsn entries_behind = 0;           // kCursor: how far behind it is
  std::optional<Duration> goes_in;  // kGrace: when it will go
  std::string text;                 // all of it as one sentence, with what to do
};

// What gc() did, or would do.
struct GcReport {
  uint64_t entries_expired = 0;                         // truncated by retention
  uint64_t objects_compacted = 0, bytes_compacted = 0;  // objects read, and bytes in them
  uint64_t segments_written = 0, segment_bytes_written = 0;
  uint64_t objects_deleted = 0, bytes_deleted = 0;
  uint64_t leftovers_deleted = 0;  // of those: objects that were never part of the log
  uint64_t objects_waiting = 0, bytes_waiting = 0;  // for checkpoints or the grace
};

// What was asked of the store since this root was opened.
struct RequestCount {
  std::string_view operation;  // "put", "get", "list", "delete"
  std::string_view cause;  // "open", "flush", "read", "checkpoint", "verify", "probe", "reclaim",
                           // "compact"
  uint64_t requests = 0, failed = 0, bytes = 0;
  double dollars = 0;  // what they cost, by the prices in Options
};

// How often something took how long: each bucket reaches twice as far as the one before it.
struct WP_API Histogram {
  static constexpr size_t kBuckets = 24;
  std::array<uint64_t, kBuckets + 1> counts{};  // the last one: longer than all
  uint64_t count = 0;
  std::chrono::nanoseconds sum{0};

  // Up to and including it: 10 us, 20 us, ... 84 s.
  static std::chrono::nanoseconds upper_bound(size_t bucket) {
    return std::chrono::microseconds{10} * (int64_t{1} << bucket);
  }
  void add(std::chrono::nanoseconds value);
};

// Tries that failed and were made again, by why.
struct RetryCounts {
  uint64_t throttled = 0;  // the store wanted it slower
  uint64_t unknown = 0;    // time-outs, resets, errors of the store: done or not
  uint64_t conflict = 0;   // somebody else was at it
  uint64_t denied = 0;     // credentials or permission
  uint64_t no_space = 0;   // the disk or the quota is full
  uint64_t other = 0;
};

struct CursorLag {
  std::string log;
  CursorInfo cursor;
};

struct Stats {
  uint64_t entries_appended = 0, bytes_appended = 0;  // accepted into RAM
  uint64_t entries_durable = 0, bytes_durable = 0;    // acknowledged
  uint64_t fragments_stored = 0, fragment_bytes_stored = 0;
  // Accepted, and neither acknowledged nor refused.
  uint64_t backlog_entries = 0, backlog_bytes = 0;
  Histogram flush_latency;                     // from closing a fragment until it is acknowledged
  uint64_t retries = 0;                        // PUTs of a slot beyond its first
  RetryCounts retries_by_cause;                // of those
  uint64_t ram_bytes = 0, ram_bytes_peak = 0;  // of the budget
  uint64_t ram_gathering = 0, ram_uploading = 0, ram_cache = 0, ram_reading = 0, ram_index = 0;
  uint64_t ram_compacting = 0;
  // As of the last pass: of objects that compaction would gather, and of those that only wait to be
  // deleted.
  uint64_t compaction_debt_bytes = 0, reclaimable_bytes = 0;
  uint64_t segments_written = 0, segment_bytes_written = 0, reclaimed_bytes = 0;
  // Of all logs; of a thousand, where more have any. None where it is called in a callback.
  std::vector<CursorLag> cursors;
  uint64_t ram_ephemeral = 0;                               // published, and not yet read
  uint64_t ephemeral_published = 0;                         // entries, however many subscribers
  uint64_t ephemeral_delivered = 0, ephemeral_dropped = 0;  // each subscriber's counted
  Duration backlog_age{0};  // of the oldest entry that is not yet durable
  std::string last_error;   // of the store, empty when its last answer was good
  std::vector<RequestCount> requests;
  double dollars = 0;  // what those requests cost, by the prices in Options
};

// In Prometheus' text format (version 0.0.4), each sample with the label root="<root_label>". Names
// begin with wp_ and do not change.
WP_API std::string to_prometheus(const Stats& stats, std::string_view root_label);

struct Damage {
  std::string object;  // its key under the root
  std::string what;
  std::string log;                  // empty where the damage is not within one log
  Lsn lsn_first = 0, lsn_last = 0;  // the entries that cannot be read; 0: none, or not known
};

struct VerifyProgress {
  uint64_t objects_done = 0, objects_total = 0, bytes_done = 0, entries_done = 0;
  const Damage* damage = nullptr;  // set: this call reports damage
};
using Progress = std::function<void(const VerifyProgress&)>;

// A pull reader of one log. Cheap to make; no thread, no descriptor. Move only; one thread at a
// time.
class WP_API Reader {
 public:
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;
  ~Reader();

  // The next entry. Nothing, without error: the end was reached (`read`), or nothing came within
  // `wait`
  // (`subscribe`). A reader made by `read` ends at the last entry that was durable when it was
  // made. kTruncated: the place was truncated meanwhile; the reader goes on at Status::lsn() when
  // called again. kDropped, kCorrupt (names the range; calling again gives the same), kUnavailable,
  // kTimeout, kClosed.
  Result<std::optional<Entry>> next(Duration wait = {});

  // Up to `count_max` entries at once, at least one unless next() would give none. They are valid
  // until the next call on this reader; copy an Entry to keep it.
  Result<std::span<const Entry>> next_batch(size_t count_max, Duration wait = {});

  // The LSN that the next call will give; with a Filter, where it will look on.
  Lsn position() const;
  // Goes elsewhere, forwards or back. Published entries that wait are forgotten where their place
  // is passed over.
  Status seek(From from);

  class Impl;
  explicit Reader(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

class LogState;
class Engine;

// The durable place of a named consumer of a log. A cheap handle, any thread.
class WP_API Cursor {
 public:
  const std::string& name() const;
  CursorInfo info() const;
  // Everything up to and including `upto` is done; 0: nothing is. Backwards too. Returns at once;
  // it is durable with the next fragment, within Options::cursor_commit_interval or after flush()
  // or close(). After a crash the cursor may be where it was before. kInvalid past the last durable
  // entry; kNotFound: the cursor was dropped.
  Status commit(Lsn upto);
  // Behind what is committed, or at the first entry that is left.
  Result<Reader> read() const;
  Result<Reader> subscribe() const;
  Status drop();  // durably on return; repeating it is harmless

  Cursor(std::shared_ptr<Engine> engine, std::shared_ptr<LogState> state, std::string name);

 private:
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<LogState> state_;
  std::string name_;
};

// A handle of one log: cheap to copy, any thread. It keeps the root's memory alive, not the root
// open.
class WP_API Log {
 public:
  // Appends one entry and waits until it is durable. The bytes are copied before the call returns.
  // Returns its LSN. kTimeout: it may still become durable. kInvalid: too large. kBusy, kFenced,
  // kClosed, kReadOnly, kDropped, kNoSpace and kDenied (only together with a timeout: without one
  // it keeps trying).
  Result<Lsn> append(Bytes payload, const AppendOptions& options = {});
  // All or nothing, with consecutive LSNs, in one fragment. Returns the first. The properties are
  // every entry's. An empty batch is kInvalid.
  Result<Lsn> append(std::span<const Bytes> batch, const AppendOptions& options = {});
  // Returns once the entry is copied into RAM, with the LSN it has if it becomes durable. On an
  // error `done` never runs. The timeout bounds only the wait for room.
  Result<Lsn> append_async(Bytes payload, Done done = {}, const AppendOptions& options = {});

  // Sends an entry to the subscribers that this log has in this process now, and stores it nowhere:
  // no request, no write, and it is gone with the process. Returns at once; also in a callback. It
  // reaches a subscriber behind all that was appended to the log before, once that is durable and
  // read, and before all that is appended later; Entry::stored is false. Of those that a subscriber
  // has not read yet at most 1,000, and at most 1/64 of ram_bytes_max, are kept: then the oldest
  // are dropped (Stats::ephemeral_dropped), and so are new ones once all logs together have 1/32 of
  // it. kInvalid: larger than that, or than entry_bytes_max. kReadOnly, kDropped, kFenced, kClosed.
  Status publish(Bytes payload, std::span<const Property> properties = {});

  // From there to the last entry that is durable now.
  Result<Reader> read(From from = From::first(), const Filter& filter = {}) const;
  // From there on, waiting for what comes. Entries reach it when they are durable.
  Result<Reader> subscribe(From from = From::first(), const Filter& filter = {}) const;
  // kTruncated at a position below the first LSN; kInvalid for LSN 0 or more than one past the
  // last.

  // Forgets all entries up to and including `upto`, durably on return. Repeating it is harmless.
  // kInvalid for 0 or past the last LSN.
  Status truncate(Lsn upto);

  // From now on, durably on return. The default keeps everything. Checked now and then while
  // something is appended, and by Wal::gc().
  Status retain(const Retention& retention);

  // The cursor of that name; made where there is none, at the first entry that is left, durably on
  // return. On a read-only root kNotFound where there is none. Names: as of logs, up to 128 bytes.
  // At most 100 a log: kInvalid.
  Result<Cursor> cursor(std::string_view name);
  std::vector<CursorInfo> cursors() const;  // by name

  LogInfo info() const;
  const std::string& name() const;

  Log(std::shared_ptr<Engine> engine, std::shared_ptr<LogState> state);

 private:
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<LogState> state_;
};

// One open root. Opening a root that this process has open already gives a second handle of the
// same root (options of the first opening hold); it is released with the last handle.
class WP_API Wal {
 public:
  // URLs: file:///dir or a bare path · mem://name (lives as long as the process) ·
  // s3://bucket/prefix. kInvalid (URL, option, a directory that is no root), kNotFound (create is
  // false), kBusy (names the holder's pid, within 100 ms), kRolledBack, kUnsupported, kCorrupt,
  // kUnavailable, kDenied, kNoSpace.
  static Result<std::unique_ptr<Wal>> open(std::string_view url, const Options& options = {});
  ~Wal();  // as close(), its Status unseen

  // Opens the log, or creates it. A created log is stored with its first entry, or the next flush.
  // Names: 1 to 512 bytes of UTF-8 without '/', control characters, and not "." or "..": else
  // kInvalid.
  Result<Log> log(std::string_view name);
  // Opens the log if it is there: kNotFound names the nearest name otherwise. The only way on a
  // read-only root.
  Result<Log> find(std::string_view name);
  Result<std::vector<LogInfo>> logs();  // by name
  // Forgets the log and its entries, durably on return. The same name created again is a new log.
  // kNotFound if it is not there.
  Status drop(std::string_view name);

  // Makes durable all that was appended before, by anyone. Errors as of append.
  Status flush(std::optional<Duration> timeout = {});
  // Reads every object and checks it against the journal's chain. kCorrupt if anything is damaged;
  // each damage was then told to `progress`, which runs on the calling thread.
  Status verify(const Progress& progress = {});
  Stats stats() const;
  RootInfo info() const;

  // Does now what else is done now and then: retention, compaction, checkpoints, deletion. With
  // `dry_run` only says what it would do. What the grace still holds stays.
  Result<GcReport> gc(bool dry_run = false);
  // What the space is used for, all of it, or what of it is the log's.
  Result<std::vector<Holding>> why(std::string_view log = {});

  // Flushes, writes what the next opening needs, and releases everything. With other handles of the
  // root open in this process it only flushes. Not everything stored within close_timeout: the
  // Status says how many entries were not. Readers and logs of it then give kClosed.
  Status close();
  // As a crash would: no flush; threads joined, lock and descriptors released; every handle of the
  // root in this process gives kClosed. For tests, and for programs that must go now.
  void abandon();

  class Impl;
  explicit Wal(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

// The library's version, "0.1.0".
WP_API std::string_view version();

}  // namespace wp

#endif  // WP_H_
