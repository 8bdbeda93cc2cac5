// Vision transformers as data: what a checkpoint of transformers' ViTForImageClassification, or of
// its relatives' classes, holds, how widths cut it, and what it costs.
//
// The last layer computes queries, the output of attention and the MLP for those tokens alone that
// are read after it: the class token, of a distilled DeiT also the second one, of DINOv2 all. If
// the layer may be skipped it computes all tokens, since the states before and after it must have
// the same. FLOPs per position are means over the tokens of an image.
#pragma once

#include <nlohmann/json.hpp>

#include "families/nesting.h"
#include "families/vit/config.h"
#include "model/nested_model.h"

namespace mnm {

// Errors as parse_vit_config() has them (families/vit/config.h). vocab_size is the number of
// classes.
NestedModel describe_vit(const nlohmann::json& config, const Nesting& nesting);

// How many tokens, from the first on, the last layer computes.
std::int64_t vit_last_tokens(const VitConfig& config, const NestedModel& model);

}  // namespace mnm
