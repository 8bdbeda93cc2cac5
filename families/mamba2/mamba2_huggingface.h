// The submodel in Hugging Face's terms. Mamba2Config holds a whole `expand`, so a Mamba2ForCausalLM
// has equal widths of half a multiple of hidden_size: d and d/2 of MatMamba's. Everything else
// names modeling_mixnmatch_mamba2.py beside it (trust_remote_code).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "families/mamba2/mamba2_config.h"
#include "model/nested_model.h"

namespace mnm {

// The config of a model of `config`'s kind whose layers have the full widths `widths`, those that
// are skipped left out, over what `base` says besides, in Hugging Face's spelling.
nlohmann::json mamba2_huggingface_keys(const Mamba2Config& config, const Widths& widths,
                                       Dtype dtype, nlohmann::json base);

// The submodel is nested in turn: granularities up to its widths stay stated.
nlohmann::json mamba2_huggingface_config(const NestedModel& model, const Widths& widths,
                                         Dtype dtype);
std::map<std::string, std::string> mamba2_huggingface_bridge(const NestedModel& model,
                                                             const Widths& widths);

}  // namespace mnm
