// Unicode's normal forms (Unicode Standard Annex 15) and lower case, as the tokenizers package has
// them: text that was written in two ways becomes the same tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mnm {

enum class NormalForm : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// `text` is UTF-8. O(characters), and of a run of marks O(n log n).
std::string normalized(std::string_view text, NormalForm form);

// Of each character by itself: no letter looks at its neighbours.
std::string lowercase(std::string_view text);

}  // namespace mnm
