// Lengths of texts as Python counts them. lm-evaluation-harness defines its metrics by these.
#pragma once

#include <cstdint>
#include <string_view>

namespace mnm {

// All texts are UTF-8.
std::int64_t code_points(std::string_view text);    // len(text)
std::int64_t words_of_text(std::string_view text);  // len(re.split(r"\s+", text)): 1 of no words
std::size_t trailing_space(std::string_view text);  // the bytes that text.rstrip() takes away

}  // namespace mnm
