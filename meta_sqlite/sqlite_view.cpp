// The view in an SQLite database: what each call means in statements.
#include "meta_sqlite/sqlite_view.h"

#include <algorithm>
#include <limits>

#include "engine/settings.h"
#include "meta_sqlite/database.h"
#include "meta_sqlite/rows.h"
#include "meta_sqlite/sqlite_status.h"

namespace wp {
namespace {

// SQLite orders its integers with their sign, so keys must stay below this.
constexpr uint64_t kKeyMax = std::numeric_limits<int64_t>::max();

uint64_t as_key(uint64_t value) {
  return std::min(value, kKeyMax);
}

template <class Row>
std::string reading() {
  return std::string("read table ") + RowOf<Row>::kTable + " of";
}
template <class Row>
std::string updating() {
  return std::string("update table ") + RowOf<Row>::kTable + " of";
}

// Reads one row after the other that a statement gives. `bind` gives it its parameters.
template <class Row, class Bind, class Take>
Status read_each(Database& database, const std::string& path, Sql which, Bind bind, Take take) {
  sqlite3_stmt* statement = database.statement(which);
  if (statement == nullptr) return database.error(reading<Row>());
  Use use(statement);
  bind(use);
  int rc;
  while ((rc = use.step()) == SQLITE_ROW) {
    Row row;
    if (!read_row(statement, &row)) {
      return corrupt_status(reading<Row>(), path, "a row does not match its sum");
    }
    take(std::move(row));
  }
  return rc == SQLITE_DONE ? Status() : database.error(reading<Row>());
}

template <class Row, class Bind>
Result<std::vector<Row>> read_all(Database& database, const std::string& path, Sql which,
                                  Bind bind) {
  std::vector<Row> rows;
  Status status = read_each<Row>(database, path, which, bind,
                                 [&rows](Row&& row) { rows.push_back(std::move(row)); });
  if (!status.ok()) return status;
  return rows;
}

template <class Row, class Bind>
Result<std::optional<Row>> read_one(Database& database, const std::string& path, Sql which,
                                    Bind bind) {
  Result<std::vector<Row>> rows = read_all<Row>(database, path, which, bind);
  if (!rows) return rows.status();
  if (rows->empty()) return std::optional<Row>();
  return std::optional<Row>(std::move(rows->front()));
}

// Writes rows with one statement, prepared when the first is written.
template <class Row>
class Writing {
 public:
  Writing(Database& database, Sql which) : database_(database), which_(which) {}

  Status put(const Row& row) {
    return run([&row](Use& use) { bind_row(use, row); });
  }
  Status keys(uint64_t first) {
    return run([=](Use& use) { use.bind(first); });
  }
  Status keys(uint64_t first, uint64_t second) {
    return run([=](Use& use) {
      use.bind(first);
      use.bind(second);
    });
  }
  Status keys(uint64_t first, uint64_t second, uint64_t third) {
    return run([=](Use& use) {
      use.bind(first);
      use.bind(second);
      use.bind(third);
    });
  }

