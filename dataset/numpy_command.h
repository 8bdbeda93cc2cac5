// Shell commands that make a .npy file of tokens out of another file: the help of an error.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mnm {

// Saves what the Python `expression` gives as tokens.npy. `imports` names the modules that it uses.
std::string save_npy(std::string_view imports, std::string_view expression);

// The same for a file of numbers of a NumPy `type` such as "<u2". `more` holds further arguments of
// numpy.fromfile, such as ", offset=1024".
std::string save_npy_of_numbers(const std::filesystem::path& path, std::string_view type,
                                std::string_view more = "");

}  // namespace mnm
