// Where the neurons of a layer lie in its tensors. A neuron is the least that a width keeps or
// leaves: one neuron of an FFN, one head of Mamba-2. Exchanging two neurons in all tensors of a
// layer changes nothing that the layer computes, but for the order of its sums. Plain data, from
// the tensor table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/nested_model.h"

namespace mnm {

// One run of indices of a tensor's cut dimension that neurons share out: neuron i has the indices
// [begin + i * each, begin + (i + 1) * each).
struct NeuronRun {
  std::int64_t begin = 0;
  std::int64_t each = 1;
  friend bool operator==(const NeuronRun&, const NeuronRun&) = default;
};

struct NeuronTensor {
  const TensorSpec* spec = nullptr;  // of the model's table
  std::vector<NeuronRun> runs;       // ascending; indices in no run belong to no neuron
};

struct LayerNeurons {
  std::int64_t count = 0;             // neurons at full width
  std::vector<NeuronTensor> tensors;  // in table order

  // The matrix whose columns are cut: [outputs, channels]. Its channels are what calibration sees.
  const NeuronTensor& down() const;
  // Channels of down() that belong to one neuron.
  std::int64_t channels_each() const { return down().runs.front().each; }
};

// Error, with the reason, if the layer's neurons cannot be exchanged: only its full width is a
// model, a tensor is cut by the widths of several layers, or there is not one matrix whose columns
// are cut.
LayerNeurons neurons_of(const NestedModel& model, std::size_t layer);
std::vector<LayerNeurons> neurons_of_layers(const NestedModel& model);  // of all of them

}  // namespace mnm
