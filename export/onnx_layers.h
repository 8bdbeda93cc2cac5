// Layers that several families have, over the graph builder.
#pragma once

#include <cstdint>
#include <string>

#include "export/onnx_builder.h"

namespace mnm {

// x [rows, columns] times the transpose of the checkpoint's matrix NAME.weight [out, columns], plus
// NAME.bias [out] if there is one -> [rows, out]. The matrix keeps the checkpoint's layout;
// runtimes pack it when they load it.
OnnxValue onnx_linear(OnnxBuilder& graph, const OnnxValue& x, const std::string& name, bool bias);

// x / rms(x) * (offset + weight) over the last dimension, computed in f32.
OnnxValue onnx_rms_norm(OnnxBuilder& graph, const OnnxValue& x, const std::string& weight,
                        double epsilon, double offset = 0);

OnnxValue onnx_silu(OnnxBuilder& graph, const OnnxValue& x);
OnnxValue onnx_gelu(OnnxBuilder& graph, const OnnxValue& x);       // x * Phi(x), by erf
OnnxValue onnx_gelu_tanh(OnnxBuilder& graph, const OnnxValue& x);  // the tanh approximation

}  // namespace mnm
