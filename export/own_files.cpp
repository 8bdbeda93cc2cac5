#include "export/own_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "export/companion_files.h"
#include "export/probe.h"
#include "model/error.h"
#include "model/files.h"
#include "model/json.h"
#include "model/safetensors.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMetadata = 16u
                                  << 20;  // bytes at either end of a file that hold its metadata

constexpr std::string_view kNames[] = {
    "config.json",       "model.safetensors", "model.safetensors.index.json",
    "genai_config.json", "model.gguf",        "model.onnx",
    "model.onnx.data",   "scorer.onnx",       "verified.json",
    "images.npy",        "labels.npy",        "classes.json",
    "names.json",        "set.json",          kProbeFile};

bool is_written_name(const std::string& name) {
  if (std::ranges::find(kNames, name) != std::end(kNames) || is_carried_name(name)) return true;
  return (name.starts_with("model-") && name.ends_with(".safetensors")) ||
         (name.starts_with("modeling_mixnmatch_") && name.ends_with(".py"));
}

bool mentions(const fs::path& path, std::string_view phrase) {
  const MappedFile file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  const std::size_t tail = bytes.size() > kMetadata ? bytes.size() - kMetadata : 0;
  return bytes.substr(0, kMetadata).find(phrase) != std::string_view::npos ||
         bytes.substr(tail).find(phrase) != std::string_view::npos;
}

bool says_so(const fs::path& directory) {
  const auto is_there = [&](std::string_view name) { return fs::exists(directory / name); };
  try {
    for (const char* name : {"config.json", "set.json"}) {
      if (!is_there(name)) continue;
      const nlohmann::json json = read_json(directory / name);
      if (json.is_object() && json.contains("mixnmatch")) return true;
    }
    for (const char* name : {"model.gguf", "model.onnx", "scorer.onnx"}) {
      if (is_there(name) && mentions(directory / name, "mixnmatch.")) return true;
    }
    return is_there(kProbeFile) && mentions(directory / kProbeFile, "mixnmatch-probe-");
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::string why_not_ours(const fs::path& directory) {
  std::vector<std::string> foreign;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_symlink() || !entry.is_regular_file() || !is_written_name(name)) {
      foreign.push_back(name);
    }
  }
  if (!foreign.empty()) {
    std::ranges::sort(foreign);
    return fmt::format("it holds '{}', which this program did not write", foreign.front());
  }
  return says_so(directory) ? "" : "nothing in it says that this program wrote it";
}

}  // namespace mnm
