// NVIDIA's layout of a Llama whose layers differ: `block_configs`, as Llama-Nemotron checkpoints
// have it (architecture DeciLMForCausalLM, model_type nemotron-nas) and vLLM, TensorRT-LLM, SGLang
// and mlx load it. A layer's FFN is given by ffn_mult, a number from which every reader computes
// the width
//     int(2 * ffn_mult * hidden_size / 3), rounded up to a multiple of 256,
// in double precision, with ffn_mult rounded to six decimals by NVIDIA's own configuration class.
// Sources: vllm/model_executor/models/nemotron_nas.py; configuration_decilm.py, block_config.py and
// config.json of nvidia/Llama-3_3-Nemotron-Super-49B-v1.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "families/exporters.h"

namespace mnm {

inline constexpr std::string_view kDeciLmModelType = "nemotron-nas";
inline constexpr std::string_view kDeciLmArchitecture = "DeciLMForCausalLM";
inline constexpr Width kDeciLmMultiple = 256;

// The readers' rule. Error where the width is past what a Width holds.
Width width_of_ffn_mult(double ffn_mult, std::int64_t hidden_size);

// The ffn_mult of a width, of six decimals: width_of_ffn_mult gives the width back. Error names the
// nearest widths that have one, where this has none: it must be a multiple of 256.
double ffn_mult_of_width(Width width, std::int64_t hidden_size);

// What such a config says, in LlamaConfig's spelling and ours (matformer_widths). Error, naming the
// layer, where a block is left out, replaced or attends otherwise, or blocks attend in different
// groups.
nlohmann::json llama_spelling(const nlohmann::json& config);

// The submodel in this layout. Error, with the reason, where it cannot say it.
HuggingFaceTexts llama_block_configs(const NestedModel& submodel);

}  // namespace mnm
