// Reading everything and checking it: the chain from the root object to the tail, each object's
// digest and checksums, every entry, and that no log has a gap.
#ifndef WP_ENGINE_VERIFY_H_
#define WP_ENGINE_VERIFY_H_

#include "engine/core.h"

namespace wp {

// kCorrupt: something is damaged; each damage was told to `progress`. Blocks.
Status verify_root(EngineCore& core, const Progress& progress);

}  // namespace wp

#endif  // WP_ENGINE_VERIFY_H_
