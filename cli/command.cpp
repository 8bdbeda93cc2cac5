#include "cli/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>

#include "base/error.h"
#include "base/shell_word.h"
#include "base/spelling.h"
#include "base/version.h"
#include "cli/print.h"
#include "cli/signals.h"
#include "eval/scores.h"
#include "report/escape.h"

namespace mnm {

#define MNM_COMMAND(group, name, line) int name##_command(const Arguments& arguments);
#include "cli/commands.inc"
#undef MNM_COMMAND

namespace {

constexpr Command kCommands[] = {
#define MNM_COMMAND(group, name, line) {#group, #name, line, &name##_command},
#include "cli/commands.inc"
#undef MNM_COMMAND
};

constexpr const char* kOutOfMemory =
    "out of memory; fewer --threads may help, or a smaller --memory or --context, where the "
    "command "
    "has them";

std::string overview() {
  std::string text =
      "mixnmatch finds the best submodels of a nested checkpoint, and writes them out.\n\n"
      "usage: mixnmatch COMMAND [options]\n";
  std::string_view group;
  std::size_t longest = 0;
  for (const Command& command : kCommands) {
    longest = std::max(longest, std::string_view(command.name).size());
  }
  for (const Command& command : kCommands) {
    if (command.group != group) text += fmt::format("\n{}\n", group = command.group);
    text += fmt::format("  {:<{}}  {}\n", command.name, longest, command.line);
  }
  return text +
         "\n  mixnmatch help COMMAND    its options\n  mixnmatch --version       what this is\n";
}

const Command& command_named(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (command.name == name) return command;
    names.emplace_back(command.name);
  }
  fail_usage("there is no command '{}'{} ('mixnmatch help' lists all)", name,
             did_you_mean(name, names));
}

int dispatch(const Arguments& arguments) {
  if (arguments.empty()) {
    note("{}", Lines{overview()});
    return 2;
  }
  const std::string& first = arguments.front();
  if (first == "--version" || first == "version") {
    print("{}\n", build_text());
    return 0;
  }
  if (first == "--help" || first == "-h" || first == "help") {
    if (arguments.size() < 2) {
      print("{}", Lines{overview()});
      return 0;
    }
    return command_named(arguments[1]).run({"--help"});
  }
  return command_named(first).run({arguments.begin() + 1, arguments.end()});
}

// Results that could not be written are not results.
void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    fail("cannot write the results to standard output: {}", std::strerror(errno));
  }
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

int run_program(const Arguments& arguments) {
  handle_signals();
  int status = 1;
  std::string message;
  try {
    const int done = dispatch(arguments);
    flush_output();
    return done;
  } catch (const UsageError& error) {
    status = 2;
    message = error.what();
  } catch (const Stopped&) {
    message = kStopped;
  } catch (const std::filesystem::filesystem_error& error) {
    message = fmt::format("cannot use '{}': {}", error.path1().string(), error.code().message());
  } catch (const std::bad_alloc&) {
    message = kOutOfMemory;
  } catch (const std::length_error&) {
    message = kOutOfMemory;
  } catch (const Error& error) {
    message = error.what();
  } catch (const std::exception& error) {
    message = fmt::format(
        "cannot go on: something happened that this program does not foresee, which is its own "
        "fault ('{}'); please report it with what was asked",
        error.what());
  }
  std::fflush(stdout);
  constexpr std::size_t kLongest = 1900;  // two paths longer than most, and what is said of them
  note("mixnmatch: {}\n", shortened(printable(message), kLongest));
  return status;
}

std::string command_line(std::string_view command, const Arguments& arguments) {
  std::string text = fmt::format("mixnmatch {}", command);
  for (const std::string& word : arguments) text.append(" ").append(shell_quoted(word));
  return text;
}

}  // namespace mnm
