// The tokens that end a text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

namespace mnm {

// eos_token_id of the checkpoint's generation_config.json or, where that has none, of `config`, as
// transformers takes it: one id or several, in their order. Empty if neither says one.
std::vector<std::int64_t> end_tokens(const std::filesystem::path& checkpoint,
                                     const nlohmann::json& config);

}  // namespace mnm
