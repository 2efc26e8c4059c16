// The façade: a URL and options in, an engine with its parts wired together out; and the roots that
// this process has open, so that a second opening gives the same root.
//
// Promises: a root that is not to be created is looked for before anything is written. A writing
// opening holds the process lock before it touches the view or the store. In a child of fork() no
// call on what the parent opened touches a lock, and no destructor waits.
#include "wp.h"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include "engine/bytes.h"
#include "engine/engine.h"
#include "engine/options.h"
#include "meta_sqlite/sqlite_view.h"
#include "platform/fork.h"
#include "platform/process_lock.h"
#include "platform/real_runtime.h"
#include "platform/thread_pool.h"
#include "s3_minimal/config.h"
#include "s3_minimal/s3_store.h"
#include "stores/directory.h"
#include "stores/memory.h"

namespace wp {
namespace {

namespace fs = std::filesystem;

constexpr size_t kIoThreadsMin = 8, kIoThreadsMax = 64;

// ------------------------------------------------------------------------ where a root's parts are

// A root that was found, or may be created; nothing of it is held or changed yet.
struct Place {
  Options options;
  Scheme scheme = Scheme::kDirectory;
  std::string url;                     // without its query
  std::string key;                     // the same for every way to name it
  std::string view_path;               // empty: in memory
  std::string lock_path;               // empty: none
  std::shared_ptr<ObjectStore> store;  // null: opened with the view's notes

