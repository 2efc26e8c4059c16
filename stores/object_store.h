// The first of the engine's two seams: where objects are kept. Asynchronous: submit an operation,
// get one completion. Every store passes the contract in tests/store_contract.h.
//
// Promises of every store
//  - An object is written once and whole: readers see all of it or nothing, also after a crash.
//  - Of any number of puts of one key, at any time and from anywhere, exactly one is ever kStored.
//  - What was answered kStored, or kExists, or was read, is durable (as far as the store's options
//  say).
//  - list() shows every object stored before the call, in byte order of the keys.
//  - Each completion runs exactly once, on any thread, perhaps inside the submitting call; so
//  submit with no
//    lock held. Operations may complete in any order.
//  - The store does not retry what might have been applied: it says kUnknown and the caller
//  decides.
#ifndef WP_STORES_OBJECT_STORE_H_
#define WP_STORES_OBJECT_STORE_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wp {

enum class Answer : uint8_t {
  kOk,           // done: stored, read, listed, deleted
  kExists,       // put: the key is taken, by whomever
  kConflict,     // put: nothing landed, somebody else is at it: again
  kNotFound,     // get: no such object. list: no such bucket
  kThrottled,    // not done: slower, please (`retry_after`)
  kUnknown,      // done or not: look again (timeout, reset, 5xx)
  kDenied,       // credentials or permission
  kNoSpace,      // the disk or the quota is full
  kUnsupported,  // the store lacks what is needed
  kInvalid,      // the request cannot be right (a key no such store can hold)
  kCorrupt,    // the answer contradicts itself (a short body, a wrong range), also when asked again
  kCancelled,  // the store was shut down first; a put may or may not have been applied
};
std::string_view answer_name(Answer answer);  // "kUnknown"

struct StoreStatus {
  Answer answer = Answer::kOk;
  std::string message;  // "<what was tried>: <what happened>", without secrets; empty for kOk
  std::chrono::milliseconds retry_after{0};

  bool ok() const { return answer == Answer::kOk; }
  // The same request may succeed later without anybody doing something about it.
  bool passing() const {
    return answer == Answer::kConflict || answer == Answer::kThrottled ||
           answer == Answer::kUnknown;
  }
};

// Immutable bytes of an object, alive until the last holder is done with them.
using Body = std::shared_ptr<const std::vector<std::byte>>;

struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = UINT64_MAX;  // cut at the object's end
};

struct GetResult {
  StoreStatus status;
  std::vector<std::byte> bytes;  // of the range; empty where the range lies behind the end
  uint64_t object_bytes = 0;     // of the whole object
};

struct ListedObject {
  std::string key;
  uint64_t bytes = 0;
};

struct ListResult {
  StoreStatus status;
  std::vector<ListedObject> objects;  // in byte order of the keys
  bool more = false;                  // go on with `after` = the last key
};

// Why a request is made: the cost meter tells them apart.
enum class Cause : uint8_t {
  kOpen,
  kFlush,
  kRead,
  kCheckpoint,
  kVerify,
  kProbe,
  kReclaim,
  kCompact
};
inline constexpr size_t kCauses = 8;
enum class Operation : uint8_t { kPut, kGet, kList, kDelete };
inline constexpr size_t kOperations = 4;
std::string_view cause_name(Cause cause);              // "open"
std::string_view operation_name(Operation operation);  // "put"

// Counts what was asked of a store. Any thread.
class Meter {
 public:
  struct Count {
    uint64_t requests = 0, failed = 0, bytes = 0;
  };
  // One request that was sent, with the bytes of bodies both ways. Failed: any answer that is not
  // what was hoped for, except kExists and kNotFound, which are answers like others.
  void add(Operation operation, Cause cause, Answer answer, uint64_t bytes);
  Count count(Operation operation, Cause cause) const;
  uint64_t requests() const;  // of all kinds

 private:
  struct Cell {
    std::atomic<uint64_t> requests{0}, failed{0}, bytes{0};
  };
  std::array<std::array<Cell, kCauses>, kOperations> cells_;
};

class ObjectStore {
 public:
  using PutDone = std::function<void(StoreStatus)>;
  using GetDone = std::function<void(GetResult)>;
  using ListDone = std::function<void(ListResult)>;
  using RemoveDone = std::function<void(StoreStatus)>;

  virtual ~ObjectStore() = default;

  // Keys are relative, of 1 to 1,000 bytes, with '/' between parts.
  virtual void put_if_absent(std::string key, Body body, Cause cause, PutDone done) = 0;
  virtual void get(std::string key, ByteRange range, Cause cause, GetDone done) = 0;
  // The objects whose key begins with `prefix` and comes behind `after`, at most `count_max` (0: as
  // many as the store likes to give at once).
  virtual void list(std::string prefix, std::string after, uint32_t count_max, Cause cause,
                    ListDone done) = 0;
  // Deletes them all; one that is not there is no error.
  virtual void remove(std::vector<std::string> keys, Cause cause, RemoveDone done) = 0;

  // Ends: what is under way completes, if need be with kCancelled, before this returns; later calls
  // complete with kCancelled at once. Not from inside a completion.
  virtual void shutdown() = 0;

  // For messages and defaults.
  virtual std::string description() const = 0;  // "file:///dir", never a secret
  virtual std::chrono::milliseconds linger_default() const = 0;

  Meter& meter() { return meter_; }
  const Meter& meter() const { return meter_; }

 private:
  Meter meter_;
};

}  // namespace wp

#endif  // WP_STORES_OBJECT_STORE_H_
