// What requests cost, by the prices that stand in Options.
#ifndef WP_ENGINE_PRICE_H_
#define WP_ENGINE_PRICE_H_

#include "stores/object_store.h"
#include "wp.h"

namespace wp {

struct Prices {
  explicit Prices(const Options& options)
      : per_1000_puts(options.dollars_per_1000_puts),
        per_1000_gets(options.dollars_per_1000_gets) {}

  double per_1000_puts;  // and lists
  double per_1000_gets;

  double of(Operation operation, uint64_t requests) const {
    if (operation == Operation::kDelete) return 0;
    const double per_1000 = operation == Operation::kGet ? per_1000_gets : per_1000_puts;
    return static_cast<double>(requests) / 1000 * per_1000;
  }
  double of(const Meter& meter) const {
    double dollars = 0;
    for (size_t o = 0; o < kOperations; ++o) {
      const auto operation = static_cast<Operation>(o);
      for (size_t cause = 0; cause < kCauses; ++cause) {
        dollars += of(operation, meter.count(operation, static_cast<Cause>(cause)).requests);
      }
    }
    return dollars;
  }
};

}  // namespace wp

#endif  // WP_ENGINE_PRICE_H_
