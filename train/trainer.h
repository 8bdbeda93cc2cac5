// The nested trainer, over any family's fold. Compiled only into the engine.
#pragma once

#include "eval/scores.h"
#include "model/nested_model.h"
#include "train/settings.h"

namespace mnm {

// Trains with AdamW on the losses of uniform submodels: of one granularity or of all in each step,
// as settings.schedule says.
//
// Throws Stopped, after writing the state, when sink.progress asks to stop. Error where a state was
// made with other settings, a loss is not finite, or the tokens do not fit the vocabulary.
void train_nested(const NestedModel& model, const TrainSettings& settings,
                  const DeviceOptions& device, const TrainSink& sink);

}  // namespace mnm
