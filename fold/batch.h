// Examples of a dataset as tensors on a device. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace mnm {

class Examples;
struct ExampleInputs;
struct InputSpec;

struct Batch {
  at::Tensor inputs;        // int64 [sequences, tokens], or f32 [images, channels, height, width]
  at::Tensor targets = {};  // int64 [examples, outputs]; undefined where nothing is scored
  at::Tensor scored = {};   // int64 [examples, scored outputs], ascending; undefined: all

  std::int64_t examples() const { return inputs.size(0); }
};

at::Tensor upload(const std::vector<std::int64_t>& values, const at::Device& device);
at::Tensor upload(const ExampleInputs& inputs, const at::Device& device);
// Room on the CPU for the inputs of so many examples.
at::Tensor empty_inputs(const InputSpec& each, std::int64_t count);
Batch batch_of(const Examples& dataset, std::int64_t begin, std::int64_t count,
               const at::Device& device);

}  // namespace mnm
