// The one budget of RAM, counted by use. Any thread; no lock.
#ifndef WP_ENGINE_RAM_H_
#define WP_ENGINE_RAM_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace wp {

enum class Ram : uint8_t {
  kGathering,   // entries that are not yet compressed
  kUploading,   // fragments on their way to the store
  kCache,       // decoded blocks that nobody needs to have kept
  kReading,     // what readers, recovery and verification fetch
  kIndex,       // changes that the view does not have yet
  kCompacting,  // entries on their way into segments
  kEphemeral,   // what was published, and not every subscriber has read
};
inline constexpr size_t kRamUses = 7;

class RamBudget {
 public:
  explicit RamBudget(uint64_t bytes_max) : max_(bytes_max) {}

  void add(Ram use, uint64_t bytes) {
    uses_[static_cast<size_t>(use)].fetch_add(bytes, std::memory_order_relaxed);
    const uint64_t total = total_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    uint64_t peak = peak_.load(std::memory_order_relaxed);
    while (total > peak && !peak_.compare_exchange_weak(peak, total, std::memory_order_relaxed)) {
    }
  }
  void sub(Ram use, uint64_t bytes) {
    uses_[static_cast<size_t>(use)].fetch_sub(bytes, std::memory_order_relaxed);
    total_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  uint64_t of(Ram use) const {
    return uses_[static_cast<size_t>(use)].load(std::memory_order_relaxed);
  }
  uint64_t total() const { return total_.load(std::memory_order_relaxed); }
  uint64_t peak() const { return peak_.load(std::memory_order_relaxed); }

  // How the budget is shared out. What is appended has most of it; the rest is for a fragment that
  // is just being compressed, and so for a moment there twice, and for readers.
  uint64_t writing_max() const { return max_ / 8 * 5; }
  uint64_t cache_max() const { return max_ / 8; }
  uint64_t reading_max() const { return max_ / 8; }
  uint64_t ephemeral_max() const { return max_ / 32; }
  uint64_t ephemeral_queue_max() const { return max_ / 64; }  // of one subscriber

 private:
  const uint64_t max_;
  std::array<std::atomic<uint64_t>, kRamUses> uses_{};
  std::atomic<uint64_t> total_{0}, peak_{0};
};

// Bytes of the budget, given back at the end of the scope.
class RamUse {
 public:
  RamUse() = default;
  RamUse(RamBudget& budget, Ram use, uint64_t bytes) : budget_(&budget), use_(use), bytes_(bytes) {
    budget.add(use, bytes);
  }
  RamUse(RamUse&& other) noexcept { *this = static_cast<RamUse&&>(other); }
  RamUse& operator=(RamUse&& other) noexcept {
    if (this != &other) {
      release();
      budget_ = other.budget_;
      use_ = other.use_;
      bytes_ = other.bytes_;
      other.bytes_ = 0;
    }
    return *this;
  }
  ~RamUse() { release(); }
  void release() {
    if (bytes_ != 0) budget_->sub(use_, bytes_);
    bytes_ = 0;
  }
  uint64_t bytes() const { return bytes_; }

 private:
  RamBudget* budget_ = nullptr;
  Ram use_ = Ram::kReading;
  uint64_t bytes_ = 0;
};

}  // namespace wp

#endif  // WP_ENGINE_RAM_H_
