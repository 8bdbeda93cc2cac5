// Nested vision transformers (MatViT) and their relatives: the tensor table and the width space. A
// layer's width is its MLP's hidden size: fc1 keeps its first rows and biases, fc2 its first
// columns; attention is whole. Kudugunta et al., "MatFormer" (arXiv 2310.07707), sec. 4.2.
#include "families/vit/vit.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/family.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "families/vit/config.h"
#include "families/vit/huggingface.h"
#include "families/vit/image_side.h"
#include "families/vit/onnx.h"
#include "families/vit/runtimes.h"
#include "families/vit/timm.h"
#include "families/vit/timm_export.h"

namespace mnm {
namespace {

constexpr double kProduct = 2;  // FLOPs per token and element of a product's operand

constexpr Piece kPrefix = {.begin = 0, .fixed = 0, .num = 1, .den = 1};

// Appends tensors under one name prefix, for one layer (-1: none).
struct TableWriter {
  TensorTable& table;
  double init_std;
  std::string prefix;
  int layer = -1;
  Role role = Role::kOther;

  TensorSpec& add(const std::string& name, std::vector<std::int64_t> shape, Init init) {
    TensorSpec& tensor = table.tensors.emplace_back();
    tensor.name = prefix + name;
    tensor.shape = std::move(shape);
    tensor.layer = layer;
    tensor.role = role;
    tensor.init = init;
    tensor.init_std = init_std;
    return tensor;
  }
  void norm(const std::string& name, std::int64_t size) {
    add(name + ".weight", {size}, Init::kOne).norm_groups = 1;
    add(name + ".bias", {size}, Init::kZero);
  }
  // A matrix and, if it has one, its bias. `share`: of the tokens that it is multiplied with.
  // `cut_dim`: of the matrix; the rows of a bias are cut with those of its matrix.
  void linear(const std::string& name, std::int64_t rows, std::int64_t columns, double share,
              bool bias = true, int cut_dim = -1) {
    TensorSpec& matrix = add(name + ".weight", {rows, columns}, Init::kNormal);
    matrix.flops_per_element = kProduct * share;
    matrix.cut_dim = cut_dim;
    if (cut_dim >= 0) matrix.pieces = {kPrefix};
    if (!bias) return;
    TensorSpec& offsets = add(name + ".bias", {rows}, Init::kZero);
    if (cut_dim != 0) return;
    offsets.cut_dim = 0;
    offsets.pieces = {kPrefix};
  }
};

// `share`: of the tokens whose result is read.
void add_layer(const VitConfig& config, std::size_t layer, double share, TensorTable& table) {
  TableWriter to{table, config.initializer_range,
                 config.layer_name(static_cast<std::int64_t>(layer)), static_cast<int>(layer)};
  const std::int64_t d = config.hidden_size, full = config.full_width(layer);
  const VitStyle& style = config.kind->style;
  to.linear("attention.attention.query", d, d, share, config.qkv_bias);
  to.linear("attention.attention.key", d, d, 1, config.qkv_bias);
  to.linear("attention.attention.value", d, d, 1, config.qkv_bias);
  to.linear("attention.output.dense", d, d, share);
  to.linear(std::string(style.fc1), full, d, share, true, 0);
  to.linear(std::string(style.fc2), d, full, share, true, 1);
  if (config.compensated) {
    TensorSpec& means = to.add(std::string(style.fc2) + ".input_mean", {full}, Init::kZero);
    means.cut_dim = 0;
    means.pieces = {kPrefix};
    means.nested_only = true;
  }
  to.norm(std::string(style.norm_before), d);
  to.norm(std::string(style.norm_after), d);
  if (!style.layer_scale) return;
  for (const char* scale : {"layer_scale1.lambda1", "layer_scale2.lambda1"}) {
    TensorSpec& tensor = to.add(scale, {d}, Init::kUniform);
    tensor.init_low = tensor.init_high = config.layer_scale_start;
  }
}

void add_embeddings(const VitConfig& config, TensorTable& table) {
  TableWriter to{table, config.initializer_range, config.name("embeddings."), -1, Role::kEmbedding};
  const ImagePatches& image = config.image;
  const std::int64_t d = config.hidden_size;
  to.add("cls_token", {1, 1, d}, Init::kNormal).is_vectors = true;
  if (config.kind->distilled) {
    to.add("distillation_token", {1, 1, d}, Init::kNormal).is_vectors = true;
  }
  if (config.kind->registers) {
    to.add("register_tokens", {1, config.registers, d}, Init::kNormal).is_vectors = true;
  }
  if (config.mask_token) to.add("mask_token", {1, d}, Init::kZero).is_vectors = true;
  to.add("position_embeddings", {1, config.positioned_tokens() + image.learned_patches(), d},
         Init::kNormal)
      .is_vectors = true;
  TensorSpec& projection =
      to.add("patch_embeddings.projection.weight",
             {d, image.channels, image.patch_height, image.patch_width}, Init::kNormal);
  projection.flops_per_element =
      kProduct * static_cast<double>(image.patches()) / static_cast<double>(config.positions());
  to.add("patch_embeddings.projection.bias", {d}, Init::kZero);
}

constexpr Exporter kExporters[] = {
    {"huggingface",
     [](const NestedModel& submodel, Dtype) -> FormatModel {
       return HuggingFaceTexts{submodel.config,
                               vit_huggingface_bridge(submodel, submodel.space.full()),
                               "AutoModelForImageClassification"};
     }},
    {"decilm", nullptr, "vit classifies images, and block_configs describe layers of a decoder"},
    {"gguf", nullptr,
     "vit classifies images: llama.cpp runs language models, and has no architecture for it"},
    {"onnx",
     [](const NestedModel& submodel, Dtype stored) -> FormatModel {
       return vit_onnx(submodel, stored);
     }},
    {"timm", [](const NestedModel& submodel, Dtype) -> FormatModel { return vit_timm(submodel); }},
};

class Vit final : public Family {
 public:
  std::string_view name() const override { return "vit"; }

