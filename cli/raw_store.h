// A root's store, opened to look at single objects: read-only, without lock, view or journal,
// beside whoever writes. The calls wait for their answer, and try again where a failure passes.
#ifndef WP_CLI_RAW_STORE_H_
#define WP_CLI_RAW_STORE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/options.h"
#include "stores/object_store.h"
#include "wp.h"

namespace wp::cli {

class RawStore {
 public:
  // Errors as of Wal::open; kNotFound: there is no such place.
  static Result<RawStore> open(std::string_view url, const Options& options);
  RawStore(RawStore&&) = default;
  RawStore& operator=(RawStore&&) = default;
  ~RawStore();

  // kNotFound: no such object.
  Result<std::vector<std::byte>> get(const std::string& key, ByteRange range = {});
  // At most `count_max` keys with that prefix, behind `after`.
  Result<std::vector<std::string>> list(const std::string& prefix, const std::string& after,
                                        size_t count_max);

  // The key as the store knows it, of one that people copied from somewhere: with the root's URL,
  // path or prefix before it, or "./". kInvalid: it can be no object's.
  Result<std::string> key_of(std::string_view text) const;

  const std::string& url() const { return url_; }  // without options

 private:
  RawStore() = default;

  std::string url_;
  std::vector<std::string> prefixes_;  // that may stand before a key
  std::unique_ptr<ObjectStore> store_;
};

}  // namespace wp::cli

#endif  // WP_CLI_RAW_STORE_H_
