// The file of a training run's state, state.safetensors, without LibTorch. For every tensor NAME of
// the model's table it holds weight.NAME, first.NAME and second.NAME in f32. Its metadata has the
// steps taken, and the settings that must not change before a resume.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "model/nested_model.h"

namespace mnm {

// A setting that must not change before a resume.
struct RunSetting {
  std::string name;     // in the file
  std::string options;  // that it is given by
  std::string value;    // empty: not used, and not in the file
};

// The metadata of a state after so many steps.
std::map<std::string, std::string> state_metadata(std::int64_t step,
                                                  const std::vector<RunSetting>& settings);

class StateFile {
 public:
  struct Tensor {  // f32 of the shape that the model's table has
    std::span<const std::byte> weight, first, second;
  };

  // Maps and checks the file. Error if it is no state of this model, or was made with other
  // settings, more of them or fewer; it names the first that differs, with both values.
  StateFile(const NestedModel& model, const std::vector<RunSetting>& settings,
            const std::filesystem::path& path);

  std::int64_t step() const { return step_; }                      // steps taken
  const std::vector<Tensor>& tensors() const { return tensors_; }  // in table order

 private:
  MappedFile file_;
  std::int64_t step_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace mnm
