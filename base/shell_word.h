// Words of a command line that a user is told to type.
#pragma once

#include <string>
#include <string_view>

namespace mnm {

// The word as a POSIX shell reads it back, quoted only where it must be.
std::string shell_quoted(std::string_view word);

}  // namespace mnm
