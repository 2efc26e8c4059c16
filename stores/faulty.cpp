#include "stores/faulty.h"

#include <algorithm>
#include <utility>

namespace wp {

FaultyStore::FaultyStore(std::unique_ptr<ObjectStore> inner) : inner_(std::move(inner)) {}

FaultyStore::~FaultyStore() {
  shutdown();
}

// ------------------------------------------------------------------------------------- the script

uint64_t FaultyStore::add(Fault fault) {
  MutexLock lock(mutex_);
  scripts_.push_back({id_next_, std::move(fault)});
  return id_next_++;
}

void FaultyStore::clear(uint64_t id) {
  MutexLock lock(mutex_);
  std::erase_if(scripts_, [&](const Script& script) { return script.id == id; });
}

void FaultyStore::set_down(std::optional<StoreStatus> status) {
  MutexLock lock(mutex_);
  down_ = std::move(status);
}

std::vector<FaultyStore::Held> FaultyStore::held() const {
  std::vector<Held> held;
  MutexLock lock(mutex_);
  for (const Waiting& waiting : waiting_) held.push_back(waiting.held);
  return held;
}

void FaultyStore::wait_held(size_t count) {
  MutexLock lock(mutex_);
  while (waiting_.size() < count) changed_.native().wait(lock);
}

bool FaultyStore::release(uint64_t id) {
  std::function<void()> go;
  {
    MutexLock lock(mutex_);
    const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                                 [&](const Waiting& waiting) { return waiting.held.id == id; });
    if (it == waiting_.end()) return false;
    go = std::move(it->go);
    waiting_.erase(it);
  }
  go();
  return true;
}

size_t FaultyStore::release_all() {
  size_t count = 0;
  for (;;) {
    const std::vector<Held> some = held();
    if (some.empty()) return count;
    for (const Held& one : some) count += release(one.id);
  }
}

std::vector<FaultyStore::Record> FaultyStore::records() const {
  MutexLock lock(mutex_);
  return records_;
}

size_t FaultyStore::count(std::optional<Operation> operation, std::string_view prefix) const {
  MutexLock lock(mutex_);
  return static_cast<size_t>(
      std::count_if(records_.begin(), records_.end(), [&](const Record& record) {
        return (!operation || record.operation == *operation) && record.key.starts_with(prefix);
      }));
}

// --------------------------------------------------------------------------------- the operations

void FaultyStore::put_if_absent(std::string key, Body body, Cause cause, PutDone done) {
  const uint64_t bytes = body->size();
  Call call;
  call.record = {Operation::kPut, key, cause, 1, bytes, {}};
  call.keys = {key};
  call.apply = [this, key = std::move(key), body = std::move(body), cause](Answered answered) {
    inner_->put_if_absent(key, body, cause, [answered](StoreStatus status) {
      answered({std::move(status), {}, {}});
    });
  };
  call.answer = [this, cause, bytes, done = std::move(done)](Outcome outcome) {
    measure(Operation::kPut, cause, outcome.status.answer, bytes);
    done(std::move(outcome.status));
  };
  start(std::move(call));
}

void FaultyStore::get(std::string key, ByteRange range, Cause cause, GetDone done) {
  Call call;
  call.record = {Operation::kGet, key, cause, 1, 0, {}};
  call.keys = {key};
  call.apply = [this, key = std::move(key), range, cause](Answered answered) {
    inner_->get(key, range, cause, [answered](GetResult result) {
      Outcome outcome{std::move(result.status), std::move(result), {}};
      answered(std::move(outcome));
    });
  };
  call.answer = [this, cause, done = std::move(done)](Outcome outcome) {
    measure(Operation::kGet, cause, outcome.status.answer, outcome.get.bytes.size());
    outcome.get.status = std::move(outcome.status);
    done(std::move(outcome.get));
  };
  start(std::move(call));
}

void FaultyStore::list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                       ListDone done) {
  Call call;
  call.record = {Operation::kList, prefix, cause, 1, 0, {}};
  call.keys = {prefix};
  call.apply = [this, prefix = std::move(prefix), after = std::move(after), count_max,
                cause](Answered answered) {
    inner_->list(prefix, after, count_max, cause, [answered](ListResult result) {
      Outcome outcome{std::move(result.status), {}, std::move(result)};
      answered(std::move(outcome));
    });
  };
  call.answer = [this, cause, done = std::move(done)](Outcome outcome) {
    measure(Operation::kList, cause, outcome.status.answer, 0);
    outcome.list.status = std::move(outcome.status);
    done(std::move(outcome.list));
  };
  start(std::move(call));
}

