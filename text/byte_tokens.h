// SentencePiece's tokens that stand for single bytes, "<0x00>" to "<0xFF>". A character that has no
// token of its own is spelled with them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mnm {

std::string byte_token(unsigned char byte);
std::optional<unsigned char> byte_of_token(std::string_view token);

}  // namespace mnm
