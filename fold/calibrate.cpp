#include "fold/calibrate.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fold/batch.h"
#include "fold/channel_sums.h"
#include "fold/kept_givens.h"
#include "fold/layer_step.h"
#include "fold/weight_saliency.h"

namespace mnm {
namespace {

// Rows of a batch, as those of a step elsewhere (fold/evaluator).
constexpr std::int64_t kHostRows = 1024, kDeviceRows = 32768;

// The matrix whose columns the width cuts, by name; empty if the layer has none.
std::string down_of(const NestedModel& model, std::size_t layer) {
  for (const TensorSpec& spec : model.table.tensors) {
    if (std::cmp_equal(spec.layer, layer) && spec.cut_dim == 1 && spec.shape.size() == 2) {
      return spec.name;
    }
  }
  return {};
}

// The pass over the data: states of all sequences, carried forward one layer at a time.
class Calibration {
 public:
  Calibration(const CalibrationInputs& inputs, const CalibrationOptions& options,
              const ProgressSink& progress)
      : inputs_(inputs),
        options_(options),
        each_(std::max<std::int64_t>(
            1, (inputs.room.device().is_cpu() ? kHostRows : kDeviceRows) / inputs.dataset.context)),
        batches_(static_cast<std::size_t>((inputs.dataset.count + each_ - 1) / each_)),
        meter_(progress, static_cast<double>(batches_ * inputs.model.layers())),
        givens_(inputs.room, batches_, inputs.model.layers()),
        states_(inputs.room, batches_) {
    for (std::size_t b = 0; b < batches_; ++b) {
      const std::int64_t begin = static_cast<std::int64_t>(b) * each_;
      const std::int64_t count = std::min(each_, inputs_.dataset.count - begin);
      const Embedded start =
          inputs_.fold.embed(batch_of(inputs_.dataset, begin, count, inputs_.room.device()));
      givens_.keep(b, start.givens);
      states_.open(b, 1, start.state);
      states_.write(b, 0, start.state);
    }
  }

  ChannelSums layer(std::size_t layer) {
    const bool measured = layer >= options_.first_layer;
    ChannelSums sums(inputs_.fold.shown_tokens(layer, inputs_.dataset.context), options_);
    if (inputs_.load) inputs_.fold.load(layer);
    for (std::size_t b = 0; b < batches_; ++b) {
      const State next = step_layer_shown(inputs_.fold, layer, givens_.of(b, layer),
                                          states_.read(b, 0, 1), [&](const at::Tensor& rows) {
                                            if (measured) sums.add(rows);
                                          });
      givens_.drop(b, layer);
      states_.close(b);
      states_.open(b, 1, next);
      states_.write(b, 0, next);
      meter_.add(1);
    }
    if (inputs_.load) inputs_.fold.unload(layer);
    return sums;
  }

 private:
  const CalibrationInputs& inputs_;
  const CalibrationOptions& options_;
  std::int64_t each_;  // sequences of a batch
  std::size_t batches_;
  Meter meter_;
  KeptGivens givens_;
  LevelStates states_;
};

}  // namespace

void calibrate(const CalibrationInputs& inputs, const CalibrationOptions& options,
               const StatisticsSink& sink, const ProgressSink& progress) {
  std::map<std::string, std::vector<double>> saliency;
  if (options.saliency) {
    saliency = weight_saliency(inputs.model, inputs.dataset, inputs.weight, inputs.room.device(),
                               progress);
  }
  const bool passes = options.activations || options.removal;
  const at::NoGradGuard no_grad;
  const std::size_t layers = inputs.model.layers();
  std::unique_ptr<Calibration> pass;
  if (passes) pass = std::make_unique<Calibration>(inputs, options, progress);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    ChannelSums sums(inputs.dataset.context, options);
    if (passes) sums = pass->layer(layer);
    if (layer < options.first_layer) continue;
    ChannelStatistics statistics = sums.statistics(
        options.removal ? inputs.weight(down_of(inputs.model, layer)) : at::Tensor());
    for (const TensorSpec& spec : inputs.model.table.tensors) {
      const auto found = saliency.find(spec.name);
      if (!std::cmp_equal(spec.layer, layer) || found == saliency.end()) continue;
      statistics.saliency.insert(std::move(*found));
    }
    sink(layer, statistics);
  }
}

}  // namespace mnm
