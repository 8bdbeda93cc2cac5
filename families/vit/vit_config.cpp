#include "families/vit/vit_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/granularities.h"

namespace mnm {
namespace {

VitActivation parse_activation(const std::string& text) {
  if (text == "gelu") return VitActivation::kGelu;
  if (text == "gelu_pytorch_tanh" || text == "gelu_new") return VitActivation::kGeluTanh;
  fail("hidden_act is '{}', expected gelu, gelu_pytorch_tanh or gelu_new", text);
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

void refuse_other_models(const ConfigReader& keys, const VitKind& kind) {
  if (const nlohmann::json* list = keys.find("architectures")) {
    const std::string bridge = fmt::format("MixNMatch{}", kind.class_name);
    if (!list->is_array() || list->size() != 1 ||
        (list->front() != kind.class_name && list->front() != bridge)) {
      fail("architectures is {}, expected {}", shown(*list), kind.class_name);
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
  config.image = read_image_patches(keys);
  config.classes = classes_of(keys);
}

}  // namespace

const VitKind* vit_kind(const nlohmann::json& config) {
  const auto type = config.find("model_type");
  if (type == config.end()) return nullptr;
  for (const VitKind& kind : kVitKinds) {
    if (*type == kind.model_type || *type == kind.bridge_model_type) return &kind;
  }
  return nullptr;
}

VitConfig parse_vit_config(const nlohmann::json& json, const Nesting& nesting) {
  const ConfigReader keys(json);
  VitConfig config;
  if (const VitKind* const kind = vit_kind(json)) config.kind = kind;
  refuse_other_models(keys, *config.kind);
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
