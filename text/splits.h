// How text is cut into pieces before a byte-level vocabulary's merges, by the regular expressions
// that tokenizer.json files hold: written out by hand, so that no engine for them is needed.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace mnm {

enum class Split : std::uint8_t {
  kWords,        // GPT-2's: a space belongs to the word after it
  kThreeDigits,  // Llama 3's: also any other sign before a word; numbers by three digits
  kOneDigit,     // Qwen2's: the same, numbers by one
};

// The expression as tokenizer.json spells it; kWords has none there, it is ByteLevel's own.
std::string_view pattern_of(Split split);
std::optional<Split> split_of(std::string_view pattern);

// Pieces of `text`, which is UTF-8: together they are all of it.
std::vector<std::string_view> split_text(Split split, std::string_view text);

}  // namespace mnm
