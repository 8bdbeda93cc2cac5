// How much the loss depends on each weight that a width cuts, to first order. Compiled only into
// the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "dataset/examples.h"
#include "fold/fold.h"

namespace mnm {

// By the name of each cut tensor: for each index of its cut dimension the sum of |gradient *
// weight| over its elements, where the gradient is that of the mean loss over the data. Holds all
// weights and the gradients of the cut ones, in f32. LLM-Pruner, arXiv 2305.11627, eq. 5 without
// its second term.
std::map<std::string, std::vector<double>> weight_saliency(const NestedModel& model,
                                                           const Examples& dataset,
                                                           const WeightSource& weight,
                                                           const at::Device& device,
                                                           const ProgressSink& progress);

}  // namespace mnm
