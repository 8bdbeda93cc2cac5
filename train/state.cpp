#include "train/state.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include <cstring>

#include "base/file.h"
#include "model/checkpoint.h"
#include "model/own_files.h"
#include "model/safetensors.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

at::ScalarType scalar(Dtype dtype) {
  return dtype == Dtype::kF32 ? at::kFloat : dtype == Dtype::kF16 ? at::kHalf : at::kBFloat16;
}

void write_tensors(const std::vector<std::pair<std::string, at::Tensor>>& tensors, Dtype dtype,
                   const std::map<std::string, std::string>& metadata, const fs::path& path) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    entries.push_back({name, dtype, tensor.sizes().vec(), 0, 0});
  }
  OutputFile out(path);
  out.write(safetensors_head(entries, metadata));
  for (const auto& [name, tensor] : tensors) {
    out.write(bytes_of(tensor.to(at::kCPU, scalar(dtype)).contiguous()));
  }
  out.close();
}

}  // namespace

void write_state(const TrainState& state, const fs::path& path) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (std::size_t i = 0; i < state.names.size(); ++i) {
    tensors.emplace_back("weight." + state.names[i], state.weights[i].detach());
    tensors.emplace_back("first." + state.names[i], state.first[i]);
    tensors.emplace_back("second." + state.names[i], state.second[i]);
  }
  AtomicFile file(path);
  write_tensors(tensors, Dtype::kF32, state_metadata(state.step, state.settings), file.path());
  file.commit();
}

TrainState read_state(const NestedModel& model, const std::vector<RunSetting>& settings,
                      const fs::path& path, const at::Device& device) {
  const StateFile file(model, settings, path);
  TrainState state;
  state.step = file.step();
  state.settings = settings;
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const TensorSpec& spec = model.table.tensors[i];
    const auto on_device = [&](std::span<const std::byte> bytes) {
      at::Tensor tensor = at::empty(spec.shape, at::kFloat);
      std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
      return tensor.to(device);
    };
    const auto& [weight, first, second] = file.tensors()[i];
    state.names.push_back(spec.name);
    state.weights.push_back(on_device(weight));
    state.first.push_back(on_device(first));
    state.second.push_back(on_device(second));
  }
  return state;
}

at::Tensor stored_tensor(const Checkpoint& checkpoint, const std::string& name,
                         const at::Device& device) {
  const StoredTensor& stored = checkpoint.at(name);
  std::vector<std::byte> bytes(stored.bytes());
  checkpoint.read(stored, 0, bytes);
  const at::Tensor tensor = at::empty(stored.shape, at::kFloat);
  to_f32(bytes, stored.dtype,
         {tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  return tensor.to(device);
}

TrainState state_from(const NestedModel& model, const Checkpoint& checkpoint,
                      const at::Device& device) {
  TrainState state;
  for (const TensorSpec& spec : model.table.tensors) {
    state.names.push_back(spec.name);
    state.weights.push_back(stored_tensor(checkpoint, spec.name, device));
    state.first.push_back(at::zeros_like(state.weights.back()));
    state.second.push_back(at::zeros_like(state.weights.back()));
  }
  return state;
}

void write_model(const NestedModel& model, const TrainState& state, Dtype dtype,
                 const std::map<std::string, std::string>& companions, const fs::path& directory,
                 const AtomicDirectory::Replaceable& replaceable) {
  AtomicDirectory target(directory, replaceable);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (std::size_t i = 0; i < state.names.size(); ++i) {
    tensors.emplace_back(state.names[i], state.weights[i].detach());
  }
  write_tensors(tensors, dtype, {{"format", "pt"}}, target.path() / "model.safetensors");
  nlohmann::json config = model.config;
  for (const char* key : {"dtype", "torch_dtype"}) config[key] = torch_name(dtype);
  // Of what the weights were trained by, and not of what their config was cut from.
  config["mixnmatch"] = {{"trained", {{"steps", state.step}}}};
  write_file_atomically(target.path() / "config.json", config.dump(2) + "\n");
  for (const auto& [name, content] : companions) {
    write_file_atomically(target.path() / name, content);
  }
  write_own_files_list(target.path());
  target.commit();
}

}  // namespace mnm
