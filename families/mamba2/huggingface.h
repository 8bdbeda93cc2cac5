// The submodel in Hugging Face's terms. A Mamba2Config holds a whole number `expand`. So a
// Mamba2ForCausalLM has equal widths that are multiples of half of hidden_size: of MatMamba's
// granularities these are d and d/2. Any other submodel names modeling_mixnmatch_mamba2.py beside
// it (trust_remote_code).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "families/mamba2/config.h"
#include "model/nested_model.h"

namespace mnm {

// The config, in Hugging Face's spelling, of a model of `config`'s kind whose layers have the full
// widths `widths`. Skipped layers are left out. The keys are added to `base`.
nlohmann::json mamba2_huggingface_keys(const Mamba2Config& config, const Widths& widths,
                                       Dtype dtype, nlohmann::json base);

// The submodel is nested itself: it states the granularities up to its widths.
nlohmann::json mamba2_huggingface_config(const NestedModel& model, const Widths& widths,
                                         Dtype dtype);
std::map<std::string, std::string> mamba2_huggingface_bridge(const NestedModel& model,
                                                             const Widths& widths);

}  // namespace mnm
