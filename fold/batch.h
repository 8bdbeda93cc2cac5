// Sequences of a dataset as tensors on a device. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace mnm {

class Examples;

struct Batch {
  at::Tensor tokens;        // int64 [sequences, context]
  at::Tensor targets = {};  // the same; undefined where nothing is scored
  at::Tensor scored = {};   // int64 [sequences, positions], ascending; undefined: all
};

at::Tensor upload(const std::vector<std::int64_t>& values, const at::Device& device);
Batch batch_of(const Examples& dataset, std::int64_t begin, std::int64_t count,
               const at::Device& device);

}  // namespace mnm
