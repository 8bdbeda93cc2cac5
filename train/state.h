// A training run's state on disk: what an exact resume needs. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/files.h"
#include "model/nested_model.h"

namespace mnm {

struct TrainState {
  std::int64_t step = 0;                        // steps taken
  std::vector<std::string> names;               // in table order, for all of:
  std::vector<at::Tensor> weights;              // f32, on the device
  std::vector<at::Tensor> first, second;        // Adam's moments
  std::map<std::string, std::string> settings;  // those that must not change in between
};

// state.safetensors: tensors weight.NAME, first.NAME, second.NAME in f32, the rest as metadata.
// Appears whole or not at all.
void write_state(const TrainState& state, const std::filesystem::path& path);

// Error where the file is no state of this model, or was made with other settings (the first one
// that differs is named, with both values).
TrainState read_state(const NestedModel& model, const std::map<std::string, std::string>& settings,
                      const std::filesystem::path& path, const at::Device& device);

// A Hugging Face directory with the weights in `dtype` and the model's config.json. Error where it
// is there already, unless `replaceable` finds nothing against it.
void write_model(const NestedModel& model, const TrainState& state, Dtype dtype,
                 const std::filesystem::path& directory,
                 const AtomicDirectory::Replaceable& replaceable);

}  // namespace mnm
