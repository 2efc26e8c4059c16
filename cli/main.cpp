// The `wp` tool: finds the command and runs it. Everything it does goes through the public API in
// wp.h, except `dump`, which looks at single objects.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "cli/args.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/values.h"

namespace wp::cli {
namespace {

int print(std::string_view text) {
  return write_all(STDOUT_FILENO, text) == 0 ? kExitDone : kExitFailed;
}

int usage(const std::string& message, bool json) {
  write_all(STDERR_FILENO, json ? error_line(Status(Code::kInvalid, message), true) + "\n"
                                : "wp: " + message + "\n");
  return kExitUsage;
}

const CommandSpec* find_command(std::string_view name) {
  for (const CommandSpec& command : commands()) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

int unknown_command(std::string_view name, bool json) {
  std::vector<std::string_view> known = {"--help", "--version"};
  for (const CommandSpec& command : commands()) known.push_back(command.name);
  std::string message = std::string("unknown ") +
                        (name.substr(0, 1) == "-" ? "option " : "command ") + "'" +
                        printable(name) + "'";
  const std::string_view near = nearest(name, known);
  if (!near.empty()) message += ", did you mean " + std::string(near) + "?";
  return usage(message + "; see wp --help", json);
}

// A descriptor that is closed would be given to the next file that is opened, and what is printed
// would land in a database.
void open_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // Opened the wrong way round, so that using it is the error that it should be.
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
      std::_Exit(kExitFailed);
  }
}

int run(std::span<const char* const> words) {
  bool json = false;
  for (const std::string_view word : words) json = json || word == "--json";
  if (words.empty()) {
    write_all(STDERR_FILENO, general_help());
    return kExitUsage;
  }
  const std::string_view name = words[0];
  if (name == "--version" || name == "version") return print("wp " + std::string(version()) + "\n");
  if (name == "--help" || name == "-h" || name == "help") {
    if (words.size() < 2) return print(general_help());
    const CommandSpec* about = find_command(words[1]);
    return about != nullptr ? print(command_help(*about)) : unknown_command(words[1], json);
  }
  const CommandSpec* command = find_command(name);
  if (command == nullptr) return unknown_command(name, json);
  const auto args = Args::parse(*command, words.subspan(1));
  if (!args) return usage(args.status().message(), json);
  if (args->has("help")) return print(command_help(*command));
  return command->run(*args);
}

}  // namespace
}  // namespace wp::cli

int main(int argc, char** argv) {
  wp::cli::open_standard_descriptors();
  // A reader of our output that goes away is an error like others, seen where we write.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return wp::cli::run({argv + 1, argv + std::max(1, argc)});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "wp: %s\n", error.what());
    return wp::cli::kExitFailed;
  }
}
