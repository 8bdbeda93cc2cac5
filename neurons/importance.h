// Scores of how much a layer needs each of its neurons. docs/nest.md has their formulas and sources
// beside what they gained.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "eval/channel_statistics.h"
#include "model/checkpoint.h"
#include "neurons/neurons.h"

namespace mnm {

// a_c is channel c of what the down matrix W is multiplied with, W_c its column. If a neuron has
// several channels or rows, its score is their sum; of kL2 the root of the sum of their squares.
enum class ImportanceScore : std::uint8_t {
  kMagnitude,  // (largest + |smallest|) of each row of the matrices whose rows are cut
  kL2,         // sqrt of the sum over sequences of (mean over tokens of |a_c|)^2
  kChannel,    // norm2(W_c) * mean of |a_c|
  kWanda,      // mean over outputs of |W_ic| * norm2 of a_c over tokens
  kIterative,  // the place in a greedy removal: each step leaves out the neuron that makes the
               // squared error of the layer's output, summed over tokens, grow least
  kTaylor,     // sum of |gradient * weight| over all weights of the neuron
};

struct ImportanceRow {
  ImportanceScore score;
  std::string_view name;  // "magnitude"
  bool needs_data = true;
  CalibrationOptions calibration{};
};

std::span<const ImportanceRow> importance_table();
const ImportanceRow& importance_named(std::string_view name);  // UsageError lists them

// [neurons]: larger is more important. `statistics` is not read if the score needs no data. Reads
// the matrices that it needs in small parts. Error if a statistic is no finite number: it names the
// tensor and the channel, and what to do where `dtype`, that of the calibration, is narrower than
// f32.
std::vector<double> importance_of(const ImportanceRow& row, const LayerNeurons& neurons,
                                  const ChannelStatistics& statistics, const Checkpoint& checkpoint,
                                  Dtype dtype = Dtype::kF32);

// The end of a sentence about activations that overflow in this type: what to do.
std::string_view overflow_remedy(Dtype dtype);

}  // namespace mnm
