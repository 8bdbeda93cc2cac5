// The layers of a model of Mamba-2 blocks, whatever is before and after them: x plus out_proj of
// what the mixer makes of norm(x). Whole sequences; the next tokens of one: extend_fold.h.
// Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "families/mamba2/block_fold.h"
#include "families/mamba2/config.h"
#include "families/mamba2/mixer_fold.h"
#include "fold/fold.h"

namespace mnm {

// The norm NAME.weight and, if it has one, NAME.bias.
BlockNorm load_block_norm(const WeightSource& weight, const std::string& name, bool bias,
                          double epsilon);

// Adds the children of rows `parent` [.., d] to `out`, from what out_proj reads at the widest but
// without its norm: gated [n, inner], in f32 or f64. With S(w) = out_proj[:, :w] (norm gated)[:w],
// a child of width w is the parent plus S(w) / rms(gated[:w]).
void add_mamba2_children(const Mamba2Config& config, const Mamba2Layer& layer,
                         const at::Tensor& parent, const at::Tensor& gated,
                         std::span<const Width> widths, std::vector<at::Tensor>& out);

class Mamba2Layers {
 public:
  // Layer i's tensors are base + "i.norm.weight", base + "i.mixer...". norm_bias, norm_epsilon: of
  // the norms before the blocks.
  Mamba2Layers(const FoldInputs& inputs, const Mamba2Config& config, std::string base,
               bool norm_bias, double norm_epsilon);

  void load(std::size_t layer);
  void unload(std::size_t layer) { layers_[layer] = {}; }
  const Mamba2Layer& at(std::size_t layer) const { return layers_[layer]; }

  // x [parents, sequences, tokens, d] -> [children, sequences, tokens, d]. The children of a parent
  // come from one scan over the widest. With gradients every child is computed alone.
  at::Tensor step(std::size_t layer, const at::Tensor& x, const Children& children) const;
  // One node at full width: x [sequences, tokens, d] -> the same shape. Channels are those of the
  // gated norm's result, which out_proj reads.
  at::Tensor step_shown(std::size_t layer, const at::Tensor& x, const ChannelSink& sink) const;
  // By LibTorch's operators, with a state that is carried on (may be nullptr): x [sequences,
  // tokens, d]. Adds a child for each width to `out`.
  void add_siblings(std::size_t layer, const at::Tensor& x, std::span<const Width> widths,
                    MixerState* carried, std::vector<at::Tensor>& out) const;
  // Whether the CPU kernels apply.
  bool has_kernels(std::size_t layer, const at::Tensor& x) const;

 private:
  Mixer mixer(const Mamba2Layer& layer, Width width) const;
  at::Tensor project_in(const Mamba2Layer& layer, const at::Tensor& rows, Width width) const;
  at::Tensor mixed_rows(std::size_t layer, const at::Tensor& x, const Mixer& m) const;
  at::Tensor each_alone(std::size_t layer, const at::Tensor& x, const Children& children) const;

  Mamba2Config config_;
  WeightSource weight_;
  std::string base_;
  bool norm_bias_;
  double norm_epsilon_;
  std::vector<Mamba2Cut> cuts_;  // [layers]
  std::vector<Mamba2Layer> layers_;
};

}  // namespace mnm
