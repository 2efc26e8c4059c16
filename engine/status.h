// What errors of the store mean to the caller of the API.
#ifndef WP_ENGINE_STATUS_H_
#define WP_ENGINE_STATUS_H_

#include "stores/object_store.h"
#include "wp.h"

namespace wp {

Status to_status(const StoreStatus& status);

}  // namespace wp

#endif  // WP_ENGINE_STATUS_H_
