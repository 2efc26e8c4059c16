// The command line: a table says which options a command knows; parsing it gives operands and
// option values, or one sentence about what is wrong. Nothing is executed here.
#ifndef WP_CLI_ARGS_H_
#define WP_CLI_ARGS_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wp.h"

namespace wp::cli {

struct OptionSpec {
  std::string_view name;   // without the dashes
  char letter = 0;         // 0: none
  std::string_view value;  // what stands for the value in the help; empty: a switch
  std::string_view help;
};

class Args;

struct CommandSpec {
  std::string_view name;
  std::string_view operands;  // as in the help: "URL LOG [FILE]"
  size_t operands_min = 0, operands_max = 0;
  std::string_view summary;  // one line
  std::string_view detail;   // what else there is to say, may be several lines
  std::string_view example;
  std::span<const OptionSpec> options;
  int (*run)(const Args&) = nullptr;
};

// Options that every command knows.
std::span<const OptionSpec> common_options();

class Args {
 public:
  // What stands behind the command's name. Options and operands may be mixed; "--" ends the
  // options; a value may begin with '-'; of an option given twice, the last counts.
  static Result<Args> parse(const CommandSpec& command, std::span<const char* const> words);

  const CommandSpec& command() const { return *command_; }
  size_t operands() const { return operands_.size(); }
  const std::string& operand(size_t i) const { return operands_[i]; }
  bool has(std::string_view option) const { return value(option).has_value(); }
  std::optional<std::string_view> value(std::string_view option) const;
  std::vector<std::string_view> values(std::string_view option) const;  // of a repeated one
  // Only one of the two may be given.
  Status exclusive(std::string_view a, std::string_view b) const;

 private:
  const CommandSpec* command_ = nullptr;
  std::vector<std::string> operands_;
  std::vector<std::pair<std::string_view, std::string>> options_;
};

// The text of `wp COMMAND --help`.
std::string command_help(const CommandSpec& command);

}  // namespace wp::cli

#endif  // WP_CLI_ARGS_H_
