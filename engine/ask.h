// Asking the store and waiting for the answer, again and again where a failure passes. For opening,
// following and verifying, which block their caller; never on the event thread.
#ifndef WP_ENGINE_ASK_H_
#define WP_ENGINE_ASK_H_

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "engine/runtime.h"
#include "stores/object_store.h"
#include "wp.h"

namespace wp {

// An answer on its way. Whoever asked may go away before it comes.
template <class T>
class Answering {
 public:
  auto done() {
    return [state = state_](T value) {
      MutexLock lock(state->mutex);
      state->value = std::move(value);
      state->cv.notify_all();
    };
  }
  // Nothing: it did not come in time.
  std::optional<T> wait(Runtime& runtime, TimePoint deadline) {
    MutexLock lock(state_->mutex);
    while (!state_->value) {
      runtime.wait(lock, state_->cv, deadline);
      if (!state_->value && deadline != kNever && runtime.now() >= deadline) return std::nullopt;
    }
    return std::exchange(state_->value, std::nullopt);
  }

 private:
  struct State {
    Mutex mutex;
    CondVar cv;
    std::optional<T> value;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class Ask {
 public:
  // Gives up when the store has not answered for so long: each good answer begins it anew.
  Ask(ObjectStore& store, Runtime& runtime, Cause cause, std::optional<Duration> patience)
      : store_(store), runtime_(runtime), cause_(cause), patience_(patience) {
    answered();
  }

  Answering<GetResult> start_get(const std::string& key, ByteRange range) {
    Answering<GetResult> answer;
    store_.get(key, range, cause_, answer.done());
    return answer;
  }
  // Waits for one that was started; asks again if that failed in a way that passes.
  GetResult finish_get(const std::string& key, ByteRange range, Answering<GetResult> first) {
    std::optional<Answering<GetResult>> started = std::move(first);
    return until_settled<GetResult>(
        "get " + key,
        [&] { return started ? *std::exchange(started, std::nullopt) : start_get(key, range); },
        [](GetResult& result) -> StoreStatus& { return result.status; });
  }
  GetResult get(const std::string& key, ByteRange range = {}) {
    return finish_get(key, range, start_get(key, range));
  }
  // Reads once more what `whole` does not take for whole: perhaps it was damaged on the way here.
  template <class Whole>
  GetResult get_whole(const std::string& key, ByteRange range, Whole whole) {
    GetResult got = get(key, range);
    if (got.status.ok() && !whole(got.bytes)) got = get(key, range);
    return got;
  }
  ListResult list(const std::string& prefix, const std::string& after, uint32_t count_max = 0) {
    return until_settled<ListResult>(
        "list " + prefix,
        [&] {
          Answering<ListResult> answer;
          store_.list(prefix, after, count_max, cause_, answer.done());
          return answer;
        },
        [](ListResult& result) -> StoreStatus& { return result.status; });
  }
  StoreStatus put(const std::string& key, const Body& body) {
    return until_settled<StoreStatus>(
        "put " + key,
        [&] {
          Answering<StoreStatus> answer;
          store_.put_if_absent(key, body, cause_, answer.done());
          return answer;
        },
        [](StoreStatus& status) -> StoreStatus& { return status; });
  }

 private:
  void answered() { deadline_ = patience_ ? runtime_.now() + *patience_ : kNever; }
  template <class T, class Start, class StatusOf>
  T until_settled(const std::string& tried, Start start, StatusOf status_of) {
    std::chrono::nanoseconds pause = std::chrono::milliseconds{20};
    StoreStatus last{Answer::kUnknown, tried + ": no answer in time", {}};
    for (;;) {
      std::optional<T> result = start().wait(runtime_, deadline_);
      if (!result) break;
      if (!status_of(*result).passing()) {
        answered();
        return std::move(*result);
      }
      last = status_of(*result);
      if (runtime_.now() + pause >= deadline_) break;
      sleep(std::max<std::chrono::nanoseconds>(
          last.retry_after,
          pause / 2 + std::chrono::nanoseconds{static_cast<int64_t>(
                          runtime_.random() % static_cast<uint64_t>(pause.count() / 2 + 1))}));
      pause = std::min<std::chrono::nanoseconds>(pause * 2, std::chrono::seconds{5});
    }
    T result;
    status_of(result) = last;
    return result;
  }
  void sleep(std::chrono::nanoseconds pause) {
    Mutex mutex;
    CondVar cv;
    const TimePoint until = std::min(deadline_, runtime_.now() + pause);
    MutexLock lock(mutex);
    while (runtime_.now() < until) runtime_.wait(lock, cv, until);
  }

  ObjectStore& store_;
  Runtime& runtime_;
  const Cause cause_;
  const std::optional<Duration> patience_;
  TimePoint deadline_;
};

}  // namespace wp

#endif  // WP_ENGINE_ASK_H_
