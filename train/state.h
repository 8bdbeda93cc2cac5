// The state of a training run on disk: everything that an exact resume needs. Compiled only into
// the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"
#include "train/state_file.h"

namespace mnm {

struct TrainState {
  std::int64_t step = 0;                  // steps taken
  std::vector<std::string> names;         // in table order; of the three lists below
  std::vector<at::Tensor> weights;        // f32, on the device
  std::vector<at::Tensor> first, second;  // Adam's moments
  std::vector<RunSetting> settings;
};

// Writes the file that train/state_file.h describes. It appears whole or not at all.
void write_state(const TrainState& state, const std::filesystem::path& path);

// Reads a state. Errors are StateFile's.
TrainState read_state(const NestedModel& model, const std::vector<RunSetting>& settings,
                      const std::filesystem::path& path, const at::Device& device);

// A tensor of a checkpoint, as f32 on the device.
at::Tensor stored_tensor(const Checkpoint& checkpoint, const std::string& name,
                         const at::Device& device);
// The state before the first step: the checkpoint's weights, as f32 on the device.
TrainState state_from(const NestedModel& model, const Checkpoint& checkpoint,
                      const at::Device& device);

// Writes a Hugging Face directory with the weights in `dtype`, the model's config.json and the
// companions (file name -> content). Error if the directory exists, unless `replaceable` has no
// objection.
void write_model(const NestedModel& model, const TrainState& state, Dtype dtype,
                 const std::map<std::string, std::string>& companions,
                 const std::filesystem::path& directory,
                 const AtomicDirectory::Replaceable& replaceable);

}  // namespace mnm
