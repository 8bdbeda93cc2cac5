// The submodel in Hugging Face's terms: a ViTForImageClassification if all kept layers have one
// width. A submodel of mixed widths names modeling_mixnmatch_vit.py beside it (trust_remote_code).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "model/nested_model.h"

namespace mnm {

// The submodel is nested itself: it states the granularities up to its widths.
nlohmann::json vit_huggingface_config(const NestedModel& model, const Widths& widths, Dtype dtype);
std::map<std::string, std::string> vit_huggingface_bridge(const Widths& widths);

}  // namespace mnm
