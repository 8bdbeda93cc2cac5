#include "fold/fold.h"

#include <ATen/ATen.h>

#include "families/end_matrix.h"
#include "families/image_pass.h"
#include "families/mamba2/layer_fold.h"
#include "families/mamba2_vision/config.h"
#include "families/mamba2_vision/last_fold.h"
#include "families/patch_embedding.h"

namespace mnm {
namespace {

class Mamba2VisionFold final : public Fold {
 public:
  explicit Mamba2VisionFold(const FoldInputs& inputs)
      : config_(parse_mamba2_vision_config(inputs.model.config, {})),
        last_token_alone_(reads_last_token_alone(config_, inputs.model)),
        layers_(inputs, config_.blocks, "layers.", config_.norm_bias, config_.norm_eps),
        class_token_(inputs.weight("cls_token")),
        positions_(inputs.weight("pos_embed")),
        patches_(inputs.weight("patch_embed.proj.weight")),
        patch_bias_(inputs.weight("patch_embed.proj.bias")),
        final_norm_(load_block_norm(inputs.weight, "norm_f", config_.norm_bias, config_.norm_eps)),
        head_(inputs, "head.weight"),
        head_bias_(inputs.weight("head.bias")) {}

  void load(std::size_t layer) override { layers_.load(layer); }
  void unload(std::size_t layer) override { layers_.unload(layer); }

  Embedded embed(const Batch& batch) override {
    const at::Tensor embedded = embed_patches(config_.image, batch.inputs, patches_, patch_bias_);
    const at::Tensor last = class_token_.expand({embedded.size(0), 1, config_.blocks.hidden_size});
    const std::int64_t learned = config_.image.learned_patches();
    const at::Tensor positions =
        at::cat({patch_positions(config_.image, positions_.narrow(1, 0, learned)),
                 positions_.narrow(1, learned, 1)},
                1);
    const at::Tensor x = (at::cat({embedded, last}, 1) + positions).unsqueeze(0);
    const bool half = x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16;
    return {{{half && config_.blocks.residual_in_fp32 ? x.to(at::kFloat) : x}}, {}};
  }

  State step(std::size_t index, const Givens&, const State& parents,
             const Children& children) override {
    const at::Tensor& x = parents.tensors.front();
    if (is_last(index) && last_token_alone_) {
      return {{mamba2_last_token(config_.blocks, layers_.at(index), x, children)}};
    }
    return {{layers_.step(index, x, children)}};
  }

  State step_shown(std::size_t index, const Givens&, const State& state,
                   const ChannelSink& sink) override {
    const at::Tensor& x = state.tensors.front();
    const std::int64_t tokens = x.size(2);
    const Range read = read_after(index, tokens);
    const ChannelSink of_read = [&](const at::Tensor& rows) {
      const at::Tensor images = rows.view({-1, tokens, rows.size(1)});
      sink(images.narrow(1, read.begin, read.end - read.begin).flatten(0, 1));
    };
    return {{layers_.step_shown(index, x[0], of_read).unsqueeze(0)}};
  }

  std::int64_t shown_tokens(std::size_t index, std::int64_t tokens) const override {
    const Range read = read_after(index, tokens);
    return read.end - read.begin;
  }

  State extend(std::size_t layer, const Givens& givens, const State& state,
               std::span<const Run> runs) override {
    return pass_images(*this, layer, givens, state, runs);
  }

  std::uint64_t element_bytes() const override { return final_norm_.weight.element_size(); }

  // Of the class token, or the mean of the patches: [nodes, images, 1, d].
  at::Tensor readout(const State& state) override {
    const at::Tensor& x = state.tensors.front();
    const std::int64_t last = x.size(2) - 1;
    if (config_.class_token) return final_norm_(x.narrow(2, last, 1));
    return final_norm_(x.narrow(2, 0, last)).mean(2, /*keepdim=*/true);
  }

  at::Tensor logits(const at::Tensor& rows) override { return head_.product(rows) + head_bias_; }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return head_.product(rows, first, count) + head_bias_.narrow(0, first, count);
  }

 private:
  bool is_last(std::size_t index) const {
    return index + 1 == static_cast<std::size_t>(config_.blocks.layers);
  }
  // Of so many tokens those that are read after the layer: after the last one the class token,
  // which is the last token, or else the patches.
  Range read_after(std::size_t index, std::int64_t tokens) const {
    if (!is_last(index)) return {0, tokens};
    return config_.class_token ? Range{tokens - 1, tokens} : Range{0, tokens - 1};
  }

  Mamba2VisionConfig config_;
  bool last_token_alone_;
  Mamba2Layers layers_;
  at::Tensor class_token_, positions_, patches_, patch_bias_;
  BlockNorm final_norm_;
  EndMatrix head_;
  at::Tensor head_bias_;
};

}  // namespace

std::unique_ptr<Fold> make_mamba2_vision_fold(const FoldInputs& inputs) {
  return std::make_unique<Mamba2VisionFold>(inputs);
}

}  // namespace mnm
