// The graph is that of vit_fold.cpp. Between attentions, activations are rows [batch * tokens,
// hidden], so that every product is one Gemm with the matrix as the checkpoint has it.
#include "families/vit/vit_onnx.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "export/onnx_layers.h"
#include "families/vit/vit_config.h"

namespace mnm {
namespace {

constexpr const char* kBatch = "batch_size";

class VitGraph {
 public:
  VitGraph(const VitConfig& config, Dtype stored)
      : config_(config), tokens_(config.positions()), graph_("scorer", stored) {}

  OnnxGraph build() {
    const OnnxValue pixels =
        graph_.input("pixel_values", OnnxType::kF32,
                     {kBatch, config_.image.channels, config_.image.height, config_.image.width});
    OnnxValue x = embed(pixels);
    for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
      const auto scope = graph_.scope(fmt::format("layers.{}", layer));
      const std::string base = config_.name(fmt::format("encoder.layer.{}.", layer));
      const OnnxValue h = norm(x, base + "layernorm_before");
      x = graph_.add(x, attend(h, base + "attention."));
      x = graph_.add(x, mlp(norm(x, base + "layernorm_after"), base));
    }
    readout(x);
    return graph_.finish();
  }

 private:
  // -> [batch * tokens, hidden]: the class token, then the patches in raster order.
  OnnxValue embed(const OnnxValue& pixels) {
    const auto scope = graph_.scope("embeddings");
    const std::string base = config_.name("embeddings.");
    const OnnxValue patches = onnx_patch_embedding(
        graph_, pixels, base + "patch_embeddings.projection", config_.hidden_size,
        config_.image.patch_height, config_.image.patch_width);
    OnnxValue tokens = graph_.weight(base + "cls_token");
    if (config_.kind->distilled) {
      tokens = graph_.concat({tokens, graph_.weight(base + "distillation_token")}, 1);
    }
    const OnnxValue first =
        onnx_for_each(graph_, tokens, pixels, {config_.read_tokens(), config_.hidden_size});
    const OnnxValue all =
        graph_.add(graph_.concat({first, patches}, 1), graph_.weight(base + "position_embeddings"));
    return graph_.reshape(all, {-1, config_.hidden_size});
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
    const OnnxValue h = onnx_linear(graph_, x, base + "intermediate.dense", true);
    const OnnxValue act = config_.activation == VitActivation::kGeluTanh ? onnx_gelu_tanh(graph_, h)
                                                                         : onnx_gelu(graph_, h);
    return onnx_linear(graph_, act, base + "output.dense", true);
  }

  // Of the tokens alone that are read: the mean of their heads' logits, and what the heads read,
  // one beside the other.
  void readout(const OnnxValue& x) {
    const std::vector<std::string> heads = config_.heads_of_classes();
    const OnnxValue tokens = graph_.reshape(x, {-1, tokens_, config_.hidden_size});
    std::vector<OnnxValue> features;
    OnnxValue logits;
    for (std::size_t i = 0; i < heads.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const OnnxValue token =
          graph_.reshape(graph_.slice(tokens, 1, at, at + 1), {-1, config_.hidden_size});
      features.push_back(norm(token, config_.name("layernorm")));
      const OnnxValue own = onnx_linear(graph_, features.back(), heads[i], true);
      logits = i == 0 ? own : graph_.add(logits, own);
    }
    const auto count = static_cast<double>(heads.size());
    if (count > 1) logits = graph_.mul(logits, graph_.number(1 / count));
    graph_.output_f32("logits", logits, {kBatch, config_.classes});
    const OnnxValue all = heads.size() > 1 ? graph_.concat(features, 1) : features.front();
    graph_.output_f32("features", all, {kBatch, config_.read_tokens() * config_.hidden_size});
  }

  const VitConfig& config_;
  std::int64_t tokens_;
  OnnxBuilder graph_;
};

}  // namespace

OnnxModel vit_onnx(const NestedModel& submodel, Dtype stored) {
  const VitConfig config = parse_vit_config(submodel.config, {});
  OnnxModel onnx;
  onnx.scorer = VitGraph(config, stored).build();
  return onnx;
}

}  // namespace mnm
