// What calibration learns of a layer's inner channels. A channel is a column of the matrix whose
// columns the width cuts; a is what the matrix is multiplied with (Llama: the columns of down_proj,
// and act(gate(x)) * up(x)). Plain data: the engine measures it, and neurons/importance makes
// scores of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace mnm {

struct ChannelStatistics {
  // That were seen. Where the model reads images, a sequence is an image, and the last layer may
  // see fewer tokens of it than the others.
  std::int64_t sequences = 0, tokens = 0;
  // [channels], over the tokens:
  std::vector<double> sum, sum_abs, sum_square;
  // [channels], the sum over sequences of (the mean over the sequence's tokens of |a|)^2.
  std::vector<double> squared_means;
  // [channels * channels], row-major, symmetric: the sum over tokens of a_i a_j (W_i . W_j), where
  // W_i is column i. So the sum of the entries of a set of channels is the squared error, summed
  // over tokens, of leaving that set out, or, if centred, of putting its mean in its place. Empty
  // unless asked for; valid during the call only.
  std::span<const float> removal{};
  // For every tensor of the layer that the width cuts, by name: for each index of the cut dimension
  // the sum of |gradient * weight| over its elements. Empty unless asked for.
  std::map<std::string, std::vector<double>> saliency{};
};

struct CalibrationOptions {
  bool activations = true;      // sum to squared_means
  bool centred = false;         // removal is of a minus its mean over all tokens; with activations
  bool removal = false;         // takes 4 * channels^2 bytes, and as long as the layers themselves
  bool saliency = false;        // takes a backward pass of the whole model, whose weights must fit
  std::size_t first_layer = 0;  // layers before it are run, and not measured
};

// Gets the statistics of each measured layer once, in the order of the layers.
using StatisticsSink = std::function<void(std::size_t layer, const ChannelStatistics& statistics)>;

}  // namespace mnm
