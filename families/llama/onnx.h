// A Llama-style submodel as ONNX graphs.
#pragma once

#include "export/onnx_graph.h"
#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

OnnxModel llama_onnx(const NestedModel& submodel, Dtype stored);

}  // namespace mnm
