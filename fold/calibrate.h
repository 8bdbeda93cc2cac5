// Calibration: one pass over the data, layer by layer, that measures the channels of every layer.
// Compiled only into the engine.
#pragma once

#include "base/progress.h"
#include "dataset/examples.h"
#include "eval/channel_statistics.h"
#include "fold/fold.h"
#include "fold/level_states.h"

namespace mnm {

struct CalibrationInputs {
  Fold& fold;
  const NestedModel& model;
  const Examples& dataset;
  StateRoom& room;      // for the states of all sequences
  WeightSource weight;  // of the checkpoint's tensors, for removal and saliency
  bool load = false;    // the fold holds no layer: each is loaded when it is entered, and released
};

// Calls `sink` for each measured layer as soon as the layer is done. The layer after it is not
// begun before.
void calibrate(const CalibrationInputs& inputs, const CalibrationOptions& options,
               const StatisticsSink& sink, const ProgressSink& progress);

}  // namespace mnm
