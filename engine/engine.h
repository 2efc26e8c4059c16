// One open root: the log itself. It reaches the world only through its parts, so the same code runs
// in a program, and in the tests on one thread in virtual time.
//
// Promises: an entry is acknowledged when its fragment and all before it are stored, and never
// otherwise; readers see only what is acknowledged; no lock is held while compressing, while the
// store or the view works, or while a callback of the user runs.
#ifndef WP_ENGINE_ENGINE_H_
#define WP_ENGINE_ENGINE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runtime.h"
#include "engine/view.h"
#include "stores/object_store.h"
#include "wp.h"

namespace wp {

struct EngineParts {
  std::shared_ptr<ObjectStore> store;
  std::shared_ptr<Runtime> runtime;
  std::unique_ptr<View> view;
  // What stands for the process lock: let go of when the root is closed or abandoned. May be null.
  std::shared_ptr<void> lock;
  // Makes a view in memory, for an opening whose own cannot be written (a full or read-only disk).
  // Without it such an opening fails. May be null.
  std::function<std::unique_ptr<View>()> spare_view;
};

class EngineCore;

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  // As Wal::open says. Blocks through Runtime::wait; not on the event thread.
  static Result<std::shared_ptr<Engine>> open(EngineParts parts, const Options& options);
  ~Engine();  // as abandon(), where neither close() nor abandon() was called

  // As in class Wal.
  Result<Log> log(std::string_view name);
  Result<Log> find(std::string_view name);
  Result<std::vector<LogInfo>> logs();
  Status drop(std::string_view name);
  Status flush(std::optional<Duration> timeout);
  Status verify(const Progress& progress);
  Result<GcReport> gc(bool dry_run);
  Result<std::vector<Holding>> why(std::string_view log);
  Stats stats() const;
  RootInfo info() const;
  // Ends the root in any case; a second call does nothing and is ok.
  Status close();
  void abandon();

  explicit Engine(std::unique_ptr<EngineCore> core);
  EngineCore& core() { return *core_; }  // for Log and Reader

 private:
  const std::unique_ptr<EngineCore> core_;
};

}  // namespace wp

#endif  // WP_ENGINE_ENGINE_H_
