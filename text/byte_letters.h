// The 256 letters that stand for bytes in byte-level vocabularies (GPT-2's, and all that came after
// it): printable Latin-1 stands for itself, the others are numbered from U+0100 on, in order.
#pragma once

#include <string>
#include <string_view>

namespace mnm {

std::string byte_letter(unsigned char byte);  // as UTF-8

// The bytes that a token's letters stand for; the token itself where one of them is no such letter.
std::string bytes_of_letters(std::string_view token);

}  // namespace mnm
