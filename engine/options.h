// A root's URL and its options: taken apart, checked, and put together. Pure functions.
#ifndef WP_ENGINE_OPTIONS_H_
#define WP_ENGINE_OPTIONS_H_

#include <string>
#include <string_view>

#include "wp.h"

namespace wp {

enum class Scheme : uint8_t { kDirectory, kMemory, kS3 };

struct RootUrl {
  Scheme scheme = Scheme::kDirectory;
  // The directory's path, the memory's name, or "bucket/prefix". Not empty, no zero byte.
  std::string place;
  Options options;  // defaults, and what the query says; each value is in its range
};

// kInvalid names what is wrong: the scheme (with the known ones), an option (with the nearest known
// one) or a value (with its range). It repeats nothing of the URL that might be a secret.
Result<RootUrl> parse_root_url(std::string_view url);

// What an opening goes by: `given`, and the URL's for what `given` leaves at its default. kInvalid:
// a value is out of its range, or two of them do not fit together.
Result<Options> join_options(const Options& of_url, const Options& given);

}  // namespace wp

#endif  // WP_ENGINE_OPTIONS_H_
