// Reading everything and checking it: the chain from the root object to the tail, as far as
// reclaiming has left it; each object's digest and checksums, segments among them; every entry;
// that each holds what the view says to lie in it, and that no log has a gap. Objects that are dead
// may be gone.
#ifndef WP_ENGINE_VERIFY_H_
#define WP_ENGINE_VERIFY_H_

#include "engine/core.h"

namespace wp {

// kCorrupt: something is damaged; each damage was told to `progress`. Blocks.
Status verify_root(EngineCore& core, const Progress& progress);

}  // namespace wp

#endif  // WP_ENGINE_VERIFY_H_
