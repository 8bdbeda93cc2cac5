// Text from outside, made fit for a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mnm {

// Control characters, marks of writing direction, characters that cannot be seen, and what is not
// UTF-8 as "\x1b", the rest as it is: what a file names its tensors, a store its data or a config
// its model must not move the cursor, fake a line or show another order than it has. Of the ASCII
// control characters, those in `kept` stay.
std::string printable(std::string_view text, std::string_view kept = "");

// The same for a text that is JSON: such characters as "\u001b", which mean the same there.
std::string printable_json(std::string_view json);

// At most `longest` bytes, 64 or more, of printable text: what is too much is left out of its
// middle, and how much that was is said there. A sentence keeps its cause and its advice, whatever
// it quotes.
std::string shortened(std::string text, std::size_t longest);

}  // namespace mnm
