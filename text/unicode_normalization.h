// Unicode's normal forms (Unicode Standard Annex 15) and lower case, as the tokenizers package
// computes them. Unicode often has two ways to write the same text; in a normal form both are
// equal, and so become the same tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mnm {

enum class NormalForm : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// `text` is UTF-8. O(characters); a run of n combining marks takes O(n log n).
std::string normalized(std::string_view text, NormalForm form);

// Each character is made lower case by itself, whatever its neighbours are.
std::string lowercase(std::string_view text);

}  // namespace mnm
