// A Mamba-2 submodel as an ONNX graph. There is only a scorer. The cache of a decoder would be the
// states of the scan and the last inputs of the convolution.
#pragma once

#include "export/onnx_graph.h"
#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

OnnxModel mamba2_onnx(const NestedModel& submodel, Dtype stored);

}  // namespace mnm
