// Text from outside, made fit for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace mnm {

// Control characters and what is not UTF-8 as "\x1b", the rest as it is: what a file names its
// tensors, a store its data or a config its model must not move the cursor or fake a line. Of the
// control characters, those in `kept` stay.
std::string printable(std::string_view text, std::string_view kept = "");

}  // namespace mnm
