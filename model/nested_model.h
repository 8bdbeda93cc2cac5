// A nested model as data: all that is known of it without touching a tensor.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/dtype.h"
#include "model/tensor_table.h"
#include "model/width_space.h"

namespace mnm {

// What one layer does besides products with its tensors.
struct LayerMixing {
  double flops_per_attended = 0;        // per token and attended position (attention: 4 * q size)
  double flops_per_width = 0;           // per token and unit of width (state-space scan)
  std::int64_t kv_per_token = 0;        // cached elements per token
  std::int64_t state_per_width = 0;     // cached elements per sequence and unit of width
  std::int64_t state_per_sequence = 0;  // the same, whatever the width
};

// The context of a model that knows no positions.
inline constexpr std::int64_t kAnyContext = std::numeric_limits<std::int32_t>::max();

struct NestedModel {
  std::string family;         // the registry's name: "llama"
  nlohmann::json config;      // config.json in Hugging Face's spelling, mostly as read
  Dtype dtype = Dtype::kF32;  // what the config says its tensors are stored in
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t max_context = 0;  // positions the config allows; kAnyContext: no limit
  bool tied_head = false;
  TensorTable table;
  WidthSpace space;
  std::vector<LayerMixing> mixing;  // [layers]

  std::size_t layers() const { return space.layers.size(); }
};

}  // namespace mnm
