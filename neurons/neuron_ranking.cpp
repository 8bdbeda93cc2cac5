#include "neurons/neuron_ranking.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "engine/engine.h"

namespace mnm {

void require_varied(const Examples& data) {
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(data.context));
  std::optional<std::int64_t> first;
  for (std::int64_t i = 0; i < data.count; ++i) {
    data.read_inputs(i, 1, std::as_writable_bytes(std::span(tokens)));
    if (!first) first = tokens.front();
    if (std::ranges::any_of(tokens, [&](std::int64_t token) { return token != *first; })) return;
  }
  fail(
      "cannot calibrate on {}: all of its {} tokens are token {}, which says nothing of how "
      "neurons "
      "differ; give it text of the kind that the model will read",
      data.name, data.count * data.context, *first);
}

std::vector<NeuronOrder> rank_neurons(const OpenedModel& opened, const ImportanceRow& row,
                                      const Examples* data, const DeviceOptions& device,
                                      const ProgressSink& progress) {
  std::vector<LayerNeurons> layers;
  for (std::size_t layer = 0; layer < opened.model.layers(); ++layer) {
    layers.push_back(neurons_of(opened.model, layer));
  }
  std::vector<NeuronOrder> orders(layers.size());
  const StatisticsSink rank = [&](std::size_t layer, const ChannelStatistics& statistics) {
    orders[layer] = order_by(importance_of(row, layers[layer], statistics, opened.checkpoint));
  };
  if (row.needs_data) {
    require_varied(*data);
    open_engine(device.device)
        .load(opened.model, opened.checkpoint, device)
        ->calibrate(*data, row.calibration, rank, progress);
    return orders;
  }
  Meter meter(progress, static_cast<double>(layers.size()), kEveryStep);
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    rank(layer, {});
    meter.add(1);
  }
  return orders;
}

}  // namespace mnm
