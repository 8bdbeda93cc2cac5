// The graph is that of fold.cpp. Between attentions, activations are rows [batch * tokens,
// hidden], so that every product is one Gemm with the matrix as the checkpoint has it.
#include "families/vit/onnx.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "export/onnx_layers.h"
#include "families/onnx_positions.h"
#include "families/vit/config.h"

namespace mnm {
namespace {

constexpr const char* kBatch = "batch_size";

class VitGraph {
 public:
  VitGraph(const VitConfig& config, Dtype stored)
      : config_(config),
        style_(config.kind->style),
        tokens_(config.positions()),
        graph_("scorer", stored) {}

  OnnxGraph build() {
    const OnnxValue pixels =
        graph_.input("pixel_values", OnnxType::kF32,
                     {kBatch, config_.image.channels, config_.image.height, config_.image.width});
    OnnxValue x = embed(pixels);
    for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
      const auto scope = graph_.scope(fmt::format("layers.{}", layer));
      const std::string base = config_.layer_name(layer);
      const OnnxValue h = norm(x, base + std::string(style_.norm_before));
      x = graph_.add(x, scaled(attend(h, base + "attention."), base + "layer_scale1"));
      const OnnxValue after = norm(x, base + std::string(style_.norm_after));
      x = graph_.add(x, scaled(mlp(after, base), base + "layer_scale2"));
    }
    readout(x);
    return graph_.finish();
  }

 private:
  // -> [batch * tokens, hidden]: the first tokens, then the patches in raster order.
  OnnxValue embed(const OnnxValue& pixels) {
    const auto scope = graph_.scope("embeddings");
    const std::string base = config_.name("embeddings.");
    const OnnxValue patches = onnx_patch_embedding(
        graph_, pixels, base + "patch_embeddings.projection", config_.hidden_size,
        config_.image.patch_height, config_.image.patch_width);
    const std::int64_t positioned = config_.positioned_tokens(), d = config_.hidden_size;
    const std::vector<OnnxValue> positions =
        graph_.split(graph_.weight(base + "position_embeddings"), 1,
                     {positioned, config_.image.learned_patches()});
    std::vector<OnnxValue> tokens;
    for (const std::string& name : config_.first_token_names()) {
      tokens.push_back(graph_.weight(name));
    }
    const auto end = tokens.begin() + positioned;  // registers have no positions
    const std::vector<OnnxValue> with_positions(tokens.begin(), end);
    std::vector<OnnxValue> first = {
        graph_.add(graph_.concat(with_positions, 1), positions.front())};
    first.insert(first.end(), end, tokens.end());
    const OnnxValue each =
        onnx_for_each(graph_, graph_.concat(first, 1), pixels, {config_.first_tokens(), d});
    const OnnxValue of_patches = onnx_patch_positions(graph_, config_.image, positions.back(), d);
    const OnnxValue all = graph_.concat({each, graph_.add(patches, of_patches)}, 1);
    return graph_.reshape(all, {-1, config_.hidden_size});
  }

  // What a sublayer adds, by the layer scale of that name if there is one.
  OnnxValue scaled(const OnnxValue& x, const std::string& name) {
    return style_.layer_scale ? graph_.mul(x, graph_.weight(name + ".lambda1")) : x;
  }

  OnnxValue norm(const OnnxValue& x, const std::string& name) {
    const auto scope = graph_.scope("norm");
    return onnx_layer_norm(graph_, x, name, config_.layer_norm_eps);
  }

  // [batch * tokens, hidden] -> [batch, heads, tokens, head_dim]
  OnnxValue heads_of(const OnnxValue& x, const std::string& name) {
    const OnnxValue rows = onnx_linear(graph_, x, name, config_.qkv_bias);
    const OnnxValue apart = graph_.reshape(rows, {-1, tokens_, config_.heads, config_.head_dim()});
    return graph_.transpose(apart, {0, 2, 1, 3});
  }

