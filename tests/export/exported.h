// A nested model made by hand, a Hugging Face export of it, and the obvious way to make the tensors
// that the export must hold.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "export/huggingface.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"
#include "tests/support/tensors.h"

namespace mnm::test {

// `layers` layers of width up to 8: `up` [4w, 6] (rows cut), `down` [6, 4w] (columns cut), `mixed`
// [2w + 3 of 19, 5] in two pieces, and a norm; an embedding before and a norm after. Layers may be
// skipped.
struct HandModel {
  std::vector<TestTensor> tensors;
  NestedModel model;

  explicit HandModel(int layers = 3, Dtype dtype = Dtype::kF32, std::int64_t scale = 1) {
    model.family = "hand";
    model.dtype = dtype;
    add("embed", -1, {11, 6 * scale}, -1, {});
    for (int i = 0; i < layers; ++i) {
      const std::string name = "layers." + std::to_string(i) + ".";
      add(name + "norm", i, {6}, -1, {});
      add(name + "up", i, {32 * scale, 6}, 0, {{.num = 4 * scale}});
      add(name + "down", i, {6, 32 * scale}, 1, {{.num = 4 * scale}});
      add(name + "mixed", i, {19, 5}, 0, {{.num = 2}, {.begin = 16, .fixed = 3}});
      LayerChoices& choices = model.space.layers.emplace_back();
      choices.granularities = {1, 2, 4, 8};
      choices.may_skip = true;
    }
    add("norm", -1, {6}, -1, {});
  }

  std::filesystem::path write(const std::filesystem::path& directory,
                              std::size_t shards = 1) const {
    write_checkpoint(directory, {{"model_type", "hand"}}, tensors, shards);
    return directory;
  }

  // What is kept at `widths`, as f32, by name: element by element.
  std::map<std::string, std::vector<float>> naive(const Widths& widths) const {
    std::map<std::string, std::vector<float>> kept;
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      const TensorSpec& spec = model.table.tensors[t];
      const Width width = spec.layer < 0 ? 0 : widths[static_cast<std::size_t>(spec.layer)];
      if (spec.layer >= 0 && width == kSkip) continue;
      const std::int64_t columns = spec.shape.size() > 1 ? spec.shape[1] : 1;
      std::vector<float>& values = kept[spec.name];
      for (std::size_t i = 0; i < tensors[t].values.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        const std::int64_t along = spec.cut_dim == 0 ? at / columns : at % columns;
        bool keep = spec.cut_dim < 0;
        for (const Piece& p : spec.pieces) {
          keep |= p.begin <= along && along < p.begin + p.length(width);
        }
        if (keep) values.push_back(tensors[t].values[i]);
      }
    }
    return kept;
  }

 private:
  void add(std::string name, int layer, std::vector<std::int64_t> shape, int cut,
           std::vector<Piece> pieces) {
    const auto seed = static_cast<std::uint32_t>(tensors.size());
    tensors.push_back(random_tensor(name, shape, seed, 1, model.dtype));
    TensorSpec spec;
    spec.name = std::move(name);
    spec.shape = std::move(shape);
    spec.layer = layer;
    spec.cut_dim = cut;
    spec.pieces = std::move(pieces);
    model.table.tensors.push_back(std::move(spec));
  }
};

// Plan and write into a directory made here, as a command would without its atomic rename.
inline HuggingFacePlan export_to(const std::filesystem::path& directory, const NestedModel& model,
                                 const Checkpoint& checkpoint, const Widths& widths,
                                 const HuggingFaceOptions& options) {
  HuggingFacePlan plan = plan_huggingface(
      model, checkpoint, widths, {{"config.json", "{\"model_type\": \"hand\"}\n"}}, options);
  std::filesystem::create_directory(directory);
  write_huggingface(plan, checkpoint, directory);
  return plan;
}

inline std::map<std::string, std::string> files_in(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    files[entry.path().filename().string()] = slurp(entry.path());
  }
  return files;
}

}  // namespace mnm::test
