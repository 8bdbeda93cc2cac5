// Layers that several families have, over the graph builder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "export/onnx_builder.h"

namespace mnm {

// x [rows, columns] times the transpose of the checkpoint's matrix NAME.weight [out, columns], plus
// NAME.bias [out] if there is one -> [rows, out]. The matrix keeps the checkpoint's layout;
// runtimes pack it when they load it.
OnnxValue onnx_linear(OnnxBuilder& graph, const OnnxValue& x, const std::string& name, bool bias);

// x / rms(x) * (offset + weight) over the last dimension, computed in f32.
OnnxValue onnx_rms_norm(OnnxBuilder& graph, const OnnxValue& x, const std::string& weight,
                        double epsilon, double offset = 0);

// LayerNorm over the last dimension, with NAME.weight and NAME.bias, computed in f32.
OnnxValue onnx_layer_norm(OnnxBuilder& graph, const OnnxValue& x, const std::string& name,
                          double epsilon);

// pixels [batch, channels, height, width] f32 in patches of that size, with NAME.weight [d,
// channels, patch_height, patch_width] and NAME.bias [d] -> [batch, patches, d], in raster order.
OnnxValue onnx_patch_embedding(OnnxBuilder& graph, const OnnxValue& pixels, const std::string& name,
                               std::int64_t d, std::int64_t patch_height, std::int64_t patch_width);

// x [1, ..] of the shape `rest`, once for each of the first dimension of `batch`: [batch, rest..].
OnnxValue onnx_for_each(OnnxBuilder& graph, const OnnxValue& x, const OnnxValue& batch,
                        std::vector<std::int64_t> rest);

OnnxValue onnx_silu(OnnxBuilder& graph, const OnnxValue& x);
OnnxValue onnx_gelu(OnnxBuilder& graph, const OnnxValue& x);       // x * Phi(x), by erf
OnnxValue onnx_gelu_tanh(OnnxBuilder& graph, const OnnxValue& x);  // the tanh approximation

}  // namespace mnm