  OnnxValue attend(const OnnxValue& x, const std::string& base) {
    const auto scope = graph_.scope("attention");
    const std::string own = base + "attention.";
    const OnnxValue query = heads_of(x, own + "query"), key = heads_of(x, own + "key"),
                    value = heads_of(x, own + "value");
    const double scale = 1 / std::sqrt(static_cast<double>(config_.head_dim()));
    const OnnxValue scores = graph_.op(
        "MatMul", {graph_.mul(query, graph_.number(scale)), graph_.transpose(key, {0, 1, 3, 2})});
    const OnnxValue shares =
        graph_.op("Softmax", {graph_.cast(scores, graph_.type(), OnnxType::kF32)},
                  {{"axis", std::int64_t{-1}}});
    const OnnxValue mixed =
        graph_.op("MatMul", {graph_.cast(shares, OnnxType::kF32, graph_.type()), value});
    const OnnxValue rows =
        graph_.reshape(graph_.transpose(mixed, {0, 2, 1, 3}), {-1, config_.hidden_size});
    return onnx_linear(graph_, rows, base + "output.dense", true);
  }

  OnnxValue mlp(const OnnxValue& x, const std::string& base) {
    const auto scope = graph_.scope("mlp");
    const OnnxValue h = onnx_linear(graph_, x, base + std::string(style_.fc1), true);
    const OnnxValue act = config_.activation == VitActivation::kGeluTanh ? onnx_gelu_tanh(graph_, h)
                                                                         : onnx_gelu(graph_, h);
    return onnx_linear(graph_, act, base + std::string(style_.fc2), true);
  }

  // What each head reads: the class token beside the mean of the patches, or one of the first
  // tokens alone.
  std::vector<OnnxValue> features_of(const OnnxValue& x, std::size_t heads) {
    const std::int64_t d = config_.hidden_size;
    const auto token_of = [&](const OnnxValue& tokens, std::int64_t at) {
      return graph_.reshape(graph_.slice(tokens, 1, at, at + 1), {-1, d});
    };
    std::vector<OnnxValue> features;
    if (style_.reads_patches) {
      const OnnxValue normed = graph_.reshape(norm(x, config_.name("layernorm")), {-1, tokens_, d});
      const OnnxValue patches = graph_.slice(normed, 1, config_.first_tokens(), tokens_);
      const OnnxValue mean =
          graph_.op("ReduceMean", {patches},
                    {{"axes", std::vector<std::int64_t>{1}}, {"keepdims", std::int64_t{0}}});
      features.push_back(graph_.concat({token_of(normed, 0), mean}, 1));
      return features;
    }
    const OnnxValue tokens = graph_.reshape(x, {-1, tokens_, d});
    for (std::size_t i = 0; i < heads; ++i) {
      features.push_back(
          norm(token_of(tokens, static_cast<std::int64_t>(i)), config_.name("layernorm")));
    }
    return features;
  }

  // The mean of the heads' logits, and what the heads read, one beside the other.
  void readout(const OnnxValue& x) {
    const std::vector<std::string> heads = config_.heads_of_classes();
    const std::vector<OnnxValue> features = features_of(x, heads.size());
    OnnxValue logits;
    for (std::size_t i = 0; i < heads.size(); ++i) {
      const OnnxValue own = onnx_linear(graph_, features[i], heads[i], true);
      logits = i == 0 ? own : graph_.add(logits, own);
    }
    const auto count = static_cast<double>(heads.size());
    if (count > 1) logits = graph_.mul(logits, graph_.number(1 / count));
    graph_.output_f32("logits", logits, {kBatch, config_.classes});
    const OnnxValue all = heads.size() > 1 ? graph_.concat(features, 1) : features.front();
    graph_.output_f32("features", all,
                      {kBatch, static_cast<std::int64_t>(heads.size()) * config_.head_columns()});
  }

  const VitConfig& config_;
  const VitStyle& style_;
  std::int64_t tokens_;
  OnnxBuilder graph_;
};

}  // namespace

OnnxModel vit_onnx(const NestedModel& submodel, Dtype stored) {
  const VitConfig config = parse_vit_config(submodel.config, {});
  OnnxModel onnx;
  onnx.scorer = VitGraph(config, stored).build();
  if (config.mask_token) {
    onnx.unread = {config.name("embeddings.mask_token")};
    onnx.without_unread = {{"use_mask_token", false}};
  }
  return onnx;
}

}  // namespace mnm
