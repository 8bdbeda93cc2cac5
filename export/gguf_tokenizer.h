// A checkpoint's tokenizer as GGUF's metadata.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "export/gguf_model.h"

namespace mnm {

// `directory` may hold a tokenizer.json: byte-level BPE whose splits llama.cpp knows, or a
// SentencePiece vocabulary. Without one, or where `text` is false, a vocabulary is carried without
// text; but one of 256 is that of the bytes. `config`: the model's, which names the special tokens.
// Error, with the reason, for a tokenizer that GGUF cannot carry, or whose ids do not fit the
// vocabulary.
GgufFields gguf_tokenizer(const std::filesystem::path& directory, const nlohmann::json& config,
                          std::int64_t vocab_size, bool text = true);

}  // namespace mnm
