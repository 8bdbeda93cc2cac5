// llama.cpp's names for the ways to split text: `tokenizer.ggml.pre`.
#pragma once

#include <optional>
#include <string>

#include "text/tokenizer_json.h"

namespace mnm {

// Of a byte-level tokenizer: the name under which llama.cpp 0.3.36's llama-vocab.cpp splits text by
// the same expressions, and takes whole pieces that are tokens, or not. Nothing where it has none.
std::optional<std::string> gguf_pre_tokenizer(const TokenizerJson& tokenizer);

}  // namespace mnm
