// MatMamba-Vision: an image classifier of Mamba-2 blocks. Patches in raster order, the class token
// after them, learned positions; one scan from the first patch to the class token, which has seen
// all of them. Widths are the language model's (families/mamba2/mamba2.cpp).
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "families/family.h"
#include "families/granularities.h"
#include "families/mamba2/table.h"
#include "families/mamba2_vision/config.h"
#include "families/mamba2_vision/huggingface.h"
#include "families/mamba2_vision/onnx.h"
#include "families/mamba2_vision/runtimes.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

constexpr double kProduct = Mamba2Tensors::kProduct;

void add_embeddings(const Mamba2VisionConfig& config, TensorTable& table) {
  const std::int64_t d = config.blocks.hidden_size;
  const ImagePatches& image = config.image;
  Mamba2Tensors to{table, ""};
  const auto embedding = [](TensorSpec& tensor) -> TensorSpec& {
    tensor.role = Role::kEmbedding;
    return tensor;
  };
  embedding(to.add("cls_token", {1, 1, d}, Init::kNormal)).is_vectors = true;
  embedding(to.add("pos_embed", {1, image.learned_patches() + 1, d}, Init::kNormal)).is_vectors =
      true;
  TensorSpec& projection = embedding(
      to.product("patch_embed.proj.weight",
                 {d, image.channels, image.patch_height, image.patch_width}, image.elements()));
  projection.flops_per_element =
      kProduct * static_cast<double>(image.patches()) / static_cast<double>(config.positions());
  embedding(to.add("patch_embed.proj.bias", {d}, Init::kZero));
}

void add_norm(const Mamba2VisionConfig& config, const std::string& name, Mamba2Tensors& to) {
  to.norm(name + ".weight", config.blocks.hidden_size, 1);
  if (config.norm_bias) to.add(name + ".bias", {config.blocks.hidden_size}, Init::kZero);
}

// A last layer of which the last token alone is read computes z, C and out_proj for this token (of
// C also the inputs of the convolution before it), and no states: y = sum_t w_t x_t + D x, where
// w_t is a number per head that has C . B_t in it. The tensors' FLOPs count all tokens, so this is
// less than nothing. `first`: the number of the layer's first tensor.
void read_last_token_alone(const Mamba2VisionConfig& config, std::size_t first,
                           NestedModel& model) {
  const Mamba2Config& blocks = config.blocks;
  const auto d = static_cast<double>(blocks.hidden_size);
  const auto state = static_cast<double>(blocks.state_size);
  const auto positions = static_cast<double>(config.positions());
  const auto taps = static_cast<double>(std::min(blocks.conv_kernel, config.positions()));
  const auto kernel = static_cast<double>(blocks.conv_kernel);
  const auto unread = [&](double tokens) { return 1 - tokens / positions; };  // share of tokens
  LayerMixing& mixing = model.mixing.back();
  mixing.flops_per_width = kInnerPerWidth * (kProduct - kProduct * d * unread(1));
  mixing.flops_per_token = kProduct * state - kProduct * d * state * unread(taps) -
                           kProduct * kernel * state * unread(1);
  for (std::size_t i = first; i < model.table.tensors.size(); ++i) {
    TensorSpec& tensor = model.table.tensors[i];
    if (tensor.name.ends_with("out_proj.weight")) tensor.flops_per_element = kProduct / positions;
  }
}

constexpr Exporter kExporters[] = {
    {"huggingface",
     [](const NestedModel& submodel, Dtype) -> FormatModel {
       return HuggingFaceTexts{submodel.config, mamba2_vision_bridge(),
                               "AutoModelForImageClassification"};
     }},
    {"decilm", nullptr,
     "mamba2_vision classifies images, and block_configs describe layers of a decoder"},
    {"gguf", nullptr,
     "mamba2_vision classifies images: llama.cpp runs language models, and has no architecture "
     "for it"},
    {"onnx",
     [](const NestedModel& submodel, Dtype stored) -> FormatModel {
       return mamba2_vision_onnx(submodel, stored);
     }},
    {"timm", nullptr, "mamba2_vision has Mamba-2 blocks, and timm has no model of these"},
};

