// What errors of the store mean to the caller of the API, and an error that several calls give.
#ifndef WP_ENGINE_STATUS_H_
#define WP_ENGINE_STATUS_H_

#include <string>
#include <string_view>

#include "stores/object_store.h"
#include "wp.h"

namespace wp {

Status to_status(const StoreStatus& status);

// kInvalid, of an entry or a batch that has so many bytes where `most` are allowed.
Status too_large(const std::string& tried, uint64_t bytes, uint64_t most, std::string_view todo);

}  // namespace wp

#endif  // WP_ENGINE_STATUS_H_
