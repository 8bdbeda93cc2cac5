// The graph is that of fold.cpp, but for the last layer, which computes all tokens.
#include "families/mamba2_vision/onnx.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "export/onnx_layers.h"
#include "families/mamba2/onnx_mixer.h"
#include "families/mamba2_vision/config.h"
#include "families/onnx_positions.h"

namespace mnm {
namespace {

constexpr const char* kBatch = "batch_size";
constexpr OnnxType kF32 = OnnxType::kF32;

class Mamba2VisionGraph {
 public:
  Mamba2VisionGraph(const Mamba2VisionConfig& config, Dtype stored)
      : config_(config), d_(config.blocks.hidden_size), graph_("scorer", stored) {}

  OnnxGraph build() {
    const ImagePatches& image = config_.image;
    const OnnxValue pixels =
        graph_.input("pixel_values", kF32, {kBatch, image.channels, image.height, image.width});
    const OnnxValue tokens = embed(pixels);
    OnnxValue x = graph_.reshape(tokens, {-1, d_});
    Mamba2OnnxMixer mixer(config_.blocks, graph_, shape_of(pixels));
    for (std::size_t layer = 0; layer < config_.blocks.granularities.size(); ++layer) {
      const auto scope = graph_.scope(fmt::format("layers.{}", layer));
      const std::string base = fmt::format("layers.{}.", layer);
      const OnnxValue h = norm(x, base + "norm");
      const auto in_mixer = graph_.scope("mixer");
      x = graph_.add(x, mixer.mix(h, base + "mixer.", config_.blocks.full_width(layer)));
    }
    readout(x);
    return graph_.finish();
  }

 private:
  // [2]: batch, positions
  OnnxValue shape_of(const OnnxValue& pixels) {
    const OnnxValue batch = graph_.dimensions(graph_.op("Shape", {pixels}), {0});
    return graph_.concat({batch, graph_.integers({config_.positions()})}, 0);
  }

  // -> [batch, positions, d]: the patches in raster order, then the class token.
  OnnxValue embed(const OnnxValue& pixels) {
    const auto scope = graph_.scope("patch_embed");
    const OnnxValue patches =
        onnx_patch_embedding(graph_, pixels, "patch_embed.proj", d_, config_.image.patch_height,
                             config_.image.patch_width);
    const OnnxValue last = onnx_for_each(graph_, graph_.weight("cls_token"), pixels, {1, d_});
    OnnxValue positions = graph_.weight("pos_embed");
    if (config_.image.resized()) {
      const auto parts = graph_.split(positions, 1, {config_.image.learned_patches(), 1});
      positions = graph_.concat(
          {onnx_patch_positions(graph_, config_.image, parts.front(), d_), parts.back()}, 1);
    }
    return graph_.add(graph_.concat({patches, last}, 1), positions);
  }

  OnnxValue norm(const OnnxValue& x, const std::string& name) {
    const auto scope = graph_.scope("norm");
    if (config_.norm_bias) return onnx_layer_norm(graph_, x, name, config_.norm_eps);
    return onnx_rms_norm(graph_, x, name + ".weight", config_.norm_eps);
  }

  void readout(const OnnxValue& x) {
    const std::int64_t last = config_.positions() - 1;
    OnnxValue features;
    if (config_.class_token) {
      const OnnxValue tokens = graph_.reshape(x, {-1, last + 1, d_});
      features = norm(graph_.reshape(graph_.slice(tokens, 1, last, last + 1), {-1, d_}), "norm_f");
    } else {
      const OnnxValue tokens = graph_.reshape(norm(x, "norm_f"), {-1, last + 1, d_});
      features = graph_.op("ReduceMean", {graph_.slice(tokens, 1, 0, last)},
                           {{"axes", std::vector<std::int64_t>{1}}, {"keepdims", std::int64_t{0}}});
    }
    const OnnxValue logits = onnx_linear(graph_, features, "head", true);
    graph_.output_f32("logits", logits, {kBatch, config_.blocks.vocab_size});
    graph_.output_f32("features", features, {kBatch, d_});
  }

  const Mamba2VisionConfig& config_;
  std::int64_t d_;
  OnnxBuilder graph_;
};

}  // namespace

OnnxModel mamba2_vision_onnx(const NestedModel& submodel, Dtype stored) {
  const Mamba2VisionConfig config = parse_mamba2_vision_config(submodel.config, {});
  OnnxModel onnx;
  onnx.scorer = Mamba2VisionGraph(config, stored).build();
  return onnx;
}

}  // namespace mnm
