// How a checkpoint's tokenizer turns a file of text into tokens.
#pragma once

#include <filesystem>
#include <functional>

#include "dataset/token_format.h"

namespace mnm {

// Reads the tokenizer.json of `directory` when it is first asked.
std::function<TextTokens()> text_tokens(const std::filesystem::path& directory,
                                        std::int64_t vocab_size);

}  // namespace mnm
