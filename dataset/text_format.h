// What a file of text is, where it is something other than the text of a corpus.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "dataset/token_format.h"

namespace mnm {

inline constexpr std::size_t kFormatSample = 1 << 20;  // bytes that a guess looks at

// Whether a sample of `bytes` is UTF-8 without control characters other than those of white space,
// and no byte of the file is zero.
bool is_text(std::string_view bytes);

// Whether `bytes` may be text of any encoding that contains ASCII, or such texts with a zero byte
// after each, as `mixnmatch tokenize` writes them for a model of bytes. No text begins with a zero
// byte, none is empty, and at most one byte in 256 is a control character.
bool is_documents(std::string_view bytes);

// Of a file for which is_text holds: kText with what it is. `help` says what to do about token ids
// written as text, JSON, a web page, or the pointer that Git LFS leaves in the place of a file. It
// is empty for other text.
Resemblance text_like(std::string_view bytes, const std::filesystem::path& path);

}  // namespace mnm
