// Tiny Mamba-2 models, their trees and their sequences piece by piece, by any route of the fold.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "families/family.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm::test {

// Every variant, and shapes that fill the kernels' tiles.
inline std::vector<TinyMamba2> variants() {
  std::vector<TinyMamba2> all;
  for (TinyMamba2& tiny : tiny_mamba2s()) {
    tiny.mamba_ssm = false;  // the layouts differ in names, which are no affair of a fold's
    if (!tiny.matmamba) all.push_back(tiny);
  }
  TinyMamba2 wide = all.front();
  wide.name = "full_tiles";
  wide.hidden = 32, wide.head_dim = 16, wide.state = 32;
  wide.granularities = {8, 16, 32};
  all.push_back(wide);
  wide.name = "uneven_tiles";
  wide.hidden = 40, wide.head_dim = 20, wide.state = 70;
  wide.granularities = {10, 40};
  all.push_back(wide);
  return all;
}

class Mamba2Model {
 public:
  Mamba2Model(const TinyMamba2& tiny, const at::TensorOptions& options)
      : model_(family_of(tiny.config()).describe(tiny.config(), {})) {
    for (const TestTensor& tensor : tiny.tensors()) {
      weights_[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(options);
    }
    reload();
  }
  void reload() {
    fold_ = make_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
  }
  Fold& fold() { return *fold_; }
  const NestedModel& description() const { return model_; }
  std::map<std::string, at::Tensor>& weights() { return weights_; }

 private:
  NestedModel model_;
  std::map<std::string, at::Tensor> weights_;
  std::unique_ptr<Fold> fold_;
};

// Trained widths and, where the space allows more, two random ones; ascending.
inline std::vector<Width> widths_of(const LayerChoices& choices, std::uint32_t seed) {
  std::vector<Width> widths = choices.granularities;
  std::mt19937 random(seed);
  for (int i = 0; i < 2 && choices.step > 0; ++i) {
    const auto allowed = static_cast<std::uint32_t>(choices.full() / choices.step);
    widths.push_back(choices.step * static_cast<Width>(1 + random() % allowed));
  }
  std::ranges::sort(widths);
  const auto twice = std::ranges::unique(widths);
  widths.erase(twice.begin(), twice.end());
  return widths;
}

// Children of each of `parents` nodes: all widths, every other, or the widest alone.
inline Children children_of(std::int64_t parents, const std::vector<Width>& widths) {
  Children children;
  for (std::int64_t parent = 0; parent < parents; ++parent) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const bool last = i + 1 == widths.size();
      if (parent % 4 == 3 ? i == 0 : last || parent % 4 == 0 || (parent % 4 == 1 && i % 2 == 0)) {
        children.add(parent, widths[i]);
      }
    }
  }
  return children;
}

inline at::Tensor tokens_of(const TinyMamba2& tiny, std::int64_t sequences, std::int64_t length) {
  return at::arange(sequences * length, at::kLong)
      .mul(7919)
      .remainder(tiny.vocab)
      .view({sequences, length});
}

// Logits of the whole tree: [leaves, sequences, tokens, vocab], in double.
inline at::Tensor run(Mamba2Model& model, const at::Tensor& tokens, std::uint32_t seed) {
  const auto [root, givens] = model.fold().embed({tokens});
  State state = root;
  for (std::size_t layer = 0; layer < model.description().layers(); ++layer) {
    const std::vector<Width> widths = widths_of(model.description().space.layers[layer],
                                                seed + static_cast<std::uint32_t>(layer));
    state = model.fold().step(layer, givens, state, children_of(state.nodes(), widths));
  }
  const at::Tensor hidden = model.fold().readout(state);
  return model.fold().logits(hidden.flatten(0, 2)).to(at::kCPU, at::kDouble);
}

// A product of length n is off by n epsilon of its terms; on a path there are, per layer, products
// over hidden (in_proj), the taps, the state, the tokens (inside a chunk and from chunk to chunk),
// the channels of the norm and of out_proj, and the exponential of a chunk's sum of time steps,
// whose argument, at most 2 * 8 a token here, is off by its own size. A norm's divisor is a mean of
// squares that may be small where all channels are: errors enter the next layer at most ten times
// their own size, as the errors of its terms are relative to the largest.
inline double roundings(const TinyMamba2& tiny, std::int64_t tokens) {
  return 10 * static_cast<double>(tiny.layers + 1) *
         static_cast<double>(tiny.hidden + tiny.kernel + tiny.state + 16 * tokens +
                             2 * tiny.inner());
}

// Logits of one candidate, the tokens given in pieces of those lengths: [sequences, tokens, vocab].
inline at::Tensor extend(Mamba2Model& model, const Widths& widths, const at::Tensor& tokens,
                         const std::vector<std::int64_t>& pieces) {
  std::vector<LayerCache> caches(widths.size());
  std::vector<at::Tensor> logits;
  std::int64_t position = 0;
  for (const std::int64_t piece : pieces) {
    const auto [root, givens] = model.fold().embed({tokens.narrow(1, position, piece)});
    State state = root;
    for (std::size_t layer = 0; layer < widths.size(); ++layer) {
      state = extend_layer(model.fold(), layer, givens, state, widths[layer], position, caches);
    }
    const at::Tensor hidden = model.fold().readout(state);
    logits.push_back(model.fold()
                         .logits(hidden.flatten(0, 2))
                         .view({tokens.size(0), piece, -1})
                         .to(at::kCPU, at::kDouble));
    position += piece;
  }
  return at::cat(logits, 1);
}

}  // namespace mnm::test