 private:
  template <class Bind>
  Status run(Bind bind) {
    if (!use_) {
      sqlite3_stmt* statement = database_.statement(which_);
      if (statement == nullptr) return database_.error(updating<Row>());
      use_ = std::make_unique<Use>(statement);
    }
    bind(*use_);
    if (use_->step() != SQLITE_DONE) return database_.error(updating<Row>());
    use_->again();
    return {};
  }
  Database& database_;
  const Sql which_;
  std::unique_ptr<Use> use_;
};

template <class Row>
Status put_all(Database& database, Sql which, const std::vector<Row>& rows) {
  Writing<Row> writing(database, which);
  for (const Row& row : rows) {
    if (Status status = writing.put(row); !status.ok()) return status;
  }
  return {};
}

// Numbers that SQLite would order wrongly come from no journal that is whole, and neither do
// settings that could not be read back.
Status check_keys(const ViewDelta& delta, const std::string& path) {
  const auto run_fits = [](const RunRow& r) {
    return r.log <= kKeyMax && r.lsn_first <= kKeyMax && r.count <= kKeyMax - r.lsn_first;
  };
  bool ok = true;
  for (const LogRow& r : delta.logs) {
    ok = ok && r.id <= kKeyMax && r.lsn_first <= kKeyMax && makes_sense(r.settings);
  }
  for (const RunRow& r : delta.runs) ok = ok && run_fits(r);
  for (const RunRow& r : delta.published) ok = ok && run_fits(r);
  for (const SlotRow& r : delta.slots) ok = ok && r.seq < kKeyMax && r.dead <= kKeyMax;
  if (ok) return {};
  return Status(Code::kInvalid, "update the view " + path +
                                    ": a log id, LSN or slot number is above 2^63, or settings "
                                    "make no sense; the journal that they come from is damaged");
}

// Of Sql::kRunsIn. `object` is a row or an id.
template <class Object>
void bind_runs_in(Use& use, const Object& object, LogId log, Lsn lsn, size_t count_max) {
  use.bind(object.epoch);
  use.bind(object.seq);
  use.bind(as_key(log));
  use.bind(as_key(lsn));
  use.bind(as_key(count_max));
}

bool contains(const std::vector<LogId>& sorted, LogId id) {
  return std::binary_search(sorted.begin(), sorted.end(), id);
}

}  // namespace

SqliteView::SqliteView(const std::string& path, const DatabaseSetup& setup)
    : path_(path), setup_(std::make_unique<DatabaseSetup>(setup)) {
  MutexLock lock(leash_->mutex);
  leash_->view = this;
}

SqliteView::~SqliteView() {
  MutexLock lock(leash_->mutex);
  leash_->view = nullptr;
}

Result<std::unique_ptr<SqliteView>> SqliteView::open(const std::string& path) {
  return open(path, DatabaseSetup());
}

Result<std::unique_ptr<SqliteView>> SqliteView::open(const std::string& path,
                                                     const DatabaseSetup& setup) {
  std::unique_ptr<SqliteView> view(new SqliteView(path, setup));
  MutexLock lock(view->mutex_);
  const Status status = view->connect();
  switch (status.code()) {
    case Code::kOk:
    case Code::kCorrupt:
    case Code::kUnsupported:
    case Code::kInternal:
      break;
    default:
      return status;
  }
  lock.unlock();
  return view;
}

Status SqliteView::connect() {
  Result<std::unique_ptr<Database>> database = Database::open(path_, *setup_);
  why_ = database.status();
  if (database) database_ = *std::move(database);
  return why_;
}

Status SqliteView::usable() const {
  return database_ != nullptr ? Status() : why_;
}

Result<std::optional<ViewHead>> SqliteView::head() {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_one<ViewHead>(*database_, path_, Sql::kHead, [](Use&) {});
}

Status SqliteView::apply(const ViewDelta& delta) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  if (Status status = check_keys(delta, path_); !status.ok()) return status;
  Status status = database_->begin();
  if (status.ok()) status = apply_rows(delta);
  if (status.ok()) status = database_->commit();
  if (!status.ok()) {
    database_->roll_back();
    return status;
  }
  database_->shrink();
  return {};
}

// The result is that of the order of the members. But dropped logs go first, and what the delta
// says of them is left out: the name of one may already be that of a new log. And runs are trimmed
// last, so that also those of this delta are.
Status SqliteView::apply_rows(const ViewDelta& delta) {
  std::vector<LogId> dropped = delta.dropped;
  std::sort(dropped.begin(), dropped.end());
  if (Status status = drop_logs(dropped); !status.ok()) return status;
  if (Status status = put_logs(delta, dropped); !status.ok()) return status;
  if (Status status = put_runs(delta, dropped); !status.ok()) return status;
  if (Status status = trim_runs(delta); !status.ok()) return status;
  if (Status status = publish_runs(delta); !status.ok()) return status;
  Status status = put_all(*database_, Sql::kEpochPut, delta.epochs);
  if (status.ok()) status = put_all(*database_, Sql::kSlotPut, delta.slots);
  if (status.ok()) status = forget(delta);
  if (status.ok()) status = put_all<ViewHead>(*database_, Sql::kHeadPut, {delta.head});
  return status;
}

Status SqliteView::drop_logs(const std::vector<LogId>& dropped) {
  Writing<LogRow> log(*database_, Sql::kLogDelete);
  Writing<RunRow> runs(*database_, Sql::kRunsDelete);
  for (const LogId id : dropped) {
    if (Status status = log.keys(id); !status.ok()) return status;
    if (Status status = runs.keys(id); !status.ok()) return status;
  }
  return {};
}

Status SqliteView::put_logs(const ViewDelta& delta, const std::vector<LogId>& dropped) {
  Writing<LogRow> update(*database_, Sql::kLogUpdate);
  Writing<LogRow> put(*database_, Sql::kLogPut);
  for (const LogRow& row : delta.logs) {
    if (contains(dropped, row.id)) continue;
    if (Status status = update.put(row); !status.ok()) return status;
    if (database_->changes() != 0) continue;
    if (Status status = put.put(row); !status.ok()) return status;
  }
  return {};
}

