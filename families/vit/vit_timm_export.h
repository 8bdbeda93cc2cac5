// The submodel in timm's terms: a VisionTransformer, or of a distilled DeiT a
// VisionTransformerDistilled. Both have one width for all layers.
#pragma once

#include <string>

#include "export/timm_model.h"
#include "model/nested_model.h"

namespace mnm {

// Error if layers differ in width. timm's LayerNorms have epsilon 1e-6, so another one of the model
// is a part of `in_timm`.
TimmModel vit_timm(const NestedModel& submodel);

// timm's class that loads submodels of this model.
std::string vit_timm_class(const NestedModel& model);

}  // namespace mnm
