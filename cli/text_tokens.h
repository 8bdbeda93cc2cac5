// How a checkpoint's tokenizer turns a file of text into tokens.
#pragma once

#include <filesystem>
#include <functional>

#include "dataset/token_format.h"

namespace mnm {

// The result reads the tokenizer.json of `directory` when it is called for the first time.
std::function<TextTokens()> text_tokens(const std::filesystem::path& directory,
                                        std::int64_t vocab_size);

}  // namespace mnm
