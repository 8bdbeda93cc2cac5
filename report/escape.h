// Makes text from outside fit for a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mnm {

// Returns the text with four kinds of characters as escapes, such as "\x1b": control characters,
// marks of writing direction, invisible characters, and bytes that are not UTF-8. The rest stays as
// it is. Names of tensors, data and models come from files. They must not move the cursor, fake a
// line, or show a wrong order. ASCII control characters in `kept` stay.
std::string printable(std::string_view text, std::string_view kept = "");

// The same for a JSON text, with escapes such as "\u001b", which mean the same in JSON.
std::string printable_json(std::string_view json);

// Shortens printable text to at most `longest` bytes (64 or more). The middle is left out, and the
// text says how much that was. So a sentence keeps its cause and its advice, whatever it quotes.
std::string shortened(std::string text, std::size_t longest);

}  // namespace mnm
