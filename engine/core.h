// What the parts of an open root share: the store, the runtime, the view, the lock, and the ledger
// behind it. Not for users of the engine.
#ifndef WP_ENGINE_CORE_H_
#define WP_ENGINE_CORE_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cache.h"
#include "engine/engine.h"
#include "engine/ledger.h"
#include "engine/ram.h"

namespace wp {

class Writer;
class ViewKeeper;
class Follower;
class Cursors;
class Maintenance;

class EngineCore {
 public:
  EngineCore(EngineParts parts, const Options& options_given);
  ~EngineCore();

  void say(Level level, std::string_view text) const {
    if (options.on_message) options.on_message(level, text);
  }

  // kForked or kClosed, or ok: whether the root may be used at all. No lock.
  Status usable() const;
  // The same for a call that waits.
  Status may_wait(std::string_view tried) const;

  // The log of that name in RAM, from the view if need be; null: there is none. With `created` it
  // is made where there is none, and told.
  Result<LogStatePtr> find_log(std::string_view name, bool* created = nullptr) WP_EXCLUDES(mutex);
  // Who owned an epoch; 0: nobody that is known.
  Result<Nonce> owner_of(Epoch epoch) WP_EXCLUDES(mutex);
  // All names, by the view and RAM together.
  Result<std::vector<LogStatePtr>> all_logs() WP_EXCLUDES(mutex);
  // Durable runs of a log in order, from the one that holds `lsn`.
  Result<std::vector<RunRow>> runs_from(LogState& log, Lsn lsn, size_t count_max)
      WP_EXCLUDES(mutex);
  Result<std::optional<RunRow>> run_at_time(LogState& log, int64_t time_ms) WP_EXCLUDES(mutex);
  Result<std::vector<LogRow>> logs_with_settings(LogId after, size_t count_max) WP_EXCLUDES(mutex);
  LogInfo info_of(LogState& log) WP_EXCLUDES(mutex);

  // Remembers that the view is damaged, if that is what the status says: it is emptied when the
  // root is closed, so that the next opening builds it anew. Gives the status back.
  Status of_view(Status status);
  std::string view_damage() const;
  // The note in the view that says so.
  static constexpr std::string_view kDamageNote = "damaged";

  // A follower empties the view and fills it anew: nobody reads it meanwhile, and what was read
  // across it does not count. reload_begin() returns when it is our turn.
  void reload_begin() WP_EXCLUDES(mutex);
  void reload_end() WP_EXCLUDES(mutex);

  // Readers that wait look again.
  void wake_readers() WP_REQUIRES(mutex);

  Options options;  // as given, what the store decides filled in
  const std::shared_ptr<ObjectStore> store;
  const std::shared_ptr<Runtime> runtime;
  const std::string url;
  RamBudget ram;
  const std::shared_ptr<BlockPool> blocks;
  BlockCache cache;
  RootObject root;  // set by the opening
  std::string root_name;

  std::unique_ptr<View> view;  // replaced only by the opening
  std::function<std::unique_ptr<View>()> spare_view;
  std::shared_ptr<void> lock;

  std::atomic<bool> ended{false};  // closed or abandoned

  // Of entries that were published, see Stats.
  struct {
    std::atomic<uint64_t> published{0}, delivered{0}, dropped{0};
  } ephemeral;

  mutable Mutex mutex;
  std::string view_damage_ WP_GUARDED_BY(mutex);
  bool reloading_ WP_GUARDED_BY(mutex) = false;
  uint64_t reloads_ WP_GUARDED_BY(mutex) = 0;
  CondVar reloaded_;
  Ledger ledger WP_GUARDED_BY(mutex);

  std::unique_ptr<ViewKeeper> keeper;
  std::unique_ptr<Cursors> cursors;
  std::unique_ptr<Writer> writer;            // null: read-only
  std::unique_ptr<Maintenance> maintenance;  // null: read-only
  std::unique_ptr<Follower> follower;        // null: not read-only

 private:
  // How many reloads there were; waits for one under way.
  uint64_t reloads_settled() WP_EXCLUDES(mutex);
  // Reads the view so that no reload falls into it.
  template <class T, class Read>
  Result<T> read_view(Read read) WP_EXCLUDES(mutex);
};

}  // namespace wp

#endif  // WP_ENGINE_CORE_H_
