#include <ATen/ATen.h>
#include <fmt/format.h>

#include "families/end_matrix.h"
#include "families/image_pass.h"
#include "families/patch_embedding.h"
#include "families/vit/vit.h"
#include "families/vit/vit_config.h"
#include "families/vit/vit_mlp_fold.h"
#include "fold/fold.h"
#include "fold/product.h"

namespace mnm {
namespace {

struct VitLayer {
  at::Tensor norm, norm_bias;            // [d], before attention
  at::Tensor query, query_bias;          // [d, d], [d] or undefined
  at::Tensor key_value, key_value_bias;  // [2d, d], [2d] or undefined
  at::Tensor output, output_bias;        // [d, d], [d]
  VitMlpWeights mlp;
};

class VitFold final : public Fold {
 public:
  explicit VitFold(const FoldInputs& inputs)
      : config_(parse_vit_config(inputs.model.config, {})),
        class_token_alone_(vit_reads_class_token_alone(inputs.model)),
        weight_(inputs.weight),
        class_token_(weight_(config_.name("embeddings.cls_token"))),
        positions_(weight_(config_.name("embeddings.position_embeddings"))),
        patches_(weight_(config_.name("embeddings.patch_embeddings.projection.weight"))),
        patch_bias_(weight_(config_.name("embeddings.patch_embeddings.projection.bias"))),
        final_norm_(weight_(config_.name("layernorm.weight"))),
        final_norm_bias_(weight_(config_.name("layernorm.bias"))),
        layers_(static_cast<std::size_t>(config_.layers)) {
    if (config_.kind->distilled) {
      class_token_ = at::cat({class_token_, weight_(config_.name("embeddings.distillation_token"))},
                             /*dim=*/1);
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
    const at::Tensor x =
        at::cat({class_token_.expand({images, config_.read_tokens(), d}), embedded}, 1) +
        positions_;
    return {{{x.unsqueeze(0)}}, {}};
  }

  State step(std::size_t index, const Givens&, const State& parents,
             const Children& children) override {
    const bool last = index + 1 == layers_.size();
    const at::Tensor x =
        attend(layers_[index], parents.tensors.front(), last && class_token_alone_);
    return {{vit_mlp(config_, layers_[index].mlp, x, children)}};
  }

  State extend(std::size_t layer, const Givens& givens, const State& state,
               std::span<const Run> runs) override {
    return pass_images(*this, layer, givens, state, runs);
  }

  std::uint64_t element_bytes() const override { return final_norm_.element_size(); }

  // Of the tokens that are read, one after the other: [nodes, images, 1, tokens * d].
  at::Tensor readout(const State& state) override {
    const at::Tensor read = state.tensors.front().narrow(2, 0, config_.read_tokens());
    return norm(read, final_norm_, final_norm_bias_).flatten(2, 3).unsqueeze(2);
  }

  at::Tensor logits(const at::Tensor& rows) override { return logits_of(rows, 0, config_.classes); }
  // The mean of the heads', each of its token.
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    at::Tensor sum;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      const auto token = static_cast<std::int64_t>(i);
      const at::Tensor own = rows.narrow(1, token * config_.hidden_size, config_.hidden_size);
      const at::Tensor logits =
          heads_[i].product(own, first, count) + head_biases_[i].narrow(0, first, count);
      sum = i == 0 ? logits : sum + logits;
    }
    return heads_.size() > 1 ? sum / static_cast<double>(heads_.size()) : sum;
  }

 private:
  VitLayer load_layer(std::size_t index) const {
    const std::string base = config_.name(fmt::format("encoder.layer.{}.", index));
    const auto w = [&](const char* name) { return weight_(base + name); };
    const std::string attention = "attention.attention.";
    VitLayer layer;
    layer.norm = w("layernorm_before.weight");
    layer.norm_bias = w("layernorm_before.bias");
    layer.query = weight_(base + attention + "query.weight");
    layer.key_value = at::cat(
        {weight_(base + attention + "key.weight"), weight_(base + attention + "value.weight")});
    if (config_.qkv_bias) {
      layer.query_bias = weight_(base + attention + "query.bias");
      layer.key_value_bias = at::cat(
          {weight_(base + attention + "key.bias"), weight_(base + attention + "value.bias")});
    }
    layer.output = w("attention.output.dense.weight");
    layer.output_bias = w("attention.output.dense.bias");
    layer.mlp = {w("layernorm_after.weight"),    w("layernorm_after.bias"),
                 w("intermediate.dense.weight"), w("intermediate.dense.bias"),
                 w("output.dense.weight"),       w("output.dense.bias")};
    return layer;
  }

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const {
    return at::layer_norm(x, {config_.hidden_size}, weight, bias, config_.layer_norm_eps);
  }

  // [sequences, tokens, heads * head_dim] -> [sequences, heads, tokens, head_dim]
  at::Tensor heads_of(const at::Tensor& x) const {
    return x.view({x.size(0), x.size(1), config_.heads, config_.head_dim()}).transpose(1, 2);
  }

  // x plus its attention, [nodes, images, tokens, d]; of the tokens alone that are read if asked
  // for.
  at::Tensor attend(const VitLayer& layer, const at::Tensor& x, bool first_alone) const {
    const std::int64_t sequences = x.size(0) * x.size(1), d = config_.hidden_size;
    const std::int64_t tokens = x.size(2), asking = first_alone ? config_.read_tokens() : tokens;
    const at::Tensor h = norm(x, layer.norm, layer.norm_bias).view({sequences, tokens, d});
    const at::Tensor key_value = product(h.view({-1, d}), layer.key_value, layer.key_value_bias)
                                     .view({sequences, tokens, 2 * d});
    const at::Tensor query =
        product(h.narrow(1, 0, asking).reshape({-1, d}), layer.query, layer.query_bias)
            .view({sequences, asking, d});
    const at::Tensor mixed = at::scaled_dot_product_attention(
        heads_of(query), heads_of(key_value.narrow(2, 0, d)), heads_of(key_value.narrow(2, d, d)));
    const at::Tensor out = product(mixed.transpose(1, 2).reshape({sequences * asking, d}),
                                   layer.output, layer.output_bias);
    return x.narrow(2, 0, asking) + out.view({x.size(0), x.size(1), asking, d});
  }

  VitConfig config_;
  bool class_token_alone_;
  WeightSource weight_;
  at::Tensor class_token_, positions_, patches_, patch_bias_, final_norm_, final_norm_bias_;
  std::vector<EndMatrix> heads_;         // [tokens that are read]
  std::vector<at::Tensor> head_biases_;  // likewise
  std::vector<VitLayer> layers_;
};

}  // namespace

std::unique_ptr<Fold> make_vit_fold(const FoldInputs& inputs) {
  return std::make_unique<VitFold>(inputs);
}

}  // namespace mnm
