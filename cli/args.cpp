// The command line; see args.h.
#include "cli/args.h"

#include <algorithm>

#include "cli/values.h"

namespace wp::cli {
namespace {

constexpr OptionSpec kCommon[] = {
    {"meta", 0, "PATH", "the SQLite file that holds the view of the bucket"},
    {"json", 0, "", "one JSON object a line, errors too"},
    {"quiet", 'q', "", "no progress and no messages except errors"},
    {"help", 'h', "", "this text"},
};

const OptionSpec* find_name(const CommandSpec& command, std::string_view name) {
  for (const auto& options : {command.options, common_options()}) {
    for (const OptionSpec& option : options) {
      if (option.name == name) return &option;
    }
  }
  return nullptr;
}

const OptionSpec* find_letter(const CommandSpec& command, char letter) {
  for (const auto& options : {command.options, common_options()}) {
    for (const OptionSpec& option : options) {
      if (option.letter == letter) return &option;
    }
  }
  return nullptr;
}

Status wrong(const CommandSpec& command, const std::string& what) {
  return Status(Code::kInvalid, std::string(command.name) + ": " + what + "; see wp " +
                                    std::string(command.name) + " --help");
}

Status unknown_option(const CommandSpec& command, std::string_view name) {
  std::vector<std::string_view> known;
  for (const auto& options : {command.options, common_options()}) {
    for (const OptionSpec& option : options) known.push_back(option.name);
  }
  std::string message = "unknown option --" + printable(name);
  const std::string_view near = nearest(name, known);
  if (!near.empty()) message += ", did you mean --" + std::string(near) + "?";
  return wrong(command, message);
}

}  // namespace

std::span<const OptionSpec> common_options() {
  return kCommon;
}

Result<Args> Args::parse(const CommandSpec& command, std::span<const char* const> words) {
  Args args;
  args.command_ = &command;
  bool only_operands = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (only_operands || word.size() < 2 || word.front() != '-') {
      args.operands_.emplace_back(word);
    } else if (word == "--") {
      only_operands = true;
    } else if (word[1] == '-') {
      const size_t equals = word.find('=');
      const std::string_view name = word.substr(2, equals == word.npos ? equals : equals - 2);
      const OptionSpec* option = find_name(command, name);
      if (option == nullptr) return unknown_option(command, name);
      const std::string shown = "--" + std::string(name);
      if (option->value.empty()) {
        if (equals != word.npos) return wrong(command, shown + " takes no value");
        args.options_.emplace_back(option->name, "");
      } else if (equals != word.npos) {
        args.options_.emplace_back(option->name, word.substr(equals + 1));
      } else if (i + 1 < words.size()) {
        args.options_.emplace_back(option->name, words[++i]);
      } else {
        return wrong(command,
                     shown + " needs a value: " + shown + " " + std::string(option->value));
      }
    } else {
      // Letters may be gathered: -fn5.
      for (size_t k = 1; k < word.size(); ++k) {
        const OptionSpec* option = find_letter(command, word[k]);
        const std::string shown = "-" + printable(word.substr(k, 1));
        if (option == nullptr) return wrong(command, "unknown option " + shown);
        if (option->value.empty()) {
          args.options_.emplace_back(option->name, "");
          continue;
        }
        if (k + 1 < word.size()) {
          args.options_.emplace_back(option->name, word.substr(k + 1));
        } else if (i + 1 < words.size()) {
          args.options_.emplace_back(option->name, words[++i]);
        } else {
          return wrong(command,
                       shown + " needs a value: " + shown + " " + std::string(option->value));
        }
        break;
      }
    }
  }
  if (args.has("help")) return args;  // whoever asks for help need not be right otherwise
  if (args.operands_.size() < command.operands_min) {
    return wrong(command, "too few operands, wanted " + std::string(command.operands));
  }
  if (args.operands_.size() > command.operands_max) {
    return wrong(command, "one operand too many: '" +
                              printable(args.operands_[command.operands_max]) + "', wanted " +
                              std::string(command.operands));
  }
  return args;
}

std::optional<std::string_view> Args::value(std::string_view option) const {
  for (auto at = options_.rbegin(); at != options_.rend(); ++at) {
    if (at->first == option) return at->second;
  }
  return std::nullopt;
}

std::vector<std::string_view> Args::values(std::string_view option) const {
  std::vector<std::string_view> out;
  for (const auto& [name, value] : options_) {
    if (name == option) out.emplace_back(value);
  }
  return out;
}

Status Args::exclusive(std::string_view a, std::string_view b) const {
  if (!has(a) || !has(b)) return {};
  return wrong(*command_,
               "--" + std::string(a) + " and --" + std::string(b) + " exclude each other");
}

std::string command_help(const CommandSpec& command) {
  std::string out = "usage: wp " + std::string(command.name) + " [option ...] " +
                    std::string(command.operands) + "\n\n" + std::string(command.summary) + "\n";
  if (!command.detail.empty()) out += "\n" + std::string(command.detail) + "\n";
  out += "\noptions:\n";
  for (const auto& options : {command.options, common_options()}) {
    for (const OptionSpec& option : options) {
      std::string left = "  ";
      if (option.letter != 0) left += std::string("-") + option.letter + ", ";
      left += "--" + std::string(option.name);
      if (!option.value.empty()) left += " " + std::string(option.value);
      left.resize(std::max<size_t>(left.size() + 2, 22), ' ');
      out += left + std::string(option.help) + "\n";
    }
  }
  return out + "\nexample:\n  " + std::string(command.example) + "\n";
}

}  // namespace wp::cli
