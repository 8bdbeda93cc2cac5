// The 256 letters that stand for bytes in byte-level vocabularies (GPT-2's and later ones). A
// printable Latin-1 character stands for itself. The other bytes have letters from U+0100 on, in
// order.
#pragma once

#include <string>
#include <string_view>

namespace mnm {

std::string byte_letter(unsigned char byte);  // as UTF-8

// The bytes that the letters of a token stand for. If a character is no such letter, the token
// itself.
std::string bytes_of_letters(std::string_view token);

}  // namespace mnm
