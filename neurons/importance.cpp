#include "neurons/importance.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <future>
#include <string>
#include <utility>

#include "base/error.h"
#include "extract/extract.h"
#include "neurons/greedy_removal.h"

namespace mnm {
namespace {

constexpr std::size_t kChunk = 1 << 16;  // elements of a matrix that are read at a time

constexpr ImportanceRow kTable[] = {
    {ImportanceScore::kMagnitude, "magnitude", false, {.activations = false}},
    {ImportanceScore::kL2, "l2"},
    {ImportanceScore::kChannel, "channel"},
    {ImportanceScore::kWanda, "wanda"},
    {ImportanceScore::kIterative, "iterative", true, {.activations = false, .removal = true}},
    {ImportanceScore::kTaylor, "taylor", true, {.activations = false, .saliency = true}},
};

// Calls take(row, column, values) for parts of the rows of a matrix, from `column` on, in order.
template <typename Take>
void for_each_part(const TensorSpec& spec, const Checkpoint& checkpoint, const Take& take) {
  TensorSlice slice;
  slice.spec = &spec;
  slice.name = spec.name;
  slice.shape = spec.shape;
  const auto columns = static_cast<std::size_t>(spec.shape.back());
  std::size_t at = 0;
  Extractor(checkpoint).stream(slice, kChunk, [&](std::span<float> values) {
    while (!values.empty()) {
      const std::size_t column = at % columns, n = std::min(columns - column, values.size());
      take(at / columns, column, std::span<const float>(values.first(n)));
      values = values.subspan(n);
      at += n;
    }
  });
}

// The largest and the smallest of some numbers, and whether one is none.
struct Extremes {
  float largest = -HUGE_VALF, smallest = HUGE_VALF;
  bool nan = false;
};

// Eight at once, so that the compiler makes vector code of it.
void add(std::span<const float> values, Extremes& to) {
  constexpr std::size_t kEach = 8;
  float largest[kEach], smallest[kEach], sums[kEach] = {};
  std::ranges::fill(largest, to.largest);
  std::ranges::fill(smallest, to.smallest);
  const auto add_one = [&](std::size_t lane, float value) {
    largest[lane] = value > largest[lane] ? value : largest[lane];
    smallest[lane] = value < smallest[lane] ? value : smallest[lane];
    sums[lane] += value * 0;  // NaN of NaN and of infinities, which are looked at below
  };
  std::size_t i = 0;
  for (; i + kEach <= values.size(); i += kEach) {
    for (std::size_t lane = 0; lane < kEach; ++lane) add_one(lane, values[i + lane]);
  }
  for (; i < values.size(); ++i) add_one(i % kEach, values[i]);
  to.largest = *std::ranges::max_element(largest);
  to.smallest = *std::ranges::min_element(smallest);
  const bool suspect = std::ranges::any_of(sums, [](float sum) { return std::isnan(sum); });
  if (suspect) {
    to.nan = to.nan || std::ranges::any_of(values, [](float value) { return std::isnan(value); });
  }
}

void require_finite(double value, const NeuronTensor& tensor, std::size_t channel, Dtype dtype) {
  if (std::isfinite(value)) return;
  fail(
      "cannot rank the neurons of {}: the calibration measured {} at its index {}, so a weight is "
      "no number or the activations overflow; {}",
      tensor.spec->name, value, channel, overflow_remedy(dtype));
}

// Sums of the values of each neuron's indices, over all runs.
std::vector<double> by_neuron(const NeuronTensor& tensor, std::int64_t count,
                              std::span<const double> values, Dtype dtype) {
  std::vector<double> sums(static_cast<std::size_t>(count), 0);
  for (const NeuronRun& run : tensor.runs) {
    for (std::int64_t i = 0; i < count * run.each; ++i) {
      const auto index = static_cast<std::size_t>(run.begin + i);
      require_finite(values[index], tensor, index, dtype);
      sums[static_cast<std::size_t>(i / run.each)] += values[index];
    }
  }
  return sums;
}

// Of each row, its largest element and the magnitude of its smallest.
std::vector<double> row_magnitudes(const TensorSpec& spec, const Checkpoint& checkpoint) {
  std::vector<Extremes> extremes(static_cast<std::size_t>(spec.shape[0]));
  for_each_part(spec, checkpoint, [&](std::size_t row, std::size_t, std::span<const float> values) {
    add(values, extremes[row]);
  });
  std::vector<double> sums;
  for (const Extremes& of_row : extremes) {
    const double smallest = of_row.smallest;
    sums.push_back(of_row.nan ? NAN : double{of_row.largest} + std::fabs(smallest));
  }
  return sums;
}

std::vector<double> magnitude(const LayerNeurons& neurons, const Checkpoint& checkpoint) {
  // Each tensor by a thread of its own: a layer has one or two of them.
  std::vector<std::pair<const NeuronTensor*, std::future<std::vector<double>>>> parts;
  for (const NeuronTensor& tensor : neurons.tensors) {
    if (tensor.spec->cut_dim != 0 || tensor.spec->shape.size() != 2) continue;
    parts.emplace_back(&tensor, std::async(std::launch::async, row_magnitudes,
                                           std::cref(*tensor.spec), std::cref(checkpoint)));
  }
  std::vector<double> sums(static_cast<std::size_t>(neurons.count), 0);
  for (auto& [tensor, of_rows] : parts) {
    const std::vector<double> own = by_neuron(*tensor, neurons.count, of_rows.get(), Dtype::kF32);
    std::ranges::transform(sums, own, sums.begin(), std::plus<>());
  }
  return sums;
}

// [channels] of W: the square root of the sums of squares of the columns, or the means of their
// absolute values.
std::vector<double> column_norms(const TensorSpec& down, const Checkpoint& checkpoint,
                                 bool squares) {
  std::vector<double> sums(static_cast<std::size_t>(down.shape[1]), 0);
  for_each_part(down, checkpoint,
                [&](std::size_t, std::size_t column, std::span<const float> values) {
                  for (const float value : values) {
                    const double v = value;
                    sums[column++] += squares ? v * v : std::fabs(v);
                  }
                });
  for (double& sum : sums)
    sum = squares ? std::sqrt(sum) : sum / static_cast<double>(down.shape[0]);
  return sums;
}

std::vector<double> products(std::span<const double> a, std::span<const double> b) {
  std::vector<double> out(a.size());
  std::ranges::transform(a, b, out.begin(), std::multiplies<>());
  return out;
}

std::vector<double> root(std::vector<double> values) {
  for (double& value : values) value = std::sqrt(value);
  return values;
}

std::vector<double> iterative(const LayerNeurons& neurons, const ChannelStatistics& statistics,
                              Dtype dtype) {
  const auto channels = static_cast<std::size_t>(neurons.count * neurons.channels_each());
  for (std::size_t c = 0; c < channels; ++c) {
    require_finite(statistics.removal[c * channels + c], neurons.down(), c, dtype);
  }
  const std::vector<std::int32_t> gone =
      greedy_removal(statistics.removal, neurons.channels_each());
  std::vector<double> importance(gone.size());
  for (std::size_t step = 0; step < gone.size(); ++step) {
    importance[static_cast<std::size_t>(gone[step])] = static_cast<double>(step);
  }
  return importance;
}

std::vector<double> taylor(const LayerNeurons& neurons, const ChannelStatistics& statistics) {
  std::vector<double> sums(static_cast<std::size_t>(neurons.count), 0);
  for (const NeuronTensor& tensor : neurons.tensors) {
    const std::vector<double> own =
        by_neuron(tensor, neurons.count, statistics.saliency.at(tensor.spec->name), Dtype::kF32);
    std::ranges::transform(sums, own, sums.begin(), std::plus<>());
  }
  return sums;
}

}  // namespace

std::span<const ImportanceRow> importance_table() { return kTable; }

const ImportanceRow& importance_named(std::string_view name) {
  const auto found = std::ranges::find(kTable, name, &ImportanceRow::name);
  if (found != std::end(kTable)) return *found;
  std::vector<std::string_view> names;
  for (const ImportanceRow& row : kTable) names.push_back(row.name);
  fail_usage("no score of importance is called '{}': there are {}", name, fmt::join(names, ", "));
}

std::string_view overflow_remedy(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF64
             ? "look at the weights, or calibrate on other data"
             : "calibrate in f32 (--dtype f32), or on other data";
}

std::vector<double> importance_of(const ImportanceRow& row, const LayerNeurons& neurons,
                                  const ChannelStatistics& statistics, const Checkpoint& checkpoint,
                                  Dtype dtype) {
  const NeuronTensor& down = neurons.down();
  const auto summed = [&](std::span<const double> values) {
    return by_neuron(down, neurons.count, values, dtype);
  };
  switch (row.score) {
    case ImportanceScore::kMagnitude:
      return magnitude(neurons, checkpoint);
    case ImportanceScore::kL2:
      return root(summed(statistics.squared_means));
    case ImportanceScore::kChannel: {
      std::vector<double> means = statistics.sum_abs;
      for (double& mean : means) mean /= static_cast<double>(statistics.tokens);
      return summed(products(column_norms(*down.spec, checkpoint, true), means));
    }
    case ImportanceScore::kWanda:
      return summed(
          products(column_norms(*down.spec, checkpoint, false), root(statistics.sum_square)));
    case ImportanceScore::kIterative:
      return iterative(neurons, statistics, dtype);
    case ImportanceScore::kTaylor:
      return taylor(neurons, statistics);
  }
  fail("score of importance without a formula");
}

}  // namespace mnm
