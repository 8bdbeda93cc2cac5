// AdamW (Loshchilov and Hutter 2019) after clipping by the global norm. Compiled only into the
// engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "train/settings.h"
#include "train/state.h"

namespace mnm {

// Updates the weights and both moments of `state` for its step state.step, and returns the global
// norm of the gradients before clipping. `gradients` has one f32 tensor per weight, or an undefined
// one where none reached the weight: such a weight and its moments stay as they are. `decayed` says
// which weights decay. Does not count the step. If the norm is no finite number, nothing is
// updated.
double update_weights(TrainState& state, const TrainSettings& settings,
                      const std::vector<at::Tensor>& gradients, const std::vector<bool>& decayed);

}  // namespace mnm
