#include "families/vit/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "families/compensation.h"
#include "families/config_reader.h"
#include "families/gelu_names.h"
#include "families/granularities.h"

namespace mnm {
namespace {

constexpr std::int64_t kMaxRegisters = 1024;  // published models have 4

VitActivation parse_activation(const std::string& text) {
  const auto is_text = [&text](std::string_view name) { return name == text; };
  if (std::ranges::any_of(kGeluNames, is_text)) return VitActivation::kGelu;
  if (std::ranges::any_of(kGeluTanhNames, is_text)) return VitActivation::kGeluTanh;
  fail("hidden_act is '{}', expected {} or {}", text, fmt::join(kGeluNames, ", "),
       fmt::join(kGeluTanhNames, ", "));
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
      const bool backbone = !list->empty() && list->front().is_string() &&
                            list->front().get_ref<const std::string&>().ends_with("Model");
      fail("architectures is {}, expected {}{}", shown(*list), kind.class_name,
           backbone ? ": a model without a classifier gets one from transformers, in a line that "
                      "docs/vision.md has under \"Limits\""
                    : "");
    }
  }
  if (keys.find("quantization_config") != nullptr) {
    fail("quantization_config is set, which is not computed here: expected f32, f16 or bf16");
  }
}

// What is computed of DINOv2.
void refuse_other_dinov2(const ConfigReader& keys, const ImagePatches& image) {
  if (keys.flag("use_swiglu_ffn", false)) {
    fail(
        "use_swiglu_ffn is true, expected false: the gated MLP of DINOv2 giant is not computed "
        "here");
  }
  if (image.learned_height != image.learned_width) {
    fail(
        "image_size is {} x {}, expected a square: for others transformers resizes positions, "
        "which is not computed here",
        image.learned_height, image.learned_width);
  }
}

void read_sizes(const ConfigReader& keys, const Nesting& nesting, VitConfig& config) {
  config.layers = keys.size("num_hidden_layers", kMaxLayers);
  config.hidden_size = keys.size("hidden_size");
  config.heads = keys.size("num_attention_heads");
  if (config.hidden_size % config.heads != 0) {
    fail("hidden_size {} is no multiple of num_attention_heads {}", config.hidden_size,
         config.heads);
  }
  config.image = read_image_patches(keys, nesting.image_size, config.kind->patch);
  config.image.antialias = config.kind->registers;
  config.classes = classes_of(keys);
  if (config.kind->registers) {
    config.registers = keys.optional_size("num_register_tokens", kMaxRegisters).value_or(4);
  }
  config.mask_token = config.kind->style.mask_token && keys.flag("use_mask_token", true);
}

// Full widths of the layers, the widest of which the config states.
std::vector<Width> read_widths(const ConfigReader& keys, const VitConfig& config) {
  const bool ratio = config.kind->style.mlp_ratio;
  const std::int64_t d = config.hidden_size;
  const std::int64_t stated = ratio ? keys.optional_size("mlp_ratio", kMaxSize / d).value_or(4) * d
                                    : keys.size("intermediate_size");
  const std::string said = ratio ? fmt::format("mlp_ratio * {}", d) : "intermediate_size";
  const auto layers = static_cast<std::size_t>(config.layers);
  std::vector<Width> full(layers, static_cast<Width>(stated));
  const nlohmann::json* const widths = keys.find(kWidthsKey);
  if (widths == nullptr) return full;
  if (!widths->is_array() || widths->size() != layers) {
    fail("{} is {}, expected one width for each of {} layers", kWidthsKey, shown(*widths), layers);
  }
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const nlohmann::json& width = widths->at(layer);
    if (!width.is_number_integer() || width.get<double>() < 1 ||
        width.get<double>() > static_cast<double>(stated)) {
      fail("{} has {}, expected 1 to {}, {}", kWidthsKey, shown(width), said, stated);
    }
    full[layer] = width.get<Width>();
  }
  const std::int64_t widest = std::ranges::max(full), least = ratio ? stated - d + 1 : stated;
  if (widest < least) {
    fail("the widest of {} is {}, expected {}", kWidthsKey, widest,
         ratio ? fmt::format("{} to {}, {}", least, said, stated)
               : fmt::format("{}, {}", said, stated));
  }
  return full;
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

void write_vit_width(const VitKind& kind, std::int64_t hidden_size, Width widest,
                     nlohmann::json& config) {
  if (kind.style.mlp_ratio) {
    config["mlp_ratio"] = (widest + hidden_size - 1) / hidden_size;
  } else {
    config["intermediate_size"] = widest;
  }
}

VitConfig parse_vit_config(const nlohmann::json& json, const Nesting& nesting) {
  const ConfigReader keys(json);
  VitConfig config;
  if (const VitKind* const kind = vit_kind(json)) config.kind = kind;
  refuse_other_models(keys, *config.kind);
  read_sizes(keys, nesting, config);
  if (config.kind->style.reads_patches) refuse_other_dinov2(keys, config.image);
  config.qkv_bias = keys.flag("qkv_bias", true);
  config.compensated = keys.flag(kCompensatedKey, false);
  config.layer_norm_eps =
      keys.positive("layer_norm_eps").value_or(config.kind->style.layer_norm_eps);
  if (config.kind->style.layer_scale) {
    config.layer_scale_start = keys.positive("layerscale_value").value_or(1);
  }
  config.initializer_range = keys.positive("initializer_range").value_or(0.02);
  config.hidden_act = keys.text("hidden_act").value_or("gelu");
  config.activation = parse_activation(config.hidden_act);
  config.dtype = stated_dtype(json).value_or(Dtype::kF32);

  config.granularities = resolve_granularities(keys.find(kGranularitiesKey), kGranularitiesKey,
                                               nesting.granularities, read_widths(keys, config));
  return config;
}

}  // namespace mnm
