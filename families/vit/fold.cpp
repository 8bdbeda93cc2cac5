#include "fold/fold.h"

#include <ATen/ATen.h>

#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "families/end_matrix.h"
#include "families/image_pass.h"
#include "families/patch_embedding.h"
#include "families/removed_means.h"
#include "families/vit/config.h"
#include "families/vit/mlp_fold.h"
#include "families/vit/vit.h"
#include "fold/product.h"

namespace mnm {
namespace {

struct VitLayer {
  at::Tensor norm, norm_bias;            // [d], before attention
  at::Tensor query, query_bias;          // [d, d], [d] or undefined
  at::Tensor key_value, key_value_bias;  // [2d, d], [2d] or undefined
  at::Tensor output, output_bias;        // [d, d], [d]
  at::Tensor scale;                      // [d] of attention, or undefined
  VitMlpWeights mlp;
};

class VitFold final : public Fold {
 public:
  explicit VitFold(const FoldInputs& inputs)
      : config_(parse_vit_config(inputs.model.config, {})),
        last_tokens_(vit_last_tokens(config_, inputs.model)),
        weight_(inputs.weight),
        stored_(inputs.model.dtype),
        positions_(weight_(config_.name("embeddings.position_embeddings"))),
        patches_(weight_(config_.name("embeddings.patch_embeddings.projection.weight"))),
        patch_bias_(weight_(config_.name("embeddings.patch_embeddings.projection.bias"))),
        final_norm_(weight_(config_.name("layernorm.weight"))),
        final_norm_bias_(weight_(config_.name("layernorm.bias"))),
        layers_(static_cast<std::size_t>(config_.layers)) {
    for (const std::string& name : config_.first_token_names()) {
      first_tokens_.push_back(weight_(name));
    }
    for (const std::string& head : config_.heads_of_classes()) {
      heads_.emplace_back(inputs, head + ".weight");
      head_biases_.push_back(weight_(head + ".bias"));
    }
  }

  void load(std::size_t layer) override { layers_[layer] = load_layer(layer); }
  void unload(std::size_t layer) override { layers_[layer] = {}; }

  Embedded embed(const Batch& batch) override {
    const at::Tensor embedded = embed_patches(config_.image, batch.inputs, patches_, patch_bias_);
    const std::int64_t images = embedded.size(0), d = config_.hidden_size;
    const std::int64_t positioned = config_.positioned_tokens();
    const at::Tensor tokens = at::cat(first_tokens_, /*dim=*/1);
    const at::Tensor first =
        at::cat({tokens.narrow(1, 0, positioned) + positions_.narrow(1, 0, positioned),
                 tokens.narrow(1, positioned, config_.registers)},
                1);
    const at::Tensor learned = positions_.narrow(1, positioned, config_.image.learned_patches());
    const at::Tensor patches = embedded + patch_positions(config_.image, learned);
    const at::Tensor x = at::cat({first.expand({images, config_.first_tokens(), d}), patches}, 1);
    return {{{x.unsqueeze(0)}}, {}};
  }

  State step(std::size_t index, const Givens&, const State& parents,
             const Children& children) override {
    const at::Tensor& before = parents.tensors.front();
    const at::Tensor x =
        attend(layers_[index], before, is_last(index) ? last_tokens_ : before.size(2));
    return {{vit_mlp(config_, layers_[index].mlp, x, children)}};
  }

  State step_shown(std::size_t index, const Givens&, const State& state,
                   const ChannelSink& sink) override {
    const VitLayer& layer = layers_[index];
    const at::Tensor& before = state.tensors.front();
    const at::Tensor x = attend(layer, before, shown_tokens(index, before.size(2)));
    Children child;
    child.add(0, static_cast<Width>(layer.mlp.fc1.size(0)));
    return {{vit_mlp(config_, layer.mlp, x, child, sink)}};
  }

  std::int64_t shown_tokens(std::size_t index, std::int64_t tokens) const override {
    return is_last(index) ? config_.read_tokens() : tokens;
  }

  State extend(std::size_t layer, const Givens& givens, const State& state,
               std::span<const Run> runs) override {
    return pass_images(*this, layer, givens, state, runs);
  }

  std::uint64_t element_bytes() const override { return final_norm_.element_size(); }

  // What the heads read, one beside the other: [nodes, images, 1, heads * head_columns].
  at::Tensor readout(const State& state) override {
    const at::Tensor read = norm(state.tensors.front().narrow(2, 0, config_.read_tokens()),
                                 final_norm_, final_norm_bias_);
    if (!config_.kind->style.reads_patches) return read.flatten(2, 3).unsqueeze(2);
    const at::Tensor patches = read.narrow(2, config_.first_tokens(), config_.image.patches());
    return at::cat({read.narrow(2, 0, 1), patches.mean(2, /*keepdim=*/true)}, -1);
  }