  bool writes() const { return !options.read_only; }
  bool creates() const { return options.create && writes(); }
  void say(Level level, const std::string& text) const {
    if (options.on_message) options.on_message(level, text);
  }
};

Status no_root(const Place& place) {
  return Status(Code::kNotFound, "open " + place.url +
                                     ": there is no root; check the URL, or open for writing with "
                                     "create");
}

Status find_directory(const std::string& path, Place& place) {
  DirectoryOptions options;
  options.sync = place.options.sync;
  options.allow_network = place.options.allow_network;
  options.create = place.creates();
  options.read_only = place.options.read_only;
  options.io_threads =
      std::clamp<size_t>(place.options.puts_in_flight_max, kIoThreadsMin, kIoThreadsMax);
  auto store = DirectoryStore::open(path, options);
  if (!store) return store.status();
  place.store = *std::move(store);
  std::error_code error;
  const fs::path directory = fs::canonical(path, error);
  if (error) {
    return Status(Code::kUnavailable,
                  "open " + path + ": " + error.message() + "; look at what happens to it");
  }
  place.key = place.url = "file://" + directory.string();
  // Before a lock or a view is made in a directory that is none of ours.
  if (!place.creates() &&
      fs::symlink_status(directory / "root", error).type() == fs::file_type::not_found) {
    return no_root(place);
  }
  if (place.writes()) place.lock_path = directory / "wp.lock";
  place.view_path = directory / "wp.sqlite";
  return {};
}

Status find_memory(const std::string& name, Place& place) {
  place.key = place.url = "mem://" + name;
  auto bucket = memory_bucket(name, place.creates());
  if (bucket == nullptr) return no_root(place);
  place.store = std::make_shared<MemoryStore>(std::move(bucket), name);
  return {};
}

// Where the user's programs keep what they may lose; empty: nobody says.
fs::path state_directory() {
  const auto absolute = [](const char* variable) {
    const char* value = std::getenv(variable);
    const fs::path path = value == nullptr ? "" : value;
    return path.is_absolute() ? path : fs::path();
  };
  if (const fs::path state = absolute("XDG_STATE_HOME"); !state.empty()) return state / "wp";
  const fs::path home = absolute("HOME");
  return home.empty() ? home : home / ".local" / "state" / "wp";
}

// The bucket's name is for people; the digest tells endpoints and prefixes apart.
Status find_bucket(const std::string& bucket_and_prefix, Place& place) {
  place.url = "s3://" + bucket_and_prefix;
  const auto config = s3::s3_config(place.url, place.options);
  if (!config) return config.status();
  place.url = "s3://" + config->bucket + "/" + config->prefix;
  place.key = config->endpoint.origin() + "\n" + config->bucket + "\n" + config->prefix;
  fs::path view = place.options.meta_path;
  if (view.empty() && place.writes()) {
    const fs::path directory = state_directory();
    if (directory.empty()) {
      place.say(Level::kWarning,
                "open " + place.url +
                    ": neither XDG_STATE_HOME nor HOME says where to keep the view, so it is kept "
                    "in memory and each opening reads more; set meta_path");
      return {};
    }
    // What cannot be made is told when the view cannot be opened there.
    std::error_code error;
    if (fs::create_directories(directory, error)) {
      fs::permissions(directory, fs::perms::owner_all, error);
    }
    const Digest digest = sha256(as_bytes(place.key));
    view = directory /
           (config->bucket.substr(0, 64) + "-" + to_hex(Bytes(digest).subspan(0, 8)) + ".sqlite");
  }
  place.view_path = view;
  if (place.writes()) place.lock_path = view.string() + ".lock";
  return {};
}

Result<Place> find_place(const RootUrl& url, Options options) {
  Place place;
  place.options = std::move(options);
  place.scheme = url.scheme;
  Status status;
  switch (url.scheme) {
    case Scheme::kDirectory:
      status = find_directory(url.place, place);
      break;
    case Scheme::kMemory:
      status = find_memory(url.place, place);
      break;
    case Scheme::kS3:
      status = find_bucket(url.place, place);
      break;
  }
  if (!status.ok()) return status;
  place.key.insert(0, place.writes() ? "writes " : "reads ");
  // Whoever only reads writes no view either: it belongs to the writer.
  if (!place.options.meta_path.empty()) place.view_path = place.options.meta_path;
  if (!place.writes()) place.view_path.clear();
  return place;
}

// ---------------------------------------------------------------------------- the parts themselves

Result<std::shared_ptr<void>> take_lock(const Place& place) {
  if (place.lock_path.empty()) return std::shared_ptr<void>();
  auto lock = ProcessLock::acquire(place.lock_path);
  if (lock) return std::shared_ptr<void>(std::shared_ptr<ProcessLock>(*std::move(lock)));
  if (place.scheme != Scheme::kS3 || lock.code() == Code::kBusy) return lock.status();
  // The fences in the bucket keep a second writer out all the same, only less politely.
  place.say(Level::kWarning, lock.status().message() +
                                 " [without the lock, a second process here would take the root "
                                 "over instead of being refused]");
  return std::shared_ptr<void>();
}

Result<std::unique_ptr<SqliteView>> open_view(const Place& place) {
  auto view = SqliteView::open(place.view_path);
  switch (view.code()) {
    case Code::kNoSpace:
    case Code::kDenied:
    case Code::kUnavailable:
      place.say(Level::kWarning, view.status().message() +
                                     " [the view is kept in memory until the next opening, which "
                                     "reads more]");
      return SqliteView::open("");
    default:
      return view;
  }
}

Result<std::unique_ptr<ObjectStore>> open_bucket(const Place& place, SqliteView& view) {
  return S3Store::open(place.url, place.options,
                       {view.note("conditional"), view.note_keeper("conditional")});
}

Result<std::shared_ptr<Engine>> open_engine(const Place& place,
                                            const std::shared_ptr<RealRuntime>& runtime) {
  EngineParts parts;
  auto lock = take_lock(place);
  if (!lock) return lock.status();
  parts.lock = *std::move(lock);
  auto view = open_view(place);
  if (!view) return view.status();
  parts.store = place.store;
  if (parts.store == nullptr) {
    auto store = open_bucket(place, **view);
    if (!store) return store.status();
    parts.store = *std::move(store);
  }
  parts.view = *std::move(view);
  parts.spare_view = []() -> std::unique_ptr<View> {
    auto spare = SqliteView::open("");
    if (!spare) return nullptr;
    return *std::move(spare);
  };
  if (!runtime->start()) {
    return Status(Code::kUnavailable, "open " + place.url +
                                          ": the system gives no thread; raise the limit of the "
                                          "user or of the container");
  }
  parts.runtime = runtime;
  return Engine::open(std::move(parts), place.options);
}

// ----------------------------------------------------------------- the roots that this process has

struct Root {
  enum class State : uint8_t { kOpening, kOpen, kEnding };

