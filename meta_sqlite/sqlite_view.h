// The view (engine/view.h) in an SQLite database: one file, one connection, one lock.
//
// Promises, beyond those of View: a damaged byte anywhere in the file gives kCorrupt, or changes no
// answer; never a wrong row, and never a row that silently is not there. An update that fails, for
// a full disk or any other reason, changes nothing, and a later one works. Opening does not get
// slower with the number of rows where the file was closed.
// It must never write to a file of a newer version or to another program's database.
#ifndef WP_META_SQLITE_SQLITE_VIEW_H_
#define WP_META_SQLITE_SQLITE_VIEW_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sync.h"
#include "engine/view.h"

namespace wp {

class Database;
struct DatabaseSetup;

class SqliteView final : public View {
 public:
  // Opens the file or creates it; its directory must exist. An empty path: in memory.
  //
  // A file that is damaged, no database at all, or of a newer version is no failure here: every
  // call then gives kCorrupt or kUnsupported, until reset() replaces it. (A file of no bytes is a
  // new view.)
  // kBusy: open elsewhere. kDenied, kNoSpace, kUnavailable: as the message says; later it may work.
  // kInvalid: it is the database of another program; nothing was changed.
  static Result<std::unique_ptr<SqliteView>> open(const std::string& path);
  // For tests: other schema steps, another way to the disk.
  static Result<std::unique_ptr<SqliteView>> open(const std::string& path,
                                                  const DatabaseSetup& setup);
  // Without close() it leaves the file as a crash would.
  ~SqliteView() override;

  Result<std::optional<ViewHead>> head() override;
  Status apply(const ViewDelta& delta) override;
  Status reset() override;
  Result<std::optional<LogRow>> log_by_name(std::string_view name) override;
  Result<std::optional<LogRow>> log_by_id(LogId id) override;
  Result<std::vector<LogRow>> logs(std::string_view after, size_t count_max) override;
  Result<std::vector<RunRow>> runs(LogId log, Lsn lsn, size_t count_max) override;
  // Takes some forty look-ups at most: times never decrease within a log, so it needs no index.
  Result<std::optional<RunRow>> run_at_time(LogId log, int64_t time_ms) override;
  Result<std::optional<EpochRow>> epoch(Epoch epoch) override;
  Result<std::vector<EpochRow>> epochs() override;
  Result<std::vector<SlotRow>> slots(Epoch epoch, Seq seq, size_t count_max) override;
  Result<std::vector<ObjectUse>> objects(Epoch epoch, Seq seq, size_t count_max) override;
  // Passes over every object from there on until it has found so many: about a second for a million
  // and a half.
  Result<std::vector<SlotRow>> unused(Epoch epoch, Seq seq, size_t count_max) override;
  Result<std::vector<SlotRow>> dead(uint64_t dead_max, size_t count_max) override;
  Result<std::vector<RunRow>> runs_in(const ObjectId& object, LogId log, Lsn lsn,
                                      size_t count_max) override;
  Result<std::vector<LogRow>> logs_with_settings(LogId after, size_t count_max) override;
  std::string note(std::string_view name) override;
  Status set_note(std::string_view name, std::string_view value) override;
  // Sets the note of this name, for whoever learns its value at a time when the view may be gone
  // already: then it does nothing. Any thread; may outlive the view.
  std::function<void(std::string value)> note_keeper(std::string name);
  // Also after a failure the file is given back. Every call after it gives kClosed.
  Status close() override;
  std::string path() const override { return path_; }

 private:
  SqliteView(const std::string& path, const DatabaseSetup& setup);

  Status connect() WP_REQUIRES(mutex_);
  Status usable() const WP_REQUIRES(mutex_);
  Status apply_rows(const ViewDelta& delta) WP_REQUIRES(mutex_);
  Status put_logs(const ViewDelta& delta, const std::vector<LogId>& dropped) WP_REQUIRES(mutex_);
  Status put_runs(const ViewDelta& delta, const std::vector<LogId>& dropped) WP_REQUIRES(mutex_);
  Status trim_runs(const ViewDelta& delta) WP_REQUIRES(mutex_);
  Status publish_runs(const ViewDelta& delta) WP_REQUIRES(mutex_);
  Status forget(const ViewDelta& delta) WP_REQUIRES(mutex_);
  Status drop_logs(const std::vector<LogId>& dropped) WP_REQUIRES(mutex_);

  // What outlives the view and knows whether it is there.
  struct Leash {
    Mutex mutex;  // before the view's
    SqliteView* view WP_GUARDED_BY(mutex) = nullptr;
  };

  const std::string path_;
  const std::unique_ptr<const DatabaseSetup> setup_;
  const std::shared_ptr<Leash> leash_ = std::make_shared<Leash>();

  Mutex mutex_;
  // Guarded by mutex_. Without a database, why_ says why: broken or closed.
  std::unique_ptr<Database> database_ WP_GUARDED_BY(mutex_);
  Status why_ WP_GUARDED_BY(mutex_);
};

}  // namespace wp

#endif  // WP_META_SQLITE_SQLITE_VIEW_H_
