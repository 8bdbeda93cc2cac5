// A vision transformer as an ONNX graph:
//   pixel_values [batch, channels, height, width] f32 -> logits [batch, classes] f32,
//      features [batch, hidden_size] f32 (what the head reads; of a distilled DeiT both tokens, of
//      DINOv2 the class token and the mean of the patches: [batch, 2 * hidden_size])
#pragma once

#include "export/onnx_graph.h"
#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

OnnxModel vit_onnx(const NestedModel& submodel, Dtype stored);

}  // namespace mnm
