// From calibration data to the order of every layer's neurons.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "dataset/examples.h"
#include "eval/scores.h"
#include "families/open_model.h"
#include "neurons/importance.h"
#include "neurons/neuron_order.h"
#include "neurons/unfinished_ranking.h"

namespace mnm {

// Error if the data cannot rank neurons: all of its tokens, or pixels, are the same.
void require_varied(const Examples& data);

// The order of each layer's neurons by a score, [layers]. One pass of the model over the data,
// layer by layer, so the weights need not fit the memory (kTaylor: they and their gradients must).
// `data` is null exactly if the score needs none.
std::vector<NeuronOrder> rank_neurons(const OpenedModel& opened, const ImportanceRow& row,
                                      const Examples* data, const DeviceOptions& device,
                                      const ProgressSink& progress = {});

struct CompensatedRanking {
  std::vector<NeuronOrder> orders;
  // Of a model that is to be compensated: [layers][channels], of a, as the checkpoint has them.
  std::vector<std::vector<float>> means;
};

// What an earlier call had ranked, and who is told of each further layer, in their order.
struct ResumedRanking {
  std::span<const RankedLayer> layers{};  // the first ones of the model
  std::function<void(const RankedLayer& layer)> ranked{};
};

// The same on data, which `compensate` needs whatever the score, and from where an earlier call
// stopped. The layers that it had ranked are run and not measured, so that the ranking has the same
// bits. kTaylor measures all layers before the first is ranked. For a model that is to be
// compensated (Compensation in model/nested_model.h) there are means, and kIterative measures the
// error that is left when the mean of what goes is made up for. Error if a mean is no finite
// number.
CompensatedRanking rank_on(const OpenedModel& opened, const ImportanceRow& row, bool compensate,
                           const Examples& data, const DeviceOptions& device,
                           const ResumedRanking& resumed = {}, const ProgressSink& progress = {});

}  // namespace mnm
