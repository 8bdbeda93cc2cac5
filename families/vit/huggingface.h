// The submodel in Hugging Face's terms: a ViTForImageClassification, or what its kind is there, if
// all kept layers have one width that its config can say. Dinov2Config has a whole mlp_ratio, so it
// says multiples of hidden_size. Any other submodel names modeling_mixnmatch_vit.py beside it
// (trust_remote_code).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "families/vit/config.h"
#include "model/nested_model.h"

namespace mnm {

// The submodel is nested itself: it states the granularities up to its widths.
nlohmann::json vit_huggingface_config(const NestedModel& model, const Widths& widths, Dtype dtype);
std::map<std::string, std::string> vit_huggingface_bridge(const NestedModel& model,
                                                          const Widths& widths);

// What native widths are multiples of.
Width vit_native_multiple(const VitConfig& config);

}  // namespace mnm
