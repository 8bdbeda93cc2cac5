// Shell commands that make a .npy file of tokens out of another file: the help of an error.
//
// A file's name may hold anything. So it stands in a command only as a word of its own, which the
// shell hands on as it is, and never within the text of a program.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mnm {

// Saves what the Python `expression` gives as tokens.npy. `imports` names the modules that it uses
// besides numpy and sys. The expression says the file's path as "sys.argv[1]".
std::string save_npy(std::string_view imports, std::string_view expression,
                     const std::filesystem::path& path);

// The same for a file of numbers of a NumPy `type` such as "<u2". `more` holds further arguments of
// numpy.fromfile, such as ", offset=1024".
std::string save_npy_of_numbers(const std::filesystem::path& path, std::string_view type,
                                std::string_view more = "");

// The path as a word of a shell's command line that no program takes for an option.
std::string path_word(const std::filesystem::path& path);

}  // namespace mnm
