// Describes a submodel as a Hugging Face directory.
//
// - If all widths are equal and the gate is Llama's, transformers loads it with the class of the
//   architecture.
// - Else config.json names a bridge, which lies beside it and is loaded with trust_remote_code. The
//   bridge is modeling_mixnmatch_llama.py with that architecture's classes in the place of Llama's.
//
// transformers 5.23 also has `per_layer_config` for layers that differ. It is not used, because
// transformers refuses a Llama config that holds it.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "model/nested_model.h"

namespace mnm {

// The nested model's config, with what the widths change. RoPE and dtype are written in the
// spelling of transformers 5 and in the older one, because a reader that does not find the spelling
// that it knows takes theta 10000. The submodel is itself nested: the config states the
// granularities up to its widths.
nlohmann::json llama_huggingface_config(const NestedModel& model, const Widths& widths,
                                        Dtype dtype);
std::map<std::string, std::string> llama_huggingface_bridge(const NestedModel& model,
                                                            const Widths& widths);

// The same of a model at its full widths, with the key per_layer_config for layers that differ, for
// the class that the hub's libraries have. Error for a gate that they have not.
nlohmann::json llama_per_layer_config(const NestedModel& model);

}  // namespace mnm
