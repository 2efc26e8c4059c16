#include "engine/engine.h"

#include <algorithm>

#include "engine/core.h"
#include "engine/cursors.h"
#include "engine/ephemeral.h"
#include "engine/follower.h"
#include "engine/holdings.h"
#include "engine/maintenance.h"
#include "engine/opening.h"
#include "engine/price.h"
#include "engine/reader.h"
#include "engine/settings.h"
#include "engine/text.h"
#include "engine/verify.h"
#include "engine/view_keeper.h"
#include "engine/writer.h"

namespace wp {
namespace {

// Names are compared with a wrong one only in roots where that is quick.
constexpr size_t kNamesComparedMax = 10'000;

Status check_name(std::string_view name, std::string_view of = "log",
                  size_t bytes_max = kLogNameBytesMax) {
  std::string wrong;
  if (name.empty()) wrong = "it is empty";
  if (name.size() > bytes_max) wrong = "it is longer than " + std::to_string(bytes_max) + " bytes";
  if (name == "." || name == "..") wrong = "that is not a name";
  if (name.find('/') != name.npos) wrong = "it holds a '/'";
  if (!is_utf8(name)) wrong = "it is not UTF-8";
  const bool control = std::any_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (control) wrong = "it holds a control character";
  if (wrong.empty()) return {};
  return Status(Code::kInvalid, std::string(of) + " '" + printable(name) + "': " + wrong +
                                    "; names are 1 to " + std::to_string(bytes_max) +
                                    " bytes of UTF-8, without '/' and control characters, and not "
                                    "\".\" or \"..\"");
}

Status read_only_status(const EngineCore& core) {
  return Status(Code::kReadOnly,
                "change " + core.url + ": it was opened read-only; open it for writing");
}

// A follower knows what is durable now only by asking.
Status look(EngineCore& core) {
  if (core.follower == nullptr || core.runtime->on_event_thread()) return {};
  return core.follower->look();
}

Status not_found(EngineCore& core, std::string_view name) {
  std::string near;
  bool few;
  {
    MutexLock lock(core.mutex);
    few = core.ledger.head().logs <= kNamesComparedMax;
  }
  const auto logs = few ? core.all_logs() : Result<std::vector<LogStatePtr>>(Status());
  if (few && logs) {
    std::vector<std::string_view> names;
    for (const LogStatePtr& log : *logs) names.push_back(log->name);
    near = nearest(name, names);
  }
  return Status(
      Code::kNotFound,
      "log '" + printable(name) + "' of " + core.url + ": there is none of that name" +
          (near.empty() ? "; wp logs lists them" : "; did you mean '" + printable(near) + "'?"));
}

}  // namespace

Engine::Engine(std::unique_ptr<EngineCore> core) : core_(std::move(core)) {}

Engine::~Engine() {
  // In a child of fork() the threads to be joined do not exist.
  if (!core_->runtime->forked()) abandon();
}

Result<std::shared_ptr<Engine>> Engine::open(EngineParts parts, const Options& options) {
  auto engine = std::make_shared<Engine>(std::make_unique<EngineCore>(std::move(parts), options));
  EngineCore& core = engine->core();
  core.keeper = std::make_unique<ViewKeeper>(core);
  core.cursors = std::make_unique<Cursors>(core);
  if (!options.read_only) {
    core.writer = std::make_unique<Writer>(core);
    core.maintenance = std::make_unique<Maintenance>(core);
  }
  Opening opening(core);
  if (Status status = opening.run(); !status.ok()) return status;
  if (options.read_only) {
    core.follower = std::make_unique<Follower>(core);
    return engine;
  }
  Position last;
  {
    MutexLock lock(core.mutex);
    last = core.ledger.head().last;
  }
  core.writer->start(opening.first_slot(), last);
  core.maintenance->start();
  core.keeper->slots_applied();
  return engine;
}

// ------------------------------------------------------------------------------------------- logs

Result<Log> Engine::log(std::string_view name) {
  EngineCore& core = *core_;
  if (Status status = core.usable(); !status.ok()) return status;
  if (Status status = check_name(name); !status.ok()) return status;
  if (core.writer == nullptr) {
    auto found = find(name);
    return found || found.code() != Code::kNotFound ? found : Result<Log>(read_only_status(core));
  }
  bool created = false;
  auto state = core.find_log(name, &created);
  if (!state) return state.status();
  if (created) core.writer->created(*state);
  return Log(shared_from_this(), *std::move(state));
}

Result<Log> Engine::find(std::string_view name) {
  EngineCore& core = *core_;
  if (Status status = core.usable(); !status.ok()) return status;
  if (Status status = check_name(name); !status.ok()) return status;
  if (Status status = look(core); !status.ok()) return status;
  auto state = core.find_log(name);
  if (!state) return state.status();
  if (*state == nullptr) return not_found(core, name);
  return Log(shared_from_this(), *std::move(state));
}

Result<std::vector<LogInfo>> Engine::logs() {
  EngineCore& core = *core_;
  if (Status status = core.usable(); !status.ok()) return status;
  if (Status status = look(core); !status.ok()) return status;
  auto states = core.all_logs();
  if (!states) return states.status();
  std::vector<LogInfo> infos;
  infos.reserve(states->size());
  for (const LogStatePtr& state : *states) infos.push_back(core.info_of(*state));
  return infos;
}

Status Engine::drop(std::string_view name) {
  EngineCore& core = *core_;
  if (Status status = core.may_wait("drop a log"); !status.ok()) return status;
  if (core.writer == nullptr) return read_only_status(core);
  if (Status status = check_name(name); !status.ok()) return status;
  if (Status status = core.writer->failure(); !status.ok()) return status;
  auto state = core.find_log(name);
  if (!state) return state.status();
  if (*state == nullptr) return not_found(core, name);
  Status status = core.writer->drop(*state);
  return status.code() == Code::kDropped ? not_found(core, name) : status;
}

// -------------------------------------------------------------------------------------- the root

Status Engine::flush(std::optional<Duration> timeout) {
  if (Status status = core_->may_wait("flush"); !status.ok()) return status;
  return core_->writer == nullptr ? Status() : core_->writer->flush(timeout);
}

Status Engine::verify(const Progress& progress) {
  if (Status status = core_->may_wait("verify"); !status.ok()) return status;
  if (Status status = look(*core_); !status.ok()) return status;
  return verify_root(*core_, progress);
}

Stats Engine::stats() const {
  EngineCore& core = *core_;
  Stats stats;
  if (core.runtime->forked()) return stats;
  if (core.writer != nullptr) core.writer->fill(stats);
  stats.ram_bytes = core.ram.total();
  stats.ram_bytes_peak = core.ram.peak();
  stats.ram_gathering = core.ram.of(Ram::kGathering);
  stats.ram_uploading = core.ram.of(Ram::kUploading);
  stats.ram_cache = core.ram.of(Ram::kCache);
  stats.ram_reading = core.ram.of(Ram::kReading);
  stats.ram_index = core.ram.of(Ram::kIndex);
  stats.ram_compacting = core.ram.of(Ram::kCompacting);
  stats.ram_ephemeral = core.ram.of(Ram::kEphemeral);
  stats.ephemeral_published = core.ephemeral.published;
  stats.ephemeral_delivered = core.ephemeral.delivered;
  stats.ephemeral_dropped = core.ephemeral.dropped;
  const Meter& meter = core.store->meter();
  const Prices prices(core.options);
  for (size_t o = 0; o < kOperations; ++o) {
    for (size_t c = 0; c < kCauses; ++c) {
      const Meter::Count count = meter.count(static_cast<Operation>(o), static_cast<Cause>(c));
      if (count.requests == 0) continue;
      stats.requests.push_back({operation_name(static_cast<Operation>(o)),
                                cause_name(static_cast<Cause>(c)), count.requests, count.failed,
                                count.bytes, prices.of(static_cast<Operation>(o), count.requests)});
    }
  }
  stats.dollars = prices.of(meter);
  if (core.maintenance != nullptr) core.maintenance->fill(stats);
  // They are looked up in the view, for which the event thread does not wait.
  if (core.usable().ok() && !core.runtime->on_event_thread()) {
    stats.cursors = core.cursors->everywhere();
  }
  return stats;
}

Result<GcReport> Engine::gc(bool dry_run) {
  EngineCore& core = *core_;
  if (Status status = core.may_wait("gc"); !status.ok()) return status;
  if (core.maintenance == nullptr) return read_only_status(core);
  return core.maintenance->gc(dry_run);
}

Result<std::vector<Holding>> Engine::why(std::string_view log) {
  EngineCore& core = *core_;
  if (Status status = core.may_wait("ask what is held"); !status.ok()) return status;
  if (Status status = look(core); !status.ok()) return status;
  LogStatePtr state;
  if (!log.empty()) {
    auto found = core.find_log(log);
    if (!found) return found.status();
    if (*found == nullptr) return not_found(core, log);
    state = *std::move(found);
  }
  if (core.follower == nullptr) return holdings(core, state);
  return core.follower->with_view_settled([&] { return holdings(core, state); });
}

RootInfo Engine::info() const {
  EngineCore& core = *core_;
  RootInfo info;
  info.url = core.url;
  if (core.runtime->forked()) return info;
  if (core.usable().ok()) (void)look(core);
  info.root_id = to_hex(core.root.id);
  info.format_version = core.root.version;
  info.read_only = core.writer == nullptr;
  info.view_path = core.view->path();
  info.view_error = core.keeper->error();
  if (info.view_error.empty()) info.view_error = core.view_damage();
  MutexLock lock(core.mutex);
  const ViewHead& head = core.ledger.head();
  info.epoch = head.last.slot.epoch;
  info.slots = head.slots;
  info.stored_bytes = head.stored_bytes;
  info.logs = head.logs;
  return info;
}

Status Engine::close() {
  EngineCore& core = *core_;
  if (core.runtime->forked()) return core.usable();
  if (core.ended) return {};
  if (core.runtime->on_event_thread()) return core.may_wait("close");
  const TimePoint deadline = core.runtime->now() + core.options.close_timeout;
  Status status;
  if (core.writer != nullptr) {
    status = core.writer->close(deadline);
    core.writer->fail(Status(Code::kClosed, "use " + core.url + ": it was closed; open it again"));
    core.writer->drain_callbacks();
  }
  core.keeper->close(status.ok(), deadline);
  abandon();
  return status;
}

void Engine::abandon() {
  EngineCore& core = *core_;
  if (core.runtime->forked() || core.ended.exchange(true)) return;
  {
    MutexLock lock(core.mutex);
    core.wake_readers();
  }
  core.keeper->ended();
  if (core.maintenance != nullptr) core.maintenance->ended();
  if (core.writer != nullptr) {
    core.writer->fail(Status(Code::kClosed, "use " + core.url + ": it was closed; open it again"));
  }
  core.store->shutdown();
  core.runtime->stop();
  if (core.writer != nullptr) core.writer->run_callbacks_left();
  {
    MutexLock lock(core.mutex);
    core.wake_readers();
  }
  (void)core.view->close();  // gives the file back
  core.lock.reset();
}

// -------------------------------------------------------------------------------------------- Log

Log::Log(std::shared_ptr<Engine> engine, std::shared_ptr<LogState> state)
    : engine_(std::move(engine)), state_(std::move(state)) {}

namespace {

Status may_append(EngineCore& core) {
  if (Status status = core.usable(); !status.ok()) return status;
  return core.writer == nullptr ? read_only_status(core) : Status();
}

}  // namespace

Result<Lsn> Log::append(Bytes payload, const AppendOptions& options) {
  return append(std::span<const Bytes>(&payload, 1), options);
}

Result<Lsn> Log::append(std::span<const Bytes> batch, const AppendOptions& options) {
  EngineCore& core = engine_->core();
  if (Status status = may_append(core); !status.ok()) return status;
  if (Status status = core.may_wait("append to " + state_->name); !status.ok()) return status;
  if (batch.empty()) {
    return Status(Code::kInvalid, "append to " + state_->name + ": the batch is empty");
  }
  return core.writer->append(state_, batch, options, true, {});
}

Result<Lsn> Log::append_async(Bytes payload, Done done, const AppendOptions& options) {
  EngineCore& core = engine_->core();
  if (Status status = may_append(core); !status.ok()) return status;
  return core.writer->append(state_, std::span<const Bytes>(&payload, 1), options, false,
                             std::move(done));
}

Status Log::publish(Bytes payload, std::span<const Property> properties) {
  EngineCore& core = engine_->core();
  if (Status status = may_append(core); !status.ok()) return status;
  return wp::publish(core, *state_, payload, properties);
}

Result<Reader> Log::read(From from, const Filter& filter) const {
  if (Status status = engine_->core().usable(); !status.ok()) return status;
  if (Status status = look(engine_->core()); !status.ok()) return status;
  return Reader::Impl::make(engine_, state_, from, false, filter);
}

Result<Reader> Log::subscribe(From from, const Filter& filter) const {
  if (Status status = engine_->core().usable(); !status.ok()) return status;
  if (Status status = look(engine_->core()); !status.ok()) return status;
  return Reader::Impl::make(engine_, state_, from, true, filter);
}

Status Log::truncate(Lsn upto) {
  EngineCore& core = engine_->core();
  if (Status status = may_append(core); !status.ok()) return status;
  if (Status status = core.may_wait("truncate " + state_->name); !status.ok()) return status;
  return core.writer->truncate(state_, upto);
}

Status Log::retain(const Retention& retention) {
  EngineCore& core = engine_->core();
  if (Status status = may_append(core); !status.ok()) return status;
  if (Status status = core.may_wait("retain " + state_->name); !status.ok()) return status;
  if (!makes_sense(retention)) {
    return Status(Code::kInvalid, "retain: an age is negative; give 0 for no limit");
  }
  Record record;
  record.type = RecordType::kRetain;
  record.log = state_->id;
  record.retention = retention;
  MutexLock lock(core.mutex);
  return core.writer->store(lock, std::move(record), state_);
}

Result<Cursor> Log::cursor(std::string_view name) {
  EngineCore& core = engine_->core();
  if (Status status = core.may_wait("open a cursor of " + state_->name); !status.ok()) {
    return status;
  }
  if (Status status = check_name(name, "cursor", kCursorNameBytesMax); !status.ok()) return status;
  if (Status status = look(core); !status.ok()) return status;
  if (Status status = core.cursors->open(state_, name); !status.ok()) return status;
  return Cursor(engine_, state_, std::string(name));
}

std::vector<CursorInfo> Log::cursors() const {
  EngineCore& core = engine_->core();
  if (core.runtime->forked()) return {};
  if (core.usable().ok()) (void)look(core);
  return core.cursors->all(*state_);
}

LogInfo Log::info() const {
  EngineCore& core = engine_->core();
  if (core.runtime->forked()) return {};
  if (core.usable().ok()) (void)look(core);
  return core.info_of(*state_);
}

const std::string& Log::name() const {
  return state_->name;
}

// ----------------------------------------------------------------------------------------- Cursor

Cursor::Cursor(std::shared_ptr<Engine> engine, std::shared_ptr<LogState> state, std::string name)
    : engine_(std::move(engine)), state_(std::move(state)), name_(std::move(name)) {}

const std::string& Cursor::name() const {
  return name_;
}

CursorInfo Cursor::info() const {
  EngineCore& core = engine_->core();
  if (core.runtime->forked()) return {};
  if (core.usable().ok()) (void)look(core);
  return core.cursors->info(*state_, name_);
}

Status Cursor::commit(Lsn upto) {
  EngineCore& core = engine_->core();
  if (Status status = may_append(core); !status.ok()) return status;
  return core.cursors->commit(state_, name_, upto);
}

// Truncation may fall between the question and the reader.
Result<Reader> Cursor::read() const {
  Log log(engine_, state_);
  auto reader = log.read(From::after(info().committed));
  return reader || reader.code() != Code::kTruncated ? std::move(reader) : log.read();
}

Result<Reader> Cursor::subscribe() const {
  Log log(engine_, state_);
  auto reader = log.subscribe(From::after(info().committed));
  return reader || reader.code() != Code::kTruncated ? std::move(reader) : log.subscribe();
}

Status Cursor::drop() {
  EngineCore& core = engine_->core();
  if (Status status = may_append(core); !status.ok()) return status;
  if (Status status = core.may_wait("drop a cursor of " + state_->name); !status.ok()) {
    return status;
  }
  return core.cursors->drop(state_, name_);
}

}  // namespace wp
