// The submodel in Hugging Face's terms. Equal widths with Llama's own gate load with the class of
// the architecture; else config.json names a bridge beside it (trust_remote_code), which is
// modeling_mixnmatch_llama.py with that architecture's classes in the place of Llama's.
// transformers 5.23 has `per_layer_config` for such layers, but a Llama config that holds it is
// refused there.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "model/nested_model.h"

namespace mnm {

// The nested model's config with what the widths change. RoPE and dtype in both spellings, that of
// transformers 5 and the older: a reader that knows one only would fall back to theta 10000. The
// submodel is nested in turn: granularities up to its widths stay stated.
nlohmann::json llama_huggingface_config(const NestedModel& model, const Widths& widths,
                                        Dtype dtype);
std::map<std::string, std::string> llama_huggingface_bridge(const NestedModel& model,
                                                            const Widths& widths);

}  // namespace mnm
