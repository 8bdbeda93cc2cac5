// The nested trainer, over any family's fold. Compiled only into the engine.
#pragma once

#include "eval/scores.h"
#include "model/nested_model.h"
#include "train/settings.h"

namespace mnm {

// MatFormer's training (Devvrit et al. 2023, section 3.2): every step draws one granularity for the
// whole model. Weights start from settings.seed, or from the last checkpoint in
// settings.directory, after which the run continues exactly as if it had never stopped (same
// weights, moments, generator and batches). The final model is written there as a Hugging Face
// directory in bf16.
void train_nested(const NestedModel& model, const TrainSettings& settings,
                  const DeviceOptions& device, const TrainSink& sink);

}  // namespace mnm
