#include "fold/fold.h"

#include <ATen/ATen.h>

#include "families/end_matrix.h"
#include "families/mamba2/config.h"
#include "families/mamba2/extend_fold.h"
#include "families/mamba2/layer_fold.h"

namespace mnm {
namespace {

class Mamba2Fold final : public Fold {
 public:
  explicit Mamba2Fold(const FoldInputs& inputs)
      : config_(parse_mamba2_config(inputs.model.config, {})),
        layers_(inputs, config_, "backbone.layers.", false, config_.norm_eps) {
    embedding_ = EndMatrix(inputs, "backbone.embeddings.weight");
    final_norm_ = load_block_norm(inputs.weight, "backbone.norm_f", false, config_.norm_eps);
    head_ = config_.tied ? embedding_ : EndMatrix(inputs, "lm_head.weight");
  }

  void load(std::size_t layer) override { layers_.load(layer); }
  void unload(std::size_t layer) override { layers_.unload(layer); }

  Embedded embed(const Batch& batch) override {
    const at::Tensor x = embedding_.at(batch.inputs).unsqueeze(0);
    const bool half = x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16;
    return {{{half && config_.residual_in_fp32 ? x.to(at::kFloat) : x}}, {}};
  }

  State step(std::size_t index, const Givens&, const State& parents,
             const Children& children) override {
    return {{layers_.step(index, parents.tensors.front(), children)}};
  }

  State step_shown(std::size_t index, const Givens&, const State& state,
                   const ChannelSink& sink) override {
    return {{layers_.step_shown(index, state.tensors.front()[0], sink).unsqueeze(0)}};
  }

  State extend(std::size_t index, const Givens&, const State& state,
               std::span<const Run> runs) override {
    const at::Tensor& x = state.tensors.front();
    if (layers_.has_kernels(index, x)) {
      return {{mamba2_extend(config_, layers_.at(index), x, index, runs)}};
    }
    std::vector<at::Tensor> out;
    std::int64_t row = 0;
    for (const Run& run : runs) {
      LayerCache& cache = run.caches[index];
      const at::Tensor rows = x[0][0].narrow(0, row, run.rows());
      const at::Tensor parent = rows.view({run.sequences, run.tokens, config_.hidden_size});
      std::vector<at::Tensor> parts;
      for (std::int64_t t = 0; t < run.tokens;) {
        const std::int64_t n = tokens_at_once(cache, run, t, run.tokens - t);
        MixerState carried = take_state(cache, config_, run.width);
        std::vector<at::Tensor> child;
        layers_.add_siblings(index, parent.narrow(1, t, n).contiguous(), {&run.width, 1}, &carried,
                             child);
        keep_state(cache, config_, run.width, carried);
        parts.push_back(child.front());
        t += n;
      }
      out.push_back(at::cat(parts, 1).reshape({-1, config_.hidden_size}));
      row += run.rows();
    }
    return {{at::cat(out).view(x.sizes())}};
  }

  bool keeps_states() const override { return true; }

  std::uint64_t element_bytes() const override { return final_norm_.weight.element_size(); }

  at::Tensor readout(const State& state) override { return final_norm_(state.tensors.front()); }

  at::Tensor logits(const at::Tensor& rows) override { return head_.product(rows); }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return head_.product(rows, first, count);
  }

 private:
  Mamba2Config config_;
  Mamba2Layers layers_;
  EndMatrix embedding_, head_;
  BlockNorm final_norm_;
};

}  // namespace

std::unique_ptr<Fold> make_mamba2_fold(const FoldInputs& inputs) {
  return std::make_unique<Mamba2Fold>(inputs);
}

}  // namespace mnm
