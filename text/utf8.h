// UTF-8, strictly: no overlong forms, no surrogates, nothing past U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mnm {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 1;  // its length; if not valid, that of the part that could begin a character
  bool valid = false;
  bool cut_short = false;  // it is not valid, only because the text ends
};

CodePoint code_point_at(std::string_view text, std::size_t at);  // at < text.size()
void append_utf8(std::string& text, char32_t code_point);

// The position where the text stops being UTF-8, or its size.
std::size_t valid_utf8(std::string_view text);

// Decodes bytes that come in pieces. What is not UTF-8 becomes U+FFFD, one for each longest part
// that could have started a code point. Python and Rust decode with replacement in the same way.
class Utf8Stream {
 public:
  std::string feed(std::string_view bytes);  // the text that is complete so far
  std::string finish();                      // the text of the bytes that are left

 private:
  std::string waiting_;
};

}  // namespace mnm