class Mamba2Vision final : public Family {
 public:
  std::string_view name() const override { return "mamba2_vision"; }

  bool recognizes(const nlohmann::json& config) const override {
    return is_mamba2_vision_config(config);
  }
  std::vector<ModelKind> kinds() const override {
    return {{.model_type = kMamba2VisionModelType,
             .class_name = kMamba2VisionClass,
             .published = "MatMamba-Vision; also without a model_type, as its authors save it",
             .differs = "",
             .gguf = "",
             .gguf_mixed = ""}};
  }

  NestedModel describe(const nlohmann::json& json, const Nesting& nesting) const override {
    const Mamba2VisionConfig config = parse_mamba2_vision_config(json, nesting);
    const Mamba2Config& blocks = config.blocks;
    NestedModel model;
    model.family = name();
    model.config = json;
    if (nesting.image_size > 0) model.config[kImageSizeKey] = nesting.image_size;
    model.dtype = blocks.dtype;
    model.input = {InputType::kPixels, config.image.shape()};
    model.one_output = true;
    model.vocab_size = blocks.vocab_size;
    model.hidden_size = model.flow_per_token = blocks.hidden_size;
    model.flow_in_f32 = blocks.residual_in_fp32;
    model.max_context = config.positions();
    for (std::size_t layer = 0; layer < blocks.granularities.size(); ++layer) {
      model.space.layers.push_back(mamba2_choices(blocks, layer));
    }
    allow_skips(json, nesting.may_skip, model.space);

    add_embeddings(config, model.table);
    std::size_t last = 0;
    for (std::size_t layer = 0; layer < blocks.granularities.size(); ++layer) {
      last = model.table.tensors.size();
      Mamba2Tensors to{model.table, fmt::format("layers.{}.", layer), static_cast<int>(layer)};
      add_norm(config, "norm", to);
      add_mamba2_mixer(blocks, to);
      model.mixing.push_back(mamba2_mixing(blocks));
      model.mixing.back().state_per_width = model.mixing.back().state_per_sequence = 0;
    }
    if (reads_last_token_alone(config, model)) read_last_token_alone(config, last, model);
    Mamba2Tensors to{model.table, ""};
    add_norm(config, "norm_f", to);
    TensorSpec& head =
        to.product("head.weight", {blocks.vocab_size, blocks.hidden_size}, blocks.hidden_size);
    head.role = Role::kHead;
    head.flops_per_element = kProduct / static_cast<double>(config.positions());
    to.add("head.bias", {blocks.vocab_size}, Init::kZero).role = Role::kHead;
    return model;
  }

  nlohmann::json with_layers(const nlohmann::json& config, std::int64_t layers) const override {
    nlohmann::json shorter = config;
    shorter["n_layer"] = layers;
    keep_first_layers(shorter, layers);
    return shorter;
  }
  nlohmann::json huggingface_config(const NestedModel& model, const Widths& widths,
                                    Dtype dtype) const override {
    return mamba2_vision_config(model, widths, dtype);
  }
  std::map<std::string, std::string> huggingface_bridge(const NestedModel&,
                                                        const Widths&) const override {
    return mamba2_vision_bridge();
  }
  std::string why_not_padded(const NestedModel&, const Widths&) const override {
    return "the norm of a layer's gated output runs over its width, and zeros would make its mean "
           "smaller";
  }
  std::span<const Exporter> exporters() const override { return kExporters; }
  std::vector<RuntimeRule> runtimes(const NestedModel&) const override {
    return mamba2_vision_runtimes();
  }
};

}  // namespace

const Family& mamba2_vision_family() {
  static const Mamba2Vision family;
  return family;
}

}  // namespace mnm
