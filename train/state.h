// The state of a training run on disk: everything that an exact resume needs. Compiled only into
// the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"

namespace mnm {

// A setting that must not change before a resume.
struct RunSetting {
  std::string name;     // in the file
  std::string options;  // that it is given by
  std::string value;    // empty: not used, and not in the file
};

struct TrainState {
  std::int64_t step = 0;                  // steps taken
  std::vector<std::string> names;         // in table order; of the three lists below
  std::vector<at::Tensor> weights;        // f32, on the device
  std::vector<at::Tensor> first, second;  // Adam's moments
  std::vector<RunSetting> settings;
};

// Writes state.safetensors: the tensors weight.NAME, first.NAME and second.NAME in f32, and the
// rest as metadata. The file appears whole or not at all.
void write_state(const TrainState& state, const std::filesystem::path& path);

// Reads a state. Error if the file is no state of this model or was made with other settings, more
// of them or fewer; it names the first that differs, with both values.
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
