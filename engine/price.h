// What requests cost: the one place with prices.
#ifndef WP_ENGINE_PRICE_H_
#define WP_ENGINE_PRICE_H_

#include "stores/object_store.h"

namespace wp {

// S3 standard, us-east-1, list price in dollars; deletions are free.
struct Prices {
  double per_1000_puts = 0.005;  // and lists
  double per_1000_gets = 0.0004;

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