  bool recognizes(const nlohmann::json& config) const override {
    const auto type = config.find("model_type");
    if (type == config.end()) return is_timm_vit(config);
    return vit_kind(config) != nullptr;
  }
  std::vector<ModelKind> kinds() const override {
    constexpr std::pair<const char*, const char*> kWords[] = {
        {"ViT of all sizes with a classifier, DeiT without the distillation token; those of timm, "
         "without a model_type; MatViT once scripts/matvit.py has converted it",
         ""},
        {"DeiT with the distillation token; timm's, without a model_type",
         "a second token that is read, with a head of its own"},
        {"DINOv2 small, base and large with a classifier",
         "layer scale; a classifier of the class token beside the mean of the patches; "
         "`mlp_ratio`"},
        {"the same with registers", "as `dinov2`; tokens without positions after the class token"}};
    static_assert(std::size(kWords) == std::size(kVitKinds));
    std::vector<ModelKind> kinds;
    for (std::size_t i = 0; i < std::size(kVitKinds); ++i) {
      ModelKind& kind = kinds.emplace_back();
      kind.model_type = kVitKinds[i].model_type;
      kind.class_name = kVitKinds[i].class_name;
      std::tie(kind.published, kind.differs) = kWords[i];
    }
    return kinds;
  }
  NestedModel describe(const nlohmann::json& config, const Nesting& nesting) const override {
    return describe_vit(config, nesting);
  }
  // transformers resizes DINOv2's positions to the images, whose size the checkpoint's
  // preprocessing says: published ones have 518 pixels in config.json and 224 there.
  nlohmann::json completed(const nlohmann::json& config,
                           const Checkpoint& checkpoint) const override {
    const VitKind* const kind = vit_kind(config);
    if (kind == nullptr || !kind->style.reads_patches || config.contains(kImageSizeKey)) {
      return config;
    }
    const ImagePatches image = parse_vit_config(config, {}).image;
    const auto side = preprocessed_side(checkpoint.directory());
    if (!side || *side < 1 || *side == image.width || *side % image.patch_width != 0) return config;
    nlohmann::json with_side = config;
    with_side[kImageSizeKey] = *side;
    return with_side;
  }
  std::map<std::string, std::string> other_names(const NestedModel& model) const override {
    if (!is_timm_vit(model.config)) return {};
    return timm_names(parse_vit_config(model.config, {}));
  }
  std::vector<InterleavedRows> interleaved_rows(const NestedModel& model) const override {
    if (!is_timm_vit(model.config)) return {};
    return timm_rows(parse_vit_config(model.config, {}));
  }
  nlohmann::json with_layers(const nlohmann::json& config, std::int64_t layers) const override {
    nlohmann::json shorter = config;
    shorter["num_hidden_layers"] = layers;
    keep_first_layers(shorter, layers);
    const auto widths = shorter.find(kWidthsKey);
    if (widths != shorter.end() && widths->is_array() && !widths->empty()) {
      const VitKind* const kind = vit_kind(config);
      write_vit_width(kind ? *kind : kVitKinds[0], config.at("hidden_size").get<std::int64_t>(),
                      std::ranges::max_element(*widths)->get<Width>(), shorter);
    }
    return shorter;
  }
  nlohmann::json huggingface_config(const NestedModel& model, const Widths& widths,
                                    Dtype dtype) const override {
    return vit_huggingface_config(model, widths, dtype);
  }
  std::map<std::string, std::string> huggingface_bridge(const NestedModel& model,
                                                        const Widths& widths) const override {
    return vit_huggingface_bridge(model, widths);
  }
  std::span<const Exporter> exporters() const override { return kExporters; }
  std::vector<RuntimeRule> runtimes(const NestedModel& model) const override {
    return vit_runtimes(model);
  }
};

}  // namespace

const Family& vit_family() {
  static const Vit family;
  return family;
}

std::int64_t vit_last_tokens(const VitConfig& config, const NestedModel& model) {
  return model.space.layers.back().may_skip ? config.positions() : config.read_tokens();
}

NestedModel describe_vit(const nlohmann::json& given, const Nesting& nesting) {
  const bool of_timm = !given.contains("model_type") && is_timm_vit(given);
  const nlohmann::json json = of_timm ? vit_config_of_timm(given) : given;
  const VitConfig config = parse_vit_config(json, nesting);
  NestedModel model;
  model.family = "vit";
  model.config = json;
  if (nesting.image_size > 0) model.config[kImageSizeKey] = nesting.image_size;
  model.dtype = config.dtype;
  model.input = {InputType::kPixels, config.image.shape()};
  model.one_output = true;
  model.vocab_size = config.classes;
  model.hidden_size = model.flow_per_token = config.hidden_size;
  model.max_context = config.positions();
  for (std::size_t layer = 0; layer < config.granularities.size(); ++layer) {
    LayerChoices& choices = model.space.layers.emplace_back();
    choices.granularities = config.granularities[layer];
    choices.step = 1;
    choices.why_not = fmt::format("a layer keeps the first 1 to {} hidden units of its MLP",
                                  config.full_width(layer));
  }
  allow_skips(json, nesting.may_skip, model.space);
  add_embeddings(config, model.table);
  const double one = 1 / static_cast<double>(config.positions());
  const double computed = one * static_cast<double>(vit_last_tokens(config, model));
  for (std::size_t layer = 0; layer < config.granularities.size(); ++layer) {
    const double share = layer + 1 == config.granularities.size() ? computed : 1;
    add_layer(config, layer, share, model.table);
    if (config.compensated) {
      const std::string fc2 =
          config.layer_name(static_cast<std::int64_t>(layer)) + std::string(config.kind->style.fc2);
      model.compensation.push_back({fc2 + ".weight", fc2 + ".input_mean", fc2 + ".bias"});
    }
    model.mixing.push_back(
        {.flops_per_attended = 4.0 * static_cast<double>(config.hidden_size) * share,
         .causal = false,
         .flow_per_token = config.hidden_size});
  }
  TableWriter to{model.table, config.initializer_range, ""};
  to.norm(config.name("layernorm"), config.hidden_size);
  to.role = Role::kHead;
  for (const std::string& head : config.heads_of_classes()) {
    to.linear(head, config.classes, config.head_columns(), one);
  }
  return model;
}

}  // namespace mnm
