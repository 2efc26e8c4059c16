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

  double of(const Meter& meter) const {
    double dollars = 0;
    for (size_t cause = 0; cause < kCauses; ++cause) {
      const auto requests = [&](Operation operation) {
        return static_cast<double>(meter.count(operation, static_cast<Cause>(cause)).requests);
      };
      dollars += (requests(Operation::kPut) + requests(Operation::kList)) / 1000 * per_1000_puts;
      dollars += requests(Operation::kGet) / 1000 * per_1000_gets;
    }
    return dollars;
  }
};

}  // namespace wp

#endif  // WP_ENGINE_PRICE_H_
