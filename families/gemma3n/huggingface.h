// Describes a submodel of a Gemma 3n as a Hugging Face directory. transformers' own classes load
// every one, since their config holds the width, the type and the sparsity of each layer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "model/checkpoint.h"
#include "model/nested_model.h"

namespace mnm {

// The nested model's config, with what the widths change. All five keys that do are written, since
// their defaults are wrong for most cuts: num_hidden_layers, intermediate_size, layer_types,
// num_kv_shared_layers and activation_sparsity_pattern. RoPE is written in both spellings.
nlohmann::json gemma3n_huggingface_config(const NestedModel& model, const Widths& widths,
                                          Dtype dtype);

// The config with what only the tensors say: whether the keys and values that nothing reads are
// there.
nlohmann::json gemma3n_completed(const nlohmann::json& config, const Checkpoint& checkpoint);

// The config of the text model alone.
nlohmann::json gemma3n_text_config(const NestedModel& model);

// Family::why_not_padded, pads_by_repeating. Where gates are clipped by their mean and spread,
// zeros would move both. Whole copies of the gates that are kept do not; they meet zeros in up.
std::string gemma3n_why_not_padded(const NestedModel& model, const Widths& widths);
bool gemma3n_pads_by_repeating(const NestedModel& model, const TensorSpec& spec);

}  // namespace mnm
