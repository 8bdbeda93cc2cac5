#include "families/vit/vit_config.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/granularities.h"

namespace mnm {
namespace {

constexpr std::int64_t kMaxSide = 1 << 16;       // pixels
constexpr std::int64_t kMaxPositions = 1 << 20;  // more than any published model has, by far

VitActivation parse_activation(const std::string& text) {
  if (text == "gelu") return VitActivation::kGelu;
  if (text == "gelu_pytorch_tanh" || text == "gelu_new") return VitActivation::kGeluTanh;
  fail("hidden_act is '{}', expected gelu, gelu_pytorch_tanh or gelu_new", text);
}

// Height and width of a key that is a number or a pair.
std::pair<std::int64_t, std::int64_t> pair_of(const ConfigReader& keys, const char* key,
                                              std::int64_t absent) {
  const nlohmann::json* const value = keys.find(key);
  if (value == nullptr) return {absent, absent};
  if (!value->is_array()) {
    const std::int64_t side = keys.size(key, kMaxSide);
    return {side, side};
  }
  const auto side = [&](std::size_t i) {
    const nlohmann::json& item = value->at(i);
    if (!item.is_number_integer() || item.get<double>() < 1 || item.get<double>() > kMaxSide) {
      fail("{} is {}, expected sides of 1 to {} pixels", keys.name(key), shown(*value), kMaxSide);
    }
    return item.get<std::int64_t>();
  };
  if (value->size() != 2) fail("{} is {}, expected one or two", keys.name(key), shown(*value));
  return {side(0), side(1)};
}

// transformers has no key for it but the names of the classes; without these there are two.
std::int64_t classes_of(const ConfigReader& keys) {
  if (const nlohmann::json* names = keys.find("id2label")) {
    if (!names->is_object() || names->empty()) {
      fail("id2label is {}, expected the names of the classes", shown(*names));
    }
    return static_cast<std::int64_t>(names->size());
  }
  return keys.optional_size("num_labels").value_or(2);
}

void refuse_other_models(const ConfigReader& keys) {
  if (const nlohmann::json* list = keys.find("architectures")) {
    const std::string bridge = std::string("MixNMatch") + kVitClass;
    if (!list->is_array() || list->size() != 1 ||
        (list->front() != kVitClass && list->front() != bridge)) {
      fail("architectures is {}, expected {}", shown(*list), kVitClass);
    }
  }
  if (keys.find("quantization_config") != nullptr) {
    fail("quantization_config is set, which is not computed here: expected f32, f16 or bf16");
  }
}

void read_sizes(const ConfigReader& keys, VitConfig& config) {
  config.layers = keys.size("num_hidden_layers", kMaxLayers);
  config.hidden_size = keys.size("hidden_size");
  config.heads = keys.size("num_attention_heads");
  if (config.hidden_size % config.heads != 0) {
    fail("hidden_size {} is no multiple of num_attention_heads {}", config.hidden_size,
         config.heads);
  }
  config.channels = keys.optional_size("num_channels", 4).value_or(3);
  std::tie(config.height, config.width) = pair_of(keys, "image_size", 224);
  std::tie(config.patch_height, config.patch_width) = pair_of(keys, "patch_size", 16);
  if (config.height % config.patch_height != 0 || config.width % config.patch_width != 0) {
    fail("image_size {} x {} is no multiple of patch_size {} x {}", config.height, config.width,
         config.patch_height, config.patch_width);
  }
  if (config.positions() > kMaxPositions) {
    fail("image_size and patch_size make {} patches, expected at most {}", config.patches(),
         kMaxPositions - 1);
  }
  config.classes = classes_of(keys);
}

}  // namespace

VitConfig parse_vit_config(const nlohmann::json& json, const Nesting& nesting) {
  const ConfigReader keys(json);
  refuse_other_models(keys);
  VitConfig config;
  read_sizes(keys, config);
  config.qkv_bias = keys.flag("qkv_bias", true);
  config.layer_norm_eps = keys.positive("layer_norm_eps").value_or(1e-12);
  config.initializer_range = keys.positive("initializer_range").value_or(0.02);
  config.hidden_act = keys.text("hidden_act").value_or("gelu");
  config.activation = parse_activation(config.hidden_act);
  config.dtype = stated_dtype(json).value_or(Dtype::kF32);

  const auto layers = static_cast<std::size_t>(config.layers);
  const std::int64_t widest = keys.size("intermediate_size");
  std::vector<Width> full(layers, static_cast<Width>(widest));
  if (const nlohmann::json* widths = keys.find(kWidthsKey)) {
    if (!widths->is_array() || widths->size() != layers) {
      fail("{} is {}, expected one width for each of {} layers", kWidthsKey, shown(*widths),
           layers);
    }
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const nlohmann::json& width = widths->at(layer);
      if (!width.is_number_integer() || width.get<double>() < 1 ||
          width.get<double>() > static_cast<double>(widest)) {
        fail("{} has {}, expected 1 to intermediate_size, {}", kWidthsKey, shown(width), widest);
      }
      full[layer] = width.get<Width>();
    }
    if (std::ranges::max(full) != widest) {
      fail("the widest of {} is {}, expected intermediate_size, {}", kWidthsKey,
           std::ranges::max(full), widest);
    }
  }
  config.granularities = resolve_granularities(keys.find(kGranularitiesKey), kGranularitiesKey,
                                               nesting.granularities, full);
  return config;
}

}  // namespace mnm
