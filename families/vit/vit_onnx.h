// A vision transformer as an ONNX graph:
//   pixel_values [batch, channels, height, width] f32 -> logits [batch, classes] f32
#pragma once

#include "export/onnx_graph.h"
#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

OnnxModel vit_onnx(const NestedModel& submodel, Dtype stored);

}  // namespace mnm
