// NVIDIA's layout of a Llama whose layers differ. It has `block_configs`, as Llama-Nemotron
// checkpoints have it (architecture DeciLMForCausalLM, model_type nemotron-nas). vLLM,
// TensorRT-LLM, SGLang and mlx load it. The FFN of a layer is given by ffn_mult, a number from
// which every reader computes the width
//
//     int(2 * ffn_mult * hidden_size / 3), rounded up to a multiple of 256,
//
// in double precision. NVIDIA's own configuration class rounds ffn_mult to six decimals. Sources:
// vllm/model_executor/models/nemotron_nas.py; configuration_decilm.py, block_config.py and
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

// The width that readers compute. Error if it is larger than a Width can hold.
Width width_of_ffn_mult(double ffn_mult, std::int64_t hidden_size);

// The ffn_mult of a width, with six decimals, from which width_of_ffn_mult gives the width back. A
// width must be a multiple of 256. For another width, Error names the nearest ones that are.
double ffn_mult_of_width(Width width, std::int64_t hidden_size);

// The content of such a config, in LlamaConfig's spelling and ours (matformer_widths). Error, with
// the layer, if a block is left out, is replaced, or has another attention than the rest.
nlohmann::json llama_spelling(const nlohmann::json& config);

// The submodel in this layout. Error, with the reason, if the layout cannot express it.
HuggingFaceTexts llama_block_configs(const NestedModel& submodel);

}  // namespace mnm
