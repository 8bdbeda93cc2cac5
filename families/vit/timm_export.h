// The submodel in timm's terms: a VisionTransformer, or of a distilled DeiT a
// VisionTransformerDistilled. Both have one width for all layers.
#pragma once

#include <string>

#include "export/timm_model.h"
#include "families/vit/config.h"
#include "model/nested_model.h"

namespace mnm {

// Why timm has no such model at any widths; empty: it has.
std::string vit_why_not_timm(const VitConfig& config);

// Error if layers differ in width, or if vit_why_not_timm() says why not. timm's LayerNorms have
// epsilon 1e-6, so another one of the model is a part of `in_timm`.
TimmModel vit_timm(const NestedModel& submodel);

// timm's class that loads submodels of this model.
std::string vit_timm_class(const NestedModel& model);

}  // namespace mnm
