// The commands, one function each: what it prints goes to standard output, the rest to standard
// error, and it returns the exit status.
#ifndef WP_CLI_COMMANDS_H_
#define WP_CLI_COMMANDS_H_

#include <span>
#include <string>

#include "cli/args.h"

namespace wp::cli {

int run_append(const Args& args);
int run_cat(const Args& args);
int run_tail(const Args& args);
int run_logs(const Args& args);
int run_info(const Args& args);
int run_truncate(const Args& args);
int run_drop(const Args& args);
int run_why(const Args& args);
int run_gc(const Args& args);
int run_retain(const Args& args);
int run_cursors(const Args& args);
int run_verify(const Args& args);
int run_rebuild(const Args& args);
int run_doctor(const Args& args);
int run_dump(const Args& args);

std::span<const CommandSpec> commands();
std::string general_help();

}  // namespace wp::cli

#endif  // WP_CLI_COMMANDS_H_
