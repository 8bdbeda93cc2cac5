#include "train/state.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
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

constexpr const char* kStep = "step";

// `made`: what a state was made with, by name.
void require_same(std::map<std::string, std::string> made, const std::vector<RunSetting>& settings,
                  const fs::path& path) {
  constexpr std::size_t kLongest = 80;  // a longer value, such as a config, tells nobody anything
  const auto fail_on = [&](const std::string& what, const std::string& was, const std::string& is) {
    const bool shown = std::max(was.size(), is.size()) <= kLongest;
    const auto text = [](const std::string& value) {
      return value.empty() ? "nothing" : fmt::format("'{}'", value);
    };
    fail(
        "cannot resume from {}: it was made with {}; go on with its settings, or give another "
        "--out",
        path.string(),
        shown ? fmt::format("{} {}, this run has {}", what, text(was), text(is))
              : fmt::format("another {}", what));
  };
  made.erase(kStep);
  for (const auto& [name, options, value] : settings) {
    const std::string was = made.contains(name) ? made.at(name) : "";
    if (was != value) fail_on(options, was, value);
    made.erase(name);
  }
  if (!made.empty()) fail_on(made.begin()->first, made.begin()->second, "");
}

}  // namespace

void write_state(const TrainState& state, const fs::path& path) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (std::size_t i = 0; i < state.names.size(); ++i) {
    tensors.emplace_back("weight." + state.names[i], state.weights[i].detach());
    tensors.emplace_back("first." + state.names[i], state.first[i]);
    tensors.emplace_back("second." + state.names[i], state.second[i]);
  }
  std::map<std::string, std::string> metadata = {{kStep, std::to_string(state.step)}};
  for (const RunSetting& setting : state.settings) {
    if (!setting.value.empty()) metadata[setting.name] = setting.value;
  }
  AtomicFile file(path);
  write_tensors(tensors, Dtype::kF32, metadata, file.path());
  file.commit();
}

TrainState read_state(const NestedModel& model, const std::vector<RunSetting>& settings,
                      const fs::path& path, const at::Device& device) {
  const MappedFile file(path);
  const SafetensorsHeader header =
      parse_safetensors(file.bytes(), file.bytes().size(), path.string());
  require_same(header.metadata, settings, path);
  std::map<std::string, const TensorEntry*> entries;
  for (const TensorEntry& entry : header.tensors) entries[entry.name] = &entry;

  TrainState state;
  state.settings = settings;
  try {
    state.step = std::stoll(header.metadata.at(kStep));
  } catch (const std::exception&) {
    fail("cannot resume from {}: it says no step; it is no training state", path.string());
  }
  const auto load = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto found = entries.find(name);
    if (found == entries.end() || found->second->shape != shape ||
        found->second->dtype != Dtype::kF32) {
      fail("cannot resume from {}: tensor '{}' is absent or not f32 of this model's shape",
           path.string(), name);
    }
    const auto bytes = file.bytes().subspan(header.data_offset + found->second->begin,
                                            found->second->end - found->second->begin);
    at::Tensor tensor = at::empty(shape, at::kFloat);
    std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
    return tensor.to(device);
  };
  for (const TensorSpec& spec : model.table.tensors) {
    state.names.push_back(spec.name);
    state.weights.push_back(load("weight." + spec.name, spec.shape));
    state.first.push_back(load("first." + spec.name, spec.shape));
    state.second.push_back(load("second." + spec.name, spec.shape));
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