void FaultyStore::remove(std::vector<std::string> keys, Cause cause, RemoveDone done) {
  Call call;
  call.record = {Operation::kDelete, keys.empty() ? "" : keys.front(), cause, keys.size(), 0, {}};
  call.keys = keys;
  call.apply = [this, keys = std::move(keys), cause](Answered answered) {
    inner_->remove(keys, cause, [answered](StoreStatus status) {
      answered({std::move(status), {}, {}});
    });
  };
  call.answer = [this, cause, done = std::move(done)](Outcome outcome) {
    measure(Operation::kDelete, cause, outcome.status.answer, 0);
    done(std::move(outcome.status));
  };
  start(std::move(call));
}

// -------------------------------------------------------------------------------------- the faults

StoreStatus FaultyStore::cancelled(const Record& record) {
  return {Answer::kCancelled,
          std::string(operation_name(record.operation)) + " " + record.key +
              ": the store was shut down",
          {}};
}

void FaultyStore::measure(Operation operation, Cause cause, Answer answer, uint64_t bytes) {
  if (answer != Answer::kCancelled) meter().add(operation, cause, answer, bytes);
}

void FaultyStore::start(Call call) {
  std::optional<Fault> fault;
  {
    MutexLock lock(mutex_);
    if (closed_) {
      fault = Fault{};
      fault->status = cancelled(call.record);
    } else {
      fault = decide(call);
    }
  }
  if (fault) {
    meet(std::move(*fault), std::move(call));
  } else {
    call.apply(std::move(call.answer));
  }
}

std::optional<Fault> FaultyStore::decide(Call& call) {
  std::optional<Fault> met;
  if (down_) {
    met = Fault{};
    met->status = *down_;
  }
  for (Script& script : scripts_) {
    if (met) break;
    Fault& fault = script.fault;
    const bool matches = (!fault.operation || *fault.operation == call.record.operation) &&
                         (fault.prefix.empty() ||
                          std::any_of(call.keys.begin(), call.keys.end(), [&](const auto& key) {
                            return key.starts_with(fault.prefix);
                          }));
    if (!matches || fault.times == 0) continue;
    if (fault.skip > 0) {
      --fault.skip;
      continue;
    }
    if (fault.times != UINT64_MAX) --fault.times;
    met = fault;
  }
  if (met) call.record.fault = met->kind;
  records_.push_back(call.record);
  return met;
}

void FaultyStore::meet(Fault fault, Call call) {
  const Record record = call.record;
  const Answered answer = std::move(call.answer);
  const auto apply = std::move(call.apply);
  const auto say = [answer](StoreStatus status) { answer({std::move(status), {}, {}}); };
  const auto cancel = [say, record] { say(cancelled(record)); };
  switch (fault.kind) {
    case Fault::Kind::kFail:
      return say(std::move(fault.status));
    case Fault::Kind::kLoseAnswer:
      return apply([say, status = fault.status](Outcome) { say(status); });
    case Fault::Kind::kHold:
      return hold(
          record, [apply, answer] { apply(answer); }, cancel);
    case Fault::Kind::kHoldAnswer:
      return apply([this, record, answer, cancel](Outcome outcome) {
        hold(
            record, [answer, outcome] { answer(outcome); }, cancel);
      });
    case Fault::Kind::kApplyLate:
      hold(
          record, [apply] { apply([](Outcome) {}); }, [] {});
      return say(std::move(fault.status));
    case Fault::Kind::kShortRead:
      return apply([answer, at = fault.at](Outcome outcome) {
        if (outcome.get.bytes.size() > at) outcome.get.bytes.resize(at);
        answer(std::move(outcome));
      });
    case Fault::Kind::kFlipByte:
      return apply([answer, at = fault.at](Outcome outcome) {
        if (at < outcome.get.bytes.size()) outcome.get.bytes[at] ^= std::byte{0xff};
        answer(std::move(outcome));
      });
  }
}

void FaultyStore::hold(const Record& record, std::function<void()> go,
                       std::function<void()> cancel) {
  {
    MutexLock lock(mutex_);
    if (!closed_) {
      waiting_.push_back(
          {{id_next_++, record.operation, record.key}, std::move(go), std::move(cancel)});
      changed_.notify_all();
      return;
    }
  }
  cancel();
}

void FaultyStore::shutdown() {
  std::vector<Waiting> waiting;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    waiting.swap(waiting_);
  }
  for (const Waiting& one : waiting) one.cancel();
  inner_->shutdown();
}

}  // namespace wp
