// Finds out whether a store can be trusted with a commit: that of two who create a key one is
// refused, also when both come at once, and that LIST shows what was just stored. Some stores
// refuse the condition, some ignore it and say 200.
//
// Costs eight requests, once in a root's life; all of them count as Cause::kProbe.
#ifndef WP_S3_MINIMAL_PROBE_H_
#define WP_S3_MINIMAL_PROBE_H_

#include <functional>
#include <string>

#include "s3_minimal/client.h"

namespace wp::s3 {

struct ProbeResult {
  StoreStatus status;                    // not ok: nothing was learned, and this is why
  bool conditional = false;              // whether it can be trusted
  std::string lack;                      // if not: what the store did
  bool versioned = false;                // what is deleted stays, and is paid for
  std::vector<LifecycleRule> lifecycle;  // that take away objects beside the key
  StoreStatus removed;                   // of the probe's own object, at the end
};

// `key` is a key of the bucket that nobody else uses. The client outlives the probe.
void probe(S3Client& client, std::string key, std::function<void(ProbeResult)> done);

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_PROBE_H_
