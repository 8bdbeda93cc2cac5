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
  // Of examples with runs (ScoredRuns): the run of each scored output, int64 [outputs of all runs].
  // Then `scored` is flat, [outputs], among examples * outputs of one example, as are the targets.
  at::Tensor run_of = {};
  std::int64_t runs = 0;
  // Of tokens that branch (ExampleBranches). Undefined: an example is one sequence.
  at::Tensor sequences = {};  // int64 [branches, longest]: the tokens of each sequence, by their
                              // places among all of the batch; behind its end, any of them
  at::Tensor places = {};     // int64 [examples * tokens]: where each token is among [branches *
                              // longest]

  std::int64_t examples() const { return inputs.size(0); }
  std::int64_t values() const { return run_of.defined() ? runs : examples(); }  // of each metric
};

at::Tensor upload(const std::vector<std::int64_t>& values, const at::Device& device);
at::Tensor upload(const ExampleInputs& inputs, const at::Device& device);
// Room on the CPU for the inputs of so many examples.
at::Tensor empty_inputs(const InputSpec& each, std::int64_t count);
Batch batch_of(const Examples& dataset, std::int64_t begin, std::int64_t count,
               const at::Device& device);

}  // namespace mnm
