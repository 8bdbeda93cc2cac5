// The nested trainer, over any family's fold. Compiled only into the engine.
#pragma once

#include "eval/scores.h"
#include "model/nested_model.h"
#include "train/settings.h"

namespace mnm {

// AdamW on losses of granularities that are uniform over the model: of one or of all in a step, as
// settings.schedule says. Weights start from settings.seed, or from
// settings.directory/state.safetensors, after which the run continues exactly as if it had never
// stopped: weights and moments are stored in f32, and batches and granularities are functions of
// the seed and the step. The final model is written to settings.directory/model as a Hugging Face
// directory in bf16. With device.dtype bf16 products run in bf16 under autocast; weights and
// moments stay f32.
//
// Throws Stopped, after writing the state, when sink.progress asks to stop. Error where a state was
// made with other settings, a loss is not finite, or the tokens do not fit the vocabulary.
void train_nested(const NestedModel& model, const TrainSettings& settings,
                  const DeviceOptions& device, const TrainSink& sink);

}  // namespace mnm
