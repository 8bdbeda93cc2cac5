#include "families/vit/timm_export.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "families/vit/config.h"
#include "families/vit/timm.h"

namespace mnm {
namespace {

// The ratio of which timm makes that width: it cuts ratio * hidden off to a whole number.
double mlp_ratio(Width width, std::int64_t hidden) {
  const auto d = static_cast<double>(hidden);
  double ratio = static_cast<double>(width) / d;
  while (static_cast<Width>(d * ratio) < width) ratio = std::nextafter(ratio, width + 1.0);
  return ratio;
}

// The classes' names in their order; null if the config does not say them.
nlohmann::json label_names(const nlohmann::json& config, std::int64_t classes) {
  const auto found = config.find("id2label");
  if (found == config.end() || !found->is_object()) return nullptr;
  nlohmann::json names = nlohmann::json::array();
  for (std::int64_t i = 0; i < classes; ++i) {
    const auto name = found->find(std::to_string(i));
    if (name == found->end() || !name->is_string()) return nullptr;
    names.push_back(*name);
  }
  return names;
}

// All that make the model, whatever the architecture's name says.
nlohmann::json arguments_of(const VitConfig& config) {
  nlohmann::json keys;
  write_image_patches(config.image, keys);
  nlohmann::json arguments = {{"img_size", keys["image_size"]},
                              {"patch_size", keys["patch_size"]},
                              {"in_chans", config.image.channels},
                              {"num_classes", config.classes},
                              {"embed_dim", config.hidden_size},
                              {"depth", config.layers},
                              {"num_heads", config.heads},
                              {"mlp_ratio", mlp_ratio(config.full_width(0), config.hidden_size)},
                              {"qkv_bias", config.qkv_bias}};
  if (config.activation == VitActivation::kGeluTanh) arguments["act_layer"] = kTimmGeluTanh;
  return arguments;
}

// Each tensor of the file, in the order of the table.
std::vector<StackedTensor> layout_of(const VitConfig& config, const TensorTable& table) {
  std::map<std::string, std::string> theirs;  // by our names
  for (const auto& [name, own] : timm_names(config)) theirs[own] = name;
  for (const InterleavedRows& part : timm_rows(config)) theirs[part.name] = part.stored;
  std::vector<StackedTensor> layout;
  std::map<std::string, std::size_t> places;  // in it, by their names
  for (const TensorSpec& tensor : table.tensors) {
    const std::string& name = theirs.at(tensor.name);
    const auto [place, is_new] = places.emplace(name, layout.size());
    if (is_new) layout.push_back({name, {}});
    layout[place->second].parts.push_back(tensor.name);
  }
  return layout;
}

}  // namespace

std::string vit_why_not_timm(const VitConfig& config) {
  if (config.image.resized()) {
    return "timm resizes positions in another way than transformers, which is computed here";
  }
  if (!config.kind->style.reads_patches) return "";
  return "timm has no classifier that reads the class token beside the mean of the patches";
}

TimmModel vit_timm(const NestedModel& submodel) {
  const VitConfig config = parse_vit_config(submodel.config, {});
  if (const std::string why = vit_why_not_timm(config); !why.empty()) fail("{}", why);
  const Widths full = submodel.space.full();
  if (!is_uniform(full)) {
    fail(
        "timm's {} has one mlp_ratio for all layers, and the layers of this submodel differ in "
        "width",
        vit_timm_class(submodel));
  }
  TimmModel timm;
  timm.config = {{"architecture", timm_architecture(config)},
                 {"num_classes", config.classes},
                 {"num_features", config.hidden_size},
                 {"global_pool", "token"},
                 {"model_args", arguments_of(config)}};
  if (nlohmann::json names = label_names(submodel.config, config.classes); !names.is_null()) {
    timm.config["label_names"] = std::move(names);
  }
  write_granularities(submodel.space, full, timm.config);
  write_may_skip(submodel.space, full, timm.config);
  timm.tensors = layout_of(config, submodel.table);
  if (config.layer_norm_eps != kTimmEpsilon) {
    timm.in_timm = {{{"layer_norm_eps", kTimmEpsilon}},
                    fmt::format("timm's epsilon of LayerNorm, {} in place of {}", kTimmEpsilon,
                                config.layer_norm_eps)};
  }
  return timm;
}

std::string vit_timm_class(const NestedModel& model) {
  const bool distilled = parse_vit_config(model.config, {}).kind->distilled;
  return distilled ? "VisionTransformerDistilled" : "VisionTransformer";
}

}  // namespace mnm
