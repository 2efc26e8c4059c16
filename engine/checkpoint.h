// Copies of the view as objects: what an opening starts from where it has no view of its own. The
// bytes are described in docs/FORMAT.md.
#ifndef WP_ENGINE_CHECKPOINT_H_
#define WP_ENGINE_CHECKPOINT_H_

#include <functional>
#include <string>
#include <vector>

#include "engine/format.h"
#include "engine/view.h"
#include "stores/object_store.h"

namespace wp {

inline constexpr size_t kCheckpointHeaderBytes = 128;

// The names of checkpoints among what was listed, in its order: by position.
std::vector<std::string> checkpoints_among(const std::vector<ListedObject>& objects);

// All rows of the view, which must stand still meanwhile.
Result<ByteVector> encode_checkpoint(View& view, int compression_level);

// What an object of that name must begin with, and the table of epochs. kCorrupt, kUnsupported.
struct CheckpointHead {
  ViewHead head;
  std::vector<EpochRow> epochs;
};
Result<CheckpointHead> decode_checkpoint_head(Bytes object);

// All of it, as changes of an empty view to be applied in order; only the last has the true head,
// the others one without a root's id. Every byte is checked before the first call.
Result<CheckpointHead> decode_checkpoint(Bytes object,
                                         const std::function<Status(const ViewDelta&)>& apply);

}  // namespace wp

#endif  // WP_ENGINE_CHECKPOINT_H_