  std::string url;
  std::string key;
  bool read_only = false;
  Duration close_timeout{};
  const std::shared_ptr<RealRuntime> runtime = std::make_shared<RealRuntime>();
  std::shared_ptr<Engine> engine;  // set while it is being opened, and never changed

  // Guarded by the registry's lock.
  State state = State::kOpening;
  size_t handles = 0;
  size_t enders = 0;  // calls that are ending it: it is gone when the last of them is done
};

struct Registry {
  Mutex mutex;
  CondVar changed;
  std::map<std::string, std::shared_ptr<Root>> roots WP_GUARDED_BY(mutex);
};

void forget(Registry& all, const std::shared_ptr<Root>& root) WP_REQUIRES(all.mutex) {
  const auto it = all.roots.find(root->key);
  if (it != all.roots.end() && it->second == root) all.roots.erase(it);
  all.changed.notify_all();
}

// Around a call that ends it. From the first on nobody else finds it open.
void ending([[maybe_unused]] Registry& all, Root& root) WP_REQUIRES(all.mutex) {
  root.state = Root::State::kEnding;
  ++root.enders;
}
void ended(Registry& all, const std::shared_ptr<Root>& root) WP_REQUIRES(all.mutex) {
  if (--root->enders == 0) forget(all, root);
}

// The root of this place, with one handle more: the one that is open, or a new one.
Result<std::shared_ptr<Root>> open_root(const Place& place) {
  auto root = std::make_shared<Root>();
  root->url = place.url;
  root->key = place.key;
  root->read_only = place.options.read_only;
  root->close_timeout = place.options.close_timeout;
  auto& all = of_this_process<Registry>();
  MutexLock lock(all.mutex);
  const auto deadline = std::chrono::steady_clock::now() + place.options.open_timeout;
  for (;;) {
    const auto it = all.roots.find(root->key);
    if (it == all.roots.end()) break;
    if (it->second->state == Root::State::kOpen) {
      ++it->second->handles;
      return it->second;
    }
    if (all.changed.native().wait_until(lock, deadline) == std::cv_status::timeout) {
      return Status(Code::kBusy, "open " + place.url +
                                     ": another thread of this process has been opening or closing "
                                     "it for longer than open_timeout; try again");
    }
  }
  all.roots.emplace(root->key, root);
  lock.unlock();

  auto engine = open_engine(place, root->runtime);

  lock.lock();
  if (!engine) {
    forget(all, root);
    return engine.status();
  }
  root->engine = *std::move(engine);
  root->state = Root::State::kOpen;
  root->handles = 1;
  all.changed.notify_all();
  return root;
}

// Gives one handle back, and with the last one ends the root.
Status release(const std::shared_ptr<Root>& root) {
  auto& all = of_this_process<Registry>();
  MutexLock lock(all.mutex);
  Status flushed;
  if (root->handles > 1 && root->state == Root::State::kOpen && !root->read_only) {
    // Counted until it is done, so that nobody ends the root meanwhile.
    lock.unlock();
    flushed = root->engine->flush(root->close_timeout);
    lock.lock();
  }
  if (--root->handles > 0) return flushed;
  if (root->state != Root::State::kOpen) return {};  // somebody abandoned it
  ending(all, *root);
  lock.unlock();
  Status closed = root->engine->close();
  lock.lock();
  ended(all, root);
  return closed;
}

// Ends it for all handles, which need not be given back any more. Also under a close() of another
// thread, which ends at once then.
void abandon_root(const std::shared_ptr<Root>& root) {
  auto& all = of_this_process<Registry>();
  MutexLock lock(all.mutex);
  ending(all, *root);
  lock.unlock();
  root->engine->abandon();
  lock.lock();
  ended(all, root);
}

// For what would wait for the very thread it is called on.
void run_elsewhere(std::function<void()> task) {
  std::thread thread;
  // Without a thread to be had the root stays open.
  if (start_thread(thread, "wp-close", std::move(task))) thread.detach();
}

}  // namespace

// -------------------------------------------------------------------------------------- one handle

class Wal::Impl {
 public:
  explicit Impl(std::shared_ptr<Root> opened) : root(std::move(opened)) {}

