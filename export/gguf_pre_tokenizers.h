// llama.cpp's names for the ways to split text: `tokenizer.ggml.pre`.
#pragma once

#include <optional>
#include <string>

#include "text/tokenizer_json.h"

namespace mnm {

// The name for a byte-level tokenizer. Under this name, llama-vocab.cpp of llama-cpp-python 0.3.36
// splits text by the same expressions. It also agrees in whether a piece that is a token is taken
// whole. Nothing if there is no such name.
std::optional<std::string> gguf_pre_tokenizer(const TokenizerJson& tokenizer);

}  // namespace mnm
