// The order in which a greedy algorithm leaves out the neurons of a layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mnm {

// `removal` is ChannelStatistics::removal, [n * each] squared, where n neurons have `each` channels
// that follow each other. Leaving out a set S costs the sum of the entries of its channels. Each
// step leaves out the neuron that makes this grow least; of equal ones the last. Returns the
// neurons in the order in which they go: what is left after any number of steps is a prefix of the
// reverse. Time n^2, and memory n^2 only if each > 1.
//
// The squared form of Puzzletron's iterative channel score (NVIDIA Model-Optimizer), which removes
// the channel that least increases the norm of the output's change.
std::vector<std::int32_t> greedy_removal(std::span<const float> removal, std::int64_t each);

}  // namespace mnm
