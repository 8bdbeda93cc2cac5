// Words of a command line that a user is told to type.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mnm {

// The word as a POSIX shell reads it back, quoted only where it must be.
std::string shell_quoted(std::string_view word);

// "PROGRAM < FROM > TO", for a program that reads standard input: no name is taken for an option.
// TO is FROM with another extension, or a longer name if that is FROM itself or there already.
std::string filter_command(std::string_view program, const std::filesystem::path& from,
                           std::string_view extension);

}  // namespace mnm
