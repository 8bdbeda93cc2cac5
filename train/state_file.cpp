#include "train/state_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "model/safetensors.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

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

// Steps as std::to_string writes them.
std::int64_t step_of(const std::map<std::string, std::string>& metadata, const fs::path& path) {
  const auto found = metadata.find(kStep);
  const std::string text = found == metadata.end() ? "" : found->second;
  std::int64_t step = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
  if (error != std::errc() || end != text.data() + text.size() || step < 0) {
    fail("cannot resume from {}: it says no step; it is no training state", path.string());
  }
  return step;
}

}  // namespace

std::map<std::string, std::string> state_metadata(std::int64_t step,
                                                  const std::vector<RunSetting>& settings) {
  std::map<std::string, std::string> metadata = {{kStep, std::to_string(step)}};
  for (const RunSetting& setting : settings) {
    if (!setting.value.empty()) metadata[setting.name] = setting.value;
  }
  return metadata;
}

StateFile::StateFile(const NestedModel& model, const std::vector<RunSetting>& settings,
                     const fs::path& path)
    : file_(path) {
  const SafetensorsHeader header =
      parse_safetensors(file_.bytes(), file_.bytes().size(), path.string());
  require_same(header.metadata, settings, path);
  step_ = step_of(header.metadata, path);
  std::map<std::string, const TensorEntry*> entries;
  for (const TensorEntry& entry : header.tensors) entries[entry.name] = &entry;
  const auto bytes_of = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto found = entries.find(name);
    if (found == entries.end() || found->second->shape != shape ||
        found->second->dtype != Dtype::kF32) {
      fail("cannot resume from {}: tensor '{}' is absent or not f32 of this model's shape",
           path.string(), name);
    }
    return file_.bytes().subspan(header.data_offset + found->second->begin,
                                 found->second->end - found->second->begin);
  };
  for (const TensorSpec& spec : model.table.tensors) {
    tensors_.push_back({bytes_of("weight." + spec.name, spec.shape),
                        bytes_of("first." + spec.name, spec.shape),
                        bytes_of("second." + spec.name, spec.shape)});
  }
}

}  // namespace mnm