  at::Tensor logits(const at::Tensor& rows) override { return logits_of(rows, 0, config_.classes); }
  // The mean of the heads', each of its columns.
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    at::Tensor sum;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      const std::int64_t columns = config_.head_columns();
      const at::Tensor own = rows.narrow(1, static_cast<std::int64_t>(i) * columns, columns);
      const at::Tensor logits =
          heads_[i].product(own, first, count) + head_biases_[i].narrow(0, first, count);
      sum = i == 0 ? logits : sum + logits;
    }
    return heads_.size() > 1 ? sum / static_cast<double>(heads_.size()) : sum;
  }

 private:
  bool is_last(std::size_t index) const { return index + 1 == layers_.size(); }

  VitLayer load_layer(std::size_t index) const {
    const std::string base = config_.layer_name(static_cast<std::int64_t>(index));
    const VitStyle& style = config_.kind->style;
    const auto w = [&](std::string_view name) { return weight_(base + std::string(name)); };
    const auto pair = [&](std::string_view name) {
      return std::pair(w(std::string(name) + ".weight"), w(std::string(name) + ".bias"));
    };
    const std::string attention = "attention.attention.";
    VitLayer layer;
    std::tie(layer.norm, layer.norm_bias) = pair(style.norm_before);
    layer.query = weight_(base + attention + "query.weight");
    layer.key_value = at::cat(
        {weight_(base + attention + "key.weight"), weight_(base + attention + "value.weight")});
    if (config_.qkv_bias) {
      layer.query_bias = weight_(base + attention + "query.bias");
      layer.key_value_bias = at::cat(
          {weight_(base + attention + "key.bias"), weight_(base + attention + "value.bias")});
    }
    std::tie(layer.output, layer.output_bias) = pair("attention.output.dense");
    std::tie(layer.mlp.norm, layer.mlp.norm_bias) = pair(style.norm_after);
    std::tie(layer.mlp.fc1, layer.mlp.fc1_bias) = pair(style.fc1);
    std::tie(layer.mlp.fc2, layer.mlp.fc2_bias) = pair(style.fc2);
    const at::Tensor scale =
        style.layer_scale ? w("layer_scale2.lambda1") : at::scalar_tensor(1.0, at::kDouble);
    const at::Tensor fc2 = layer.mlp.fc2;
    if (config_.compensated) {
      const at::Tensor means = w(std::string(style.fc2) + ".input_mean");
      layer.mlp.removed = RemovedMeans(fc2, means, layer.mlp.fc2_bias, stored_, scale);
    }
    if (!style.layer_scale) return layer;
    layer.scale = w("layer_scale1.lambda1");
    // Partial sums of fc2 are the children's states, so its rows are multiplied, once.
    layer.mlp.fc2 = (fc2 * scale.unsqueeze(1)).to(fc2.scalar_type());
    layer.mlp.fc2_bias = layer.mlp.fc2_bias * scale;
    return layer;
  }

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const {
    return at::layer_norm(x, {config_.hidden_size}, weight, bias, config_.layer_norm_eps);
  }

  // [sequences, tokens, heads * head_dim] -> [sequences, heads, tokens, head_dim]
  at::Tensor heads_of(const at::Tensor& x) const {
    return x.view({x.size(0), x.size(1), config_.heads, config_.head_dim()}).transpose(1, 2);
  }

  // x plus its attention, [nodes, images, asking, d], of the first `asking` tokens.
  at::Tensor attend(const VitLayer& layer, const at::Tensor& x, std::int64_t asking) const {
    const std::int64_t sequences = x.size(0) * x.size(1), d = config_.hidden_size;
    const std::int64_t tokens = x.size(2);
    const at::Tensor h = norm(x, layer.norm, layer.norm_bias).view({sequences, tokens, d});
    const at::Tensor key_value = product(h.view({-1, d}), layer.key_value, layer.key_value_bias)
                                     .view({sequences, tokens, 2 * d});
    const at::Tensor query =
        product(h.narrow(1, 0, asking).reshape({-1, d}), layer.query, layer.query_bias)
            .view({sequences, asking, d});
    const at::Tensor mixed = at::scaled_dot_product_attention(
        heads_of(query), heads_of(key_value.narrow(2, 0, d)), heads_of(key_value.narrow(2, d, d)));
    at::Tensor out = product(mixed.transpose(1, 2).reshape({sequences * asking, d}), layer.output,
                             layer.output_bias);
    if (layer.scale.defined()) out = out * layer.scale;
    return x.narrow(2, 0, asking) + out.view({x.size(0), x.size(1), asking, d});
  }

  VitConfig config_;
  std::int64_t last_tokens_;  // which the last layer computes
  WeightSource weight_;
  Dtype stored_;                          // what the checkpoint's tensors are in
  std::vector<at::Tensor> first_tokens_;  // [1, tokens, d] each
  at::Tensor positions_, patches_, patch_bias_, final_norm_, final_norm_bias_;
  std::vector<EndMatrix> heads_;
  std::vector<at::Tensor> head_biases_;  // [heads]
  std::vector<VitLayer> layers_;
};

}  // namespace

std::unique_ptr<Fold> make_vit_fold(const FoldInputs& inputs) {
  return std::make_unique<VitFold>(inputs);
}

}  // namespace mnm
