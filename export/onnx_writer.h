// The ONNX writer: a directory that ONNX Runtime and onnxruntime-genai load.
//
//   scorer.onnx        input_ids or pixel_values -> logits: for scoring and for checking
//   model.onnx         the decoder with its cache, if the family has one: for generating
//   model.onnx.data    the weights of both, once
//   genai_config.json  what onnxruntime-genai must know of the decoder
//   tokenizer files    as the checkpoint has them
//
// Both graphs are always written. They are small without weights, and whoever gets the directory
// needs the scorer to check it and the decoder to use it.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "export/onnx.h"
#include "export/onnx_graph.h"
#include "export/target.h"
#include "model/nested_model.h"

namespace mnm {

inline constexpr const char* kOnnxScorer = "scorer.onnx";
inline constexpr const char* kOnnxDecoder = "model.onnx";
inline constexpr const char* kOnnxData = "model.onnx.data";
inline constexpr const char* kGenaiConfig = "genai_config.json";

struct OnnxOptions {
  Dtype dtype = Dtype::kF32;
  OnnxMetadata metadata;  // widths, source...
};

// Plans the export. `onnx` is what the family states (families/exporters.h), for the same widths
// and dtype. `config` is the submodel's, for the reader. UsageError if the space refuses the
// widths. Error if protobuf cannot hold the graphs.
std::unique_ptr<PlannedExport> plan_onnx(const NestedModel& model, const Checkpoint& checkpoint,
                                         const Widths& widths, const OnnxModel& onnx,
                                         nlohmann::json config, const OnnxOptions& options);

}  // namespace mnm
