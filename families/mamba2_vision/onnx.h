// MatMamba-Vision as an ONNX graph:
//   pixel_values [batch, channels, height, width] f32
//   -> logits [batch, classes] f32, features [batch, d] f32 (what the head reads)
#pragma once

#include "export/onnx_graph.h"
#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

OnnxModel mamba2_vision_onnx(const NestedModel& submodel, Dtype stored);

}  // namespace mnm
