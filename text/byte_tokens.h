// SentencePiece's tokens for the bytes of characters that have none: "<0x00>" to "<0xFF>".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mnm {

std::string byte_token(unsigned char byte);
std::optional<unsigned char> byte_of_token(std::string_view token);

}  // namespace mnm