Status SqliteView::put_runs(const ViewDelta& delta, const std::vector<LogId>& dropped) {
  Writing<RunRow> put(*database_, Sql::kRunPut);
  for (const RunRow& row : delta.runs) {
    if (contains(dropped, row.log)) continue;
    if (Status status = put.put(row); !status.ok()) return status;
  }
  return {};
}

Status SqliteView::trim_runs(const ViewDelta& delta) {
  Writing<RunRow> trim(*database_, Sql::kRunsTrim);
  for (const LogRow& row : delta.logs) {
    if (row.lsn_first <= 1) continue;
    if (Status status = trim.keys(row.id, row.lsn_first); !status.ok()) return status;
  }
  return {};
}

Status SqliteView::publish_runs(const ViewDelta& delta) {
  Writing<RunRow> replaced(*database_, Sql::kRunsWithin);
  Writing<RunRow> put(*database_, Sql::kRunPut);
  for (const RunRow& row : delta.published) {
    const Lsn end = row.lsn_first + row.count;
    const auto log =
        read_one<LogRow>(*database_, path_, Sql::kLogById, [&row](Use& use) { use.bind(row.log); });
    if (!log) return log.status();
    if (!*log || end <= (*log)->lsn_first) continue;
    if (Status status = replaced.keys(row.log, row.lsn_first, end); !status.ok()) return status;
    if (Status status = put.put(row); !status.ok()) return status;
  }
  return {};
}

Status SqliteView::forget(const ViewDelta& delta) {
  Writing<SlotRow> forget(*database_, Sql::kSlotDelete);
  for (const ObjectId& id : delta.forgotten) {
    if (Status status = forget.keys(id.epoch, id.seq); !status.ok()) return status;
  }
  return {};
}

Status SqliteView::reset() {
  MutexLock lock(mutex_);
  if (database_ == nullptr && why_.code() == Code::kClosed) return why_;
  database_.reset();
  if (!path_.empty()) {
    why_ = Database::remove(path_);
    if (!why_.ok()) return why_;
  }
  return connect();
}

Result<std::optional<LogRow>> SqliteView::log_by_name(std::string_view name) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  auto row = read_one<LogRow>(*database_, path_, Sql::kLogByName,
                              [name](Use& use) { use.bind_text(name); });
  if (row && *row && (*row)->name != name) {
    return corrupt_status(reading<LogRow>(), path_, "the index of names leads to another log");
  }
  return row;
}

Result<std::optional<LogRow>> SqliteView::log_by_id(LogId id) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_one<LogRow>(*database_, path_, Sql::kLogById, [id](Use& use) { use.bind(id); });
}

Result<std::vector<LogRow>> SqliteView::logs(std::string_view after, size_t count_max) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_all<LogRow>(*database_, path_, Sql::kLogsAfter, [&](Use& use) {
    use.bind_text(after);
    use.bind(as_key(count_max));
  });
}

Result<std::vector<RunRow>> SqliteView::runs(LogId log, Lsn lsn, size_t count_max) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  auto before = read_one<RunRow>(*database_, path_, Sql::kRunBefore, [&](Use& use) {
    use.bind(log);
    use.bind(as_key(lsn));
  });
  if (!before) return before.status();
  const bool holds = *before && lsn - (*before)->lsn_first < (*before)->count;
  const Lsn from = holds ? (*before)->lsn_first : lsn;
  return read_all<RunRow>(*database_, path_, Sql::kRunsFrom, [&](Use& use) {
    use.bind(log);
    use.bind(as_key(from));
    use.bind(as_key(count_max));
  });
}

Result<std::optional<RunRow>> SqliteView::run_at_time(LogId log, int64_t time_ms) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  Database& database = *database_;
  const auto run = [&](Sql which, Lsn lsn) {
    return read_one<RunRow>(database, path_, which, [&](Use& use) {
      use.bind(log);
      use.bind(lsn);
      if (which == Sql::kRunsFrom) use.bind(1);
    });
  };
  const auto newest = run(Sql::kRunBefore, kKeyMax);
  if (!newest) return newest.status();
  if (!*newest || (*newest)->time_last_ms < time_ms) return std::optional<RunRow>();
  // The answer is a run that begins in [begin, end), or `found`.
  std::optional<RunRow> found = *newest;
  const auto oldest = run(Sql::kRunsFrom, 0);
  if (!oldest) return oldest.status();
  Lsn begin = *oldest ? (*oldest)->lsn_first : 0, end = found->lsn_first;
  while (begin < end) {
    const Lsn middle = begin + (end - begin) / 2;
    auto at = run(Sql::kRunsFrom, middle);
    if (!at) return at.status();
    if (*at && (*at)->time_last_ms < time_ms) {
      begin = (*at)->lsn_first + 1;
    } else {
      if (*at) found = **at;
      end = middle;
    }
  }
  return found;
}

