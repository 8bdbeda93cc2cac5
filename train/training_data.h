// What a model is trained on, as micro-batches of tensors. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "model/nested_model.h"
#include "train/settings.h"

namespace mnm {

// On the CPU.
struct TrainingBatch {
  at::Tensor inputs;   // as Batch has them (fold/batch.h)
  at::Tensor targets;  // int64 [examples * outputs]
  // Of mixed images: the targets of their partners, and the share of the loss that is their own.
  at::Tensor partners = {};
  double own = 1;
};

class TrainingData {
 public:
  virtual ~TrainingData() = default;
  virtual std::string kind() const = 0;  // "tokens", "images"
  virtual std::string fingerprint() const = 0;
  // The same for the same settings, step and number.
  virtual TrainingBatch batch(std::int64_t step, std::int64_t micro_batch) const = 0;
};

// settings.data, as the model reads it. The settings outlive it. Error, or UsageError, if the data
// are not the model's, or not one example fits.
std::unique_ptr<TrainingData> training_data(const TrainSettings& settings,
                                            const NestedModel& model);

}  // namespace mnm
