// What a character is, as far as splitting text asks: \p{L}, \p{N} and \s of Unicode 17.
#pragma once

#include <cstdint>

namespace mnm {

enum class CharClass : std::uint8_t { kOther, kLetter, kNumber, kSpace };

CharClass class_of(char32_t c);

}  // namespace mnm