Result<std::optional<EpochRow>> SqliteView::epoch(Epoch epoch) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_one<EpochRow>(*database_, path_, Sql::kEpoch, [epoch](Use& use) { use.bind(epoch); });
}

Result<std::vector<EpochRow>> SqliteView::epochs() {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_all<EpochRow>(*database_, path_, Sql::kEpochs, [](Use&) {});
}

Result<std::vector<SlotRow>> SqliteView::slots(Epoch epoch, Seq seq, size_t count_max) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_all<SlotRow>(*database_, path_, Sql::kSlotsFrom, [&](Use& use) {
    use.bind(epoch);
    use.bind(as_key(seq));
    use.bind(as_key(count_max));
  });
}

Result<std::vector<ObjectUse>> SqliteView::objects(Epoch epoch, Seq seq, size_t count_max) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  const auto rows = read_all<SlotRow>(*database_, path_, Sql::kSlotsFrom, [&](Use& use) {
    use.bind(epoch);
    use.bind(as_key(seq));
    use.bind(as_key(count_max));
  });
  if (!rows) return rows.status();
  std::vector<ObjectUse> objects;
  for (const SlotRow& row : *rows) {
    ObjectUse& object = objects.emplace_back();
    object.row = row;
    // Row by row, so that the sum of each is looked at.
    Status status = read_each<RunRow>(
        *database_, path_, Sql::kRunsIn,
        [&row](Use& use) { bind_runs_in(use, row, 0, 0, kKeyMax); },
        [&object](const RunRow& run) {
          ++object.runs;
          object.entries += run.count;
          object.bytes += run.bytes;
        });
    if (!status.ok()) return status;
  }
  return objects;
}

Result<std::vector<SlotRow>> SqliteView::unused(Epoch epoch, Seq seq, size_t count_max) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_all<SlotRow>(*database_, path_, Sql::kSlotsUnused, [&](Use& use) {
    use.bind(epoch);
    use.bind(as_key(seq));
    use.bind(as_key(count_max));
  });
}

Result<std::vector<SlotRow>> SqliteView::dead(uint64_t dead_max, size_t count_max) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_all<SlotRow>(*database_, path_, Sql::kSlotsDead, [&](Use& use) {
    use.bind(as_key(dead_max));
    use.bind(as_key(count_max));
  });
}

Result<std::vector<RunRow>> SqliteView::runs_in(const ObjectId& object, LogId log, Lsn lsn,
                                                size_t count_max) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_all<RunRow>(*database_, path_, Sql::kRunsIn,
                          [&](Use& use) { bind_runs_in(use, object, log, lsn, count_max); });
}

Result<std::vector<LogRow>> SqliteView::logs_with_settings(LogId after, size_t count_max) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  return read_all<LogRow>(*database_, path_, Sql::kLogsWithSettings, [&](Use& use) {
    use.bind(as_key(after));
    use.bind(as_key(count_max));
  });
}

std::string SqliteView::note(std::string_view name) {
  MutexLock lock(mutex_);
  if (!usable().ok()) return {};
  auto row =
      read_one<NoteRow>(*database_, path_, Sql::kNote, [name](Use& use) { use.bind_text(name); });
  if (!row || !*row || (*row)->name != name) return {};
  return std::move((*row)->value);
}

Status SqliteView::set_note(std::string_view name, std::string_view value) {
  MutexLock lock(mutex_);
  if (Status status = usable(); !status.ok()) return status;
  Status status = database_->begin();
  if (status.ok()) {
    status = put_all<NoteRow>(*database_, Sql::kNotePut, {{std::string(name), std::string(value)}});
  }
  if (status.ok()) status = database_->run(Sql::kMarkUnclean, "update");
  if (status.ok()) status = database_->commit();
  if (!status.ok()) database_->roll_back();
  return status;
}

std::function<void(std::string)> SqliteView::note_keeper(std::string name) {
  return [leash = leash_, name = std::move(name)](const std::string& value) {
    MutexLock lock(leash->mutex);
    if (leash->view == nullptr) return;
    // A note that is lost is asked for anew.
    const Status ignored = leash->view->set_note(name, value);
    static_cast<void>(ignored);
  };
}

Status SqliteView::close() {
  MutexLock lock(mutex_);
  if (database_ == nullptr && why_.code() == Code::kClosed) return why_;
  Status status;
  if (database_ != nullptr) status = database_->close();
  database_.reset();
  why_ = Status(Code::kClosed, "use the view " + path_ + ": it was closed; open it again");
  return status;
}

}  // namespace wp
