// A Gemma 3n as ONNX graphs, at its full widths: a scorer, and a decoder whose cache holds the
// layers with keys and values of their own; the others read what these give. Every layer has its
// own table of inputs, since one table of all would have more than 2^31 elements.
#pragma once

#include "export/onnx_graph.h"
#include "model/nested_model.h"

namespace mnm {

OnnxModel gemma3n_onnx(const NestedModel& submodel, Dtype stored);

}  // namespace mnm
