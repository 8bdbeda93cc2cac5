// The submodel in Hugging Face's terms. With equal widths and Llama's own gate it is a
// LlamaForCausalLM. Else config.json names modeling_mixnmatch_llama.py beside it
// (trust_remote_code). transformers 5.23 has `per_layer_config` for such layers, but refuses a
// Llama config that holds it.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "model/nested_model.h"

namespace mnm {

inline constexpr std::string_view kBridgeModelType = "mixnmatch_llama";

// The nested model's config with the changes of the widths. RoPE and dtype are in both spellings,
// that of transformers 5 and the older one, because a reader that knows only one would fall back to
// theta 10000. The submodel is nested itself: it states the granularities up to its widths.
nlohmann::json llama_huggingface_config(const NestedModel& model, const Widths& widths,
                                        Dtype dtype);
std::map<std::string, std::string> llama_huggingface_bridge(const NestedModel& model,
                                                            const Widths& widths);

}  // namespace mnm
