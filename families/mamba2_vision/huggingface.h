// The submodel in its authors' names and keys, with what transformers needs to load it: no class of
// transformers' own computes it, so modeling_mixnmatch_mamba2_vision.py is always beside it
// (trust_remote_code). The authors' code takes the tensors of a model of full width, but no key of
// ours (docs/vision.md has the lines).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

// The submodel is nested itself: it states the granularities up to its widths.
nlohmann::json mamba2_vision_config(const NestedModel& model, const Widths& widths, Dtype dtype);
std::map<std::string, std::string> mamba2_vision_bridge();

}  // namespace mnm
