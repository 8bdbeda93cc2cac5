#include "neurons/neuron_ranking.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "base/error.h"
#include "engine/engine.h"

namespace mnm {

void require_varied(const Examples& data) {
  const InputSpec each = data.input();
  const auto width = static_cast<std::ptrdiff_t>(each.bytes()) / each.elements();
  std::vector<std::byte> first;  // the bytes of the first token or pixel
  for (std::int64_t i = 0; i < data.count; ++i) {
    const ExampleInputs inputs = inputs_of(data, i, 1);
    const std::span<const std::byte> bytes = inputs.bytes();
    if (first.empty()) first.assign(bytes.begin(), bytes.begin() + width);
    for (auto at = bytes.begin(); at != bytes.end(); at += width) {
      if (!std::equal(first.begin(), first.end(), at)) return;
    }
  }
  if (each.type == InputType::kPixels) {
    fail(
        "cannot calibrate on {}: all pixels of its {} images are the same, which says nothing of "
        "how neurons differ; give it images of the kind that the model will see",
        data.name, data.count);
  }
  std::int64_t token = 0;
  std::memcpy(&token, first.data(), sizeof token);
  fail(
      "cannot calibrate on {}: all of its {} tokens are token {}, which says nothing of how "
      "neurons differ; give it text of the kind that the model will read",
      data.name, data.count * data.context, token);
}

namespace {

void calibrate(const OpenedModel& opened, const Examples& data, const CalibrationOptions& options,
               const DeviceOptions& device, const StatisticsSink& sink,
               const ProgressSink& progress) {
  require_varied(data);
  open_engine(device.device)
      .load(opened.model, opened.checkpoint, device)
      ->calibrate(data, options, sink, progress);
}

// Of what the down matrix of a layer is multiplied with, [channels].
std::vector<float> means_of(const ChannelStatistics& statistics, const TensorSpec& down,
                            Dtype dtype) {
  std::vector<float> means;
  for (const double sum : statistics.sum) {
    means.push_back(static_cast<float>(sum / static_cast<double>(statistics.tokens)));
    if (std::isfinite(means.back())) continue;
    fail(
        "cannot compensate {}: the mean of its input {} is {}, so a weight is no number or the "
        "activations overflow; {}",
        down.name, means.size() - 1, means.back(), overflow_remedy(dtype));
  }
  return means;
}

}  // namespace

std::vector<NeuronOrder> rank_neurons(const OpenedModel& opened, const ImportanceRow& row,
                                      const Examples* data, const DeviceOptions& device,
                                      const ProgressSink& progress) {
  if (row.needs_data) return rank_on(opened, row, false, *data, device, {}, progress).orders;
  const std::vector<LayerNeurons> layers = neurons_of_layers(opened.model);
  std::vector<NeuronOrder> orders;
  Meter meter(progress, static_cast<double>(layers.size()), kEveryStep);
  for (const LayerNeurons& neurons : layers) {
    orders.push_back(order_by(importance_of(row, neurons, {}, opened.checkpoint, device.dtype)));
    meter.add(1);
  }
  return orders;
}

CompensatedRanking rank_on(const OpenedModel& opened, const ImportanceRow& row, bool compensate,
                           const Examples& data, const DeviceOptions& device,
                           const ResumedRanking& resumed, const ProgressSink& progress) {
  const std::vector<LayerNeurons> layers = neurons_of_layers(opened.model);
  CompensatedRanking ranking;
  const auto take = [&](RankedLayer layer) {
    ranking.orders.push_back(std::move(layer.order));
    if (compensate) ranking.means.push_back(std::move(layer.means));
  };
  for (const RankedLayer& layer : resumed.layers) take(layer);
  if (resumed.layers.size() == layers.size()) return ranking;
  CalibrationOptions options = row.calibration;
  if (compensate) options.activations = options.centred = true;
  options.first_layer = resumed.layers.size();
  const StatisticsSink rank = [&](std::size_t l, const ChannelStatistics& statistics) {
    RankedLayer layer{
        order_by(importance_of(row, layers[l], statistics, opened.checkpoint, device.dtype))};
    if (compensate) layer.means = means_of(statistics, *layers[l].down().spec, device.dtype);
    if (resumed.ranked) resumed.ranked(layer);
    take(std::move(layer));
  };
  calibrate(opened, data, options, device, rank, progress);
  return ranking;
}

}  // namespace mnm
