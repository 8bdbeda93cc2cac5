// The order of a layer's neurons: which neuron comes to which place. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "neurons/neurons.h"

namespace mnm {

// order[place] = the neuron, counted as the checkpoint has them, that comes to this place.
using NeuronOrder = std::vector<std::int32_t>;

// The most important neuron first. Neurons of equal importance stay in their order. Error if an
// importance is not a number, with the neuron.
NeuronOrder order_by(std::span<const double> importance);

// Error unless the order has each of [0, neurons) once.
void require_bijection(const NeuronOrder& order, std::int64_t neurons);

NeuronOrder inverse_of(const NeuronOrder& order);

// For each index of the tensor's cut dimension, the index whose values come there.
std::vector<std::int32_t> sources_of(const NeuronTensor& tensor, const NeuronOrder& order);

}  // namespace mnm
