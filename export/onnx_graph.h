// An ONNX graph as plain data. A family states its submodel in this form, mostly through
// onnx_builder.h, and export/onnx.h encodes it. No type of the ONNX library appears here.
// Operators: https://onnx.ai/onnx/operators, of the default domain at opset 17.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace mnm {

enum class OnnxType : std::uint8_t { kF32, kF16, kBF16, kI64, kBool };

// A size, or the name of one that is known at run time ("batch_size").
using OnnxDim = std::variant<std::int64_t, std::string>;

struct OnnxValueInfo {
  std::string name;
  OnnxType type = OnnxType::kF32;
  std::vector<OnnxDim> shape;
};

// A small tensor that is kept in the graph itself.
struct OnnxConstant {
  std::string name;
  OnnxType type = OnnxType::kF32;   // kI64 with integers, one of the floats else
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::variant<std::vector<float>, std::vector<std::int64_t>> values;
};

struct OnnxGraph;
using OnnxAttribute = std::variant<std::int64_t, float, std::string, OnnxType,
                                   std::vector<std::int64_t>, std::vector<float>,
                                   std::shared_ptr<const OnnxGraph>>;  // Loop, Scan, If: the body
using OnnxAttributes = std::map<std::string, OnnxAttribute>;

struct OnnxNode {
  std::string op;                    // "MatMul"
  std::string name;                  // "/layers.3/mlp/down_proj/Gemm"; no two alike
  std::vector<std::string> inputs;   // "": an optional one is left out
  std::vector<std::string> outputs;  // "/layers.3/mlp/down_proj/Gemm_output_0"
  OnnxAttributes attributes;
};

struct OnnxGraph {
  std::string name;
  std::vector<OnnxValueInfo> inputs, outputs;
  // Tensors of the slice plan, under the submodel's names, with the plan's shapes and in the type
  // that weights are stored in. The bytes lie outside the graph, once for all graphs of an export.
  std::vector<std::string> weights;
  std::vector<OnnxConstant> constants;
  std::vector<OnnxNode> nodes;  // each after what it reads
};

// A model that gives the next token again and again. Its cache is inputs and outputs, which have
// the names of onnxruntime-genai and Optimum:
//
//   input_ids, position_ids [batch, sequence], attention_mask [batch, past + sequence], int64
//   past_key_values.N.key, .value [batch, kv heads, past, head size]
//   -> logits [batch, sequence, vocabulary] f32, present.N.key, .value
struct OnnxDecoder {
  OnnxGraph graph;
  std::string genai_type;  // "model.type" of genai_config.json
  std::int64_t heads = 0, kv_heads = 0, head_size = 0;
  std::int64_t cached_layers = 0;  // that have a cache, the first ones; 0: all layers of the model
};

// The name of the n-th weight of a tensor that is written as several (OnnxModel::columns).
inline std::string onnx_part_name(const std::string& tensor, std::size_t part) {
  return tensor + "." + std::to_string(part);
}

// A submodel as ONNX graphs. Every tensor of the slice plan is a weight of the scorer, or several
// weights, unless it is unread. The scorer is
//   input_ids [batch, sequence] int64 -> logits [batch, sequence, vocabulary] f32, or
//   pixel_values [batch, channels, height, width] f32 -> logits [batch, classes] f32
struct OnnxModel {
  OnnxGraph scorer;
  std::optional<OnnxDecoder> decoder;
  // Matrices that are written as several weights of so many columns each: name in the submodel ->
  // columns. Runtimes count a tensor's elements in 32 bits here and there.
  std::map<std::string, std::int64_t> columns;
  // Tensors of the submodel that no output depends on. The files leave them out. These keys, merged
  // into config.json, make it that of a model without them.
  std::vector<std::string> unread = {};
  nlohmann::json without_unread = nlohmann::json::object();
};

}  // namespace mnm
