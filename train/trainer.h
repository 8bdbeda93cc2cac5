// The nested trainer, over any family's fold. Compiled only into the engine.
#pragma once

#include "eval/scores.h"
#include "model/nested_model.h"
#include "train/settings.h"

namespace mnm {

// Trains with AdamW on the losses of uniform submodels: of one granularity or of all in each step,
// as settings.schedule says.
//
// - Weights start from settings.seed. If settings.directory/state.safetensors exists, the run
//   continues from it exactly as if it had never stopped: weights and moments are stored in f32,
//   and batches and granularities are functions of the seed and the step.
// - The final model is written to settings.directory/model, a Hugging Face directory in bf16.
// - With device.dtype bf16, products run in bf16 under autocast; weights and moments stay in f32.
//
// Throws Interrupted, after writing the state, when the sink asks to stop. Error if a state was
// made with other settings, a loss is not finite, or the tokens do not fit the vocabulary.
void train_nested(const NestedModel& model, const TrainSettings& settings,
                  const DeviceOptions& device, const TrainSink& sink);

}  // namespace mnm
