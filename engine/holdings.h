// Why is it still here? What every byte under a root is held by.
#ifndef WP_ENGINE_HOLDINGS_H_
#define WP_ENGINE_HOLDINGS_H_

#include <vector>

#include "engine/core.h"

namespace wp {

// All of it, the largest first; or what of it is that log's. Looks at the view, and lists the
// checkpoints; takes as long as reading all rows takes.
Result<std::vector<Holding>> holdings(EngineCore& core, const LogStatePtr& of_log);

}  // namespace wp

#endif  // WP_ENGINE_HOLDINGS_H_
