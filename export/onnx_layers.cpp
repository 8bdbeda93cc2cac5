#include "export/onnx_layers.h"

#include <cmath>
#include <numbers>

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
