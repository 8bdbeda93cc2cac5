#include "export/onnx_layers.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace mnm {

OnnxValue onnx_linear(OnnxBuilder& graph, const OnnxValue& x, const std::string& name, bool bias) {
  std::vector<OnnxValue> inputs = {x, graph.weight(name + ".weight")};
  if (bias) inputs.push_back(graph.weight(name + ".bias"));
  return graph.op("Gemm", inputs, {{"transB", std::int64_t{1}}});
}

// Operator by operator as runtimes look for it to fuse it into one.
OnnxValue onnx_rms_norm(OnnxBuilder& graph, const OnnxValue& x, const std::string& weight,
                        double epsilon, double offset) {
  constexpr OnnxType kType = OnnxType::kF32;
  const OnnxValue in = graph.cast(x, graph.type(), kType);
  const OnnxValue square = graph.op("Pow", {in, graph.number(2, kType)});
  const OnnxValue mean =
      graph.op("ReduceMean", {square},
               {{"axes", std::vector<std::int64_t>{-1}}, {"keepdims", std::int64_t{1}}});
  const OnnxValue root = graph.op("Sqrt", {graph.add(mean, graph.number(epsilon, kType))});
  const OnnxValue normal = graph.op("Div", {in, root});
  OnnxValue factor = graph.weight(weight, kType);
  if (offset != 0) factor = graph.add(factor, graph.number(offset, kType));
  return graph.cast(graph.mul(normal, factor), kType, graph.type());
}

OnnxValue onnx_layer_norm(OnnxBuilder& graph, const OnnxValue& x, const std::string& name,
                          double epsilon) {
  constexpr OnnxType kType = OnnxType::kF32;
  const OnnxValue normal =
      graph.op("LayerNormalization",
               {graph.cast(x, graph.type(), kType), graph.weight(name + ".weight", kType),
                graph.weight(name + ".bias", kType)},
               {{"axis", std::int64_t{-1}}, {"epsilon", static_cast<float>(epsilon)}});
  return graph.cast(normal, kType, graph.type());
}

OnnxValue onnx_patch_embedding(OnnxBuilder& graph, const OnnxValue& pixels, const std::string& name,
                               std::int64_t d, std::int64_t patch_height,
                               std::int64_t patch_width) {
  const std::vector<std::int64_t> patch = {patch_height, patch_width};
  const OnnxValue projected =
      graph.op("Conv",
               {graph.cast(pixels, OnnxType::kF32, graph.type()), graph.weight(name + ".weight"),
                graph.weight(name + ".bias")},
               {{"kernel_shape", patch}, {"strides", patch}});
  return graph.transpose(graph.reshape(projected, {0, d, -1}), {0, 2, 1});
}

OnnxValue onnx_for_each(OnnxBuilder& graph, const OnnxValue& x, const OnnxValue& batch,
                        std::vector<std::int64_t> rest) {
  const OnnxValue count = graph.dimensions(graph.op("Shape", {batch}), {0});
  const OnnxValue shape = graph.concat({count, graph.integers(std::move(rest))}, 0);
  return graph.op("Expand", {x, shape});
}

OnnxValue onnx_silu(OnnxBuilder& graph, const OnnxValue& x) {
  return graph.mul(x, graph.op("Sigmoid", {x}));
}

OnnxValue onnx_gelu(OnnxBuilder& graph, const OnnxValue& x) {
  const OnnxValue erf = graph.op("Erf", {graph.op("Div", {x, graph.number(std::numbers::sqrt2)})});
  return graph.mul(graph.mul(x, graph.add(erf, graph.number(1))), graph.number(0.5));
}

OnnxValue onnx_gelu_tanh(OnnxBuilder& graph, const OnnxValue& x) {
  const OnnxValue cube = graph.mul(graph.mul(x, x), x);
  const OnnxValue inner = graph.add(x, graph.mul(cube, graph.number(0.044715)));
  const double scale = std::sqrt(2 / std::numbers::pi);
  const OnnxValue tanh = graph.op("Tanh", {graph.mul(inner, graph.number(scale))});
  return graph.mul(graph.mul(x, graph.add(tanh, graph.number(1))), graph.number(0.5));
}

}  // namespace mnm
