// Vision transformers as data: what a checkpoint of transformers' ViTForImageClassification holds,
// how widths cut it, and what it costs.
//
// The first token is the class token, and only it is read after the last layer (of a distilled DeiT
// also the second). So the last layer computes queries, the output of attention and the MLP for
// this token alone, unless the layer may be skipped: then the states before and after it must have
// the same tokens. FLOPs per position are means over the tokens of an image.
#pragma once

#include <nlohmann/json.hpp>

#include "families/nesting.h"
#include "model/nested_model.h"

namespace mnm {

// Errors as parse_vit_config() has them (families/vit/vit_config.h). vocab_size is the number of
// classes.
NestedModel describe_vit(const nlohmann::json& config, const Nesting& nesting);

// Whether the last layer computes the class token alone.
bool vit_reads_class_token_alone(const NestedModel& model);

}  // namespace mnm
