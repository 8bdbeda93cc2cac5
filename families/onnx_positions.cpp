#include "families/onnx_positions.h"

#include <vector>

#include "families/bicubic.h"

namespace mnm {
namespace {

// [to, from] as a constant, computed in f32.
OnnxValue matrix(OnnxBuilder& graph, const std::string& name, std::int64_t from, std::int64_t to,
                 bool antialias) {
  const std::vector<double> values = bicubic_matrix(from, to, antialias);
  return graph.reshape(
      graph.vector(name, std::vector<float>(values.begin(), values.end()), OnnxType::kF32),
      {to, from});
}

}  // namespace

OnnxValue onnx_patch_positions(OnnxBuilder& graph, const ImagePatches& image,
                               const OnnxValue& learned, std::int64_t d) {
  if (!image.resized()) return learned;
  const auto scope = graph.scope("resized_positions");
  const OnnxValue rows = matrix(graph, "rows", image.learned_rows(), image.rows(), image.antialias);
  const OnnxValue columns =
      matrix(graph, "columns", image.learned_columns(), image.columns(), image.antialias);
  const OnnxValue grid = graph.reshape(graph.cast(learned, graph.type(), OnnxType::kF32),
                                       {image.learned_rows(), image.learned_columns() * d});
  const OnnxValue down = graph.op("MatMul", {rows, grid});
  const OnnxValue all = graph.op(
      "MatMul", {columns, graph.reshape(down, {image.rows(), image.learned_columns(), d})});
  return graph.cast(graph.reshape(all, {1, image.patches(), d}), OnnxType::kF32, graph.type());
}

}  // namespace mnm
