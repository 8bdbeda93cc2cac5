// The token that a model reads where nothing comes before a text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "text/tokenizer_json.h"

namespace mnm {

// The token that tokenizer_config.json of the checkpoint, or special_tokens_map.json, calls
// bos_token, or else eos_token. lm-evaluation-harness takes the same. Nothing if they name neither,
// or a token that there is not.
std::optional<std::int32_t> prefix_token(const std::filesystem::path& directory,
                                         const TokenizerJson& tokenizer);

}  // namespace mnm
