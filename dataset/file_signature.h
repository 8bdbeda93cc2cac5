// The formats of other programs that a file is recognised as by its first bytes.
#pragma once

#include <filesystem>
#include <string_view>

#include "dataset/token_format.h"

namespace mnm {

// kForeign with the format's name and what to do about it, or kUnknown. `path` gives what a file's
// name adds, and stands in the commands of the help. `text`: the bytes are UTF-8 without control
// characters, so a signature of letters that a text may begin with says nothing.
Resemblance foreign_like(std::string_view bytes, const std::filesystem::path& path, bool text);

}  // namespace mnm
