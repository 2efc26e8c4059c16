// SIGINT and SIGTERM as something to wait for. The first asks the command to end in good order; the
// second, or one before arm(), ends the process as it would have without us. Make it before any
// other thread exists: the library's threads must inherit the blocked signals, so that no system
// call of theirs is ever interrupted.
#ifndef WP_CLI_SIGNALS_H_
#define WP_CLI_SIGNALS_H_

#include <atomic>
#include <functional>
#include <thread>

#include "engine/sync.h"

namespace wp::cli {

class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool stopped() const { return stopped_.load(); }
  int fd() const { return stop_event_; }  // readable for ever once stopped

  // From here on a signal is a request. `on_stop` runs once, on another thread, perhaps at once.
  void arm(std::function<void()> on_stop = {}) WP_EXCLUDES(mutex_);
  // After this `on_stop` neither runs nor will.
  void disarm() WP_EXCLUDES(mutex_);
  // The reader of this descriptor going away counts as a request too. Before arm().
  void watch_reader(int fd) { reader_ = fd; }

  // Waits until stopped, or so many milliseconds.
  void pause(int millis) const;

 private:
  void run();
  void got_signal(int number) WP_EXCLUDES(mutex_);
  void stop() WP_EXCLUDES(mutex_);

  int signals_ = -1, stop_event_ = -1, wake_event_ = -1;
  std::atomic<int> reader_{-1};
  std::atomic<bool> stopped_{false}, quit_{false};
  Mutex mutex_;
  bool armed_ WP_GUARDED_BY(mutex_) = false;
  std::function<void()> on_stop_ WP_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace wp::cli

#endif  // WP_CLI_SIGNALS_H_
