// `wp dump`: one object of the bucket, explained.
#include "cli/commands.h"
#include "cli/session.h"

namespace wp::cli {

int run_dump(const Args& args) {
  Session session(args);
  return session.fail(Status(Code::kUnsupported, "dump: this build cannot explain objects"));
}

}  // namespace wp::cli