  bool forked() const { return root->runtime->forked(); }
  bool in_callback() const { return root->runtime->on_event_thread(); }
  Engine& engine() const { return *root->engine; }
  Status usable() const {
    if (forked()) {
      return Status(Code::kForked, "use " + root->url +
                                       ": it was opened before fork(); open it anew in the child");
    }
    if (closed.load()) return Status(Code::kClosed, "use " + root->url + ": it was closed; reopen");
    return {};
  }

  const std::shared_ptr<Root> root;
  std::atomic<bool> closing{false};  // close() was called
  std::atomic<bool> closed{false};   // and is done: until then callbacks may use the handle
};

Result<std::unique_ptr<Wal>> Wal::open(std::string_view url, const Options& options) {
  auto parsed = parse_root_url(url);
  if (!parsed) return parsed.status();
  auto joined = join_options(parsed->options, options);
  if (!joined) return joined.status();
  auto place = find_place(*parsed, *std::move(joined));
  if (!place) return place.status();
  auto root = open_root(*place);
  if (!root) return root.status();
  return std::make_unique<Wal>(std::make_unique<Impl>(*std::move(root)));
}

Wal::Wal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Wal::~Wal() {
  // In a child the registry holds on to the root, so that nothing of it is destroyed here.
  if (impl_->forked() || impl_->closing.exchange(true)) return;
  if (impl_->in_callback()) {
    run_elsewhere([root = impl_->root] { static_cast<void>(release(root)); });
  } else {
    static_cast<void>(release(impl_->root));
  }
}

Result<Log> Wal::log(std::string_view name) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->engine().log(name);
}

Result<Log> Wal::find(std::string_view name) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->engine().find(name);
}

Result<std::vector<LogInfo>> Wal::logs() {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->engine().logs();
}

Status Wal::drop(std::string_view name) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->engine().drop(name);
}

Status Wal::flush(std::optional<Duration> timeout) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->engine().flush(timeout);
}

Status Wal::verify(const Progress& progress) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->engine().verify(progress);
}

// These two can say no error; what was counted is of interest also after the end.
Result<GcReport> Wal::gc(bool dry_run) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->engine().gc(dry_run);
}

Result<std::vector<Holding>> Wal::why(std::string_view log) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->engine().why(log);
}

Stats Wal::stats() const {
  return impl_->forked() ? Stats() : impl_->engine().stats();
}

RootInfo Wal::info() const {
  return impl_->forked() ? RootInfo() : impl_->engine().info();
}

Status Wal::close() {
  if (impl_->forked()) return impl_->usable();
  if (impl_->in_callback()) {
    return Status(Code::kInvalid, "close " + impl_->root->url +
                                      ": a callback of it must not wait; close it from another "
                                      "thread");
  }
  if (impl_->closing.exchange(true)) return {};
  Status status = release(impl_->root);
  impl_->closed = true;
  return status;
}

void Wal::abandon() {
  if (impl_->forked()) return;
  impl_->closing = impl_->closed = true;
  if (impl_->in_callback()) {
    run_elsewhere([root = impl_->root] { abandon_root(root); });
  } else {
    abandon_root(impl_->root);
  }
}

#define WP_TEXT_OF(x) #x
#define WP_DOTTED(a, b, c) WP_TEXT_OF(a) "." WP_TEXT_OF(b) "." WP_TEXT_OF(c)

std::string_view version() {
  return WP_DOTTED(WP_VERSION_MAJOR, WP_VERSION_MINOR, WP_VERSION_PATCH);
}

}  // namespace wp
