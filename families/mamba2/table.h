// A Mamba-2 layer as data: its mixer's tensors, which widths it may take, and what it costs. Models
// that have such layers share it.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "families/mamba2/config.h"
#include "model/nested_model.h"
#include "model/tensor_table.h"
#include "model/width_space.h"

namespace mnm {

// Appends tensors under one name prefix, for one layer (-1: none).
struct Mamba2Tensors {
  static constexpr double kProduct = 2;  // FLOPs per token and element of a product's operand

  TensorTable& table;
  std::string prefix;
  int layer = -1;

  TensorSpec& add(const std::string& name, std::vector<std::int64_t> shape, Init init,
                  double flops = 0) {
    TensorSpec& tensor = table.tensors.emplace_back();
    tensor.name = prefix + name;
    tensor.shape = std::move(shape);
    tensor.layer = layer;
    tensor.init = init;
    tensor.flops_per_element = flops;
    return tensor;
  }
  TensorSpec& norm(const std::string& name, std::int64_t size, std::int64_t groups) {
    TensorSpec& tensor = add(name, {size}, Init::kOne);
    tensor.norm_groups = static_cast<int>(groups);
    return tensor;
  }
  // As torch.nn.Linear and Conv1d begin: uniform within 1 / sqrt(fan in).
  TensorSpec& product(const std::string& name, std::vector<std::int64_t> shape,
                      std::int64_t fan_in) {
    TensorSpec& tensor = add(name, std::move(shape), Init::kUniform, kProduct);
    tensor.init_high = 1 / std::sqrt(static_cast<double>(fan_in));
    tensor.init_low = -tensor.init_high;
    return tensor;
  }
};

// Adds the tensors "mixer.*" under the writer's prefix, for its layer.
void add_mamba2_mixer(const Mamba2Config& config, Mamba2Tensors& to);

LayerChoices mamba2_choices(const Mamba2Config& config, std::size_t layer);
LayerMixing mamba2_mixing(const Mamba2Config& config);

}  // namespace mnm
