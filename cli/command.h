// The commands: each is one file, cli/NAME.cpp, and one line in cli/commands.inc.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

// What stands after the command's name.
using Arguments = std::vector<std::string>;

// Returns the exit status: 0 if the work is done, 1 if it was stopped by Ctrl-C. Throws UsageError
// and Error.
using CommandFunction = int (*)(const Arguments& arguments);

struct Command {
  std::string_view group;  // what a person wants: make, look, search, ship, run
  std::string_view name;
  std::string_view line;  // what it does, in one line
  CommandFunction run;
};

std::span<const Command> commands();

// Runs the program. `arguments` are without the program's name. Errors become one sentence on
// standard error. The result is the exit status: 0 done, 1 failed, 2 wrong usage. Ctrl-C ends every
// command with a sentence (cli/signals.h).
int run_program(const Arguments& arguments);

// "mixnmatch search DIR --seed 3", quoted for a shell: what the store keeps.
std::string command_line(std::string_view command, const Arguments& arguments);

}  // namespace mnm
