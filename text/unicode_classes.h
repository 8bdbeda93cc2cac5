// What a character is, by Unicode's general categories as far as tokenizers tell them apart.
#pragma once

#include <cstdint>

namespace mnm {

enum class CharClass : std::uint8_t {
  kOther,
  kUpper,        // Lu
  kLower,        // Ll
  kTitle,        // Lt
  kModifier,     // Lm
  kOtherLetter,  // Lo
  kMark,         // M
  kDigit,        // Nd
  kLetterNumber,
  kOtherNumber,
  kConnector,     // Pc
  kPunctuation,   // the other P
  kSymbol,        // S
  kSeparator,     // Z
  kControlSpace,  // control characters that are white space
};

using ClassSet = std::uint32_t;  // bit i: the class i

template <typename... Classes>
constexpr ClassSet set_of(Classes... classes) {
  return ((ClassSet{1} << static_cast<int>(classes)) | ...);
}

inline constexpr ClassSet kLetters = set_of(CharClass::kUpper, CharClass::kLower, CharClass::kTitle,
                                            CharClass::kModifier, CharClass::kOtherLetter);
inline constexpr ClassSet kNumbers =
    set_of(CharClass::kDigit, CharClass::kLetterNumber, CharClass::kOtherNumber);
inline constexpr ClassSet kSpaces = set_of(CharClass::kSeparator, CharClass::kControlSpace);

CharClass class_of(char32_t c);  // of Unicode 17

inline bool is_in(char32_t c, ClassSet set) {
  return (set >> static_cast<int>(class_of(c)) & 1) != 0;
}

}  // namespace mnm
