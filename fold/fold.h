// A nested model as a fold over its layers, with LibTorch. The other half of a family; scoring,
// training, timing and generating are written over these functions, whatever the family.
//
// Compiled only into the engine (engine/engine.h): nothing else includes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "eval/scores.h"
#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

// What flows between layers, for several nodes of the prefix tree at once. Every tensor is
// [nodes, sequences, tokens, ...]; which tensors there are is the family's own affair (Llama: the
// hidden states [.., d_model] alone).
struct State {
  std::vector<at::Tensor> tensors;

  std::int64_t nodes() const { return tensors.front().size(0); }
  State narrow(std::int64_t begin, std::int64_t count) const;  // nodes [begin, begin + count)
  State select(std::span<const std::int32_t> nodes) const;     // those nodes, in that order
};

// A child of a step: the parent's row in the incoming state, and the layer's width.
struct Child {
  std::int32_t parent = 0;
  Width width = 0;
};

// What one layer keeps of the tokens that went before, for those that follow: keys and values, or
// the states of a convolution and a scan. Which tensors, and how they grow, is the family's own
// affair. Empty before the first token.
struct LayerCache {
  std::vector<at::Tensor> tensors;
};

// Where a fold finds its weights: by the checkpoint's tensor name, on the device and in the dtype
// of the run, at full width. make_fold hands on what is no matrix in the type that is computed in
// (fold/product.h). Training hands out parameters, evaluation views of loaded tensors.
using WeightSource = std::function<at::Tensor(const std::string& name)>;
// Rows [first, first + count) of one of its matrices; in `room`, which is made where it holds
// fewer.
using RowSource = std::function<at::Tensor(const std::string& name, std::int64_t first,
                                           std::int64_t count, at::Tensor& room)>;

struct FoldInputs {
  const NestedModel& model;
  WeightSource weight;
  bool resident = true;  // make_fold loads every layer; else whoever steps loads and unloads them
  // Where there is one, embedding and head are read from it at every use, so many bytes at once.
  RowSource rows = {};
  std::uint64_t row_bytes = kEndPiece;
};

// Its constructor takes what belongs to no layer (embedding, final norm, head) from the source.
//
// Without gradients, its functions may be called from several threads at once, `extend` with caches
// of their own; a layer may be loaded while others are stepped.
class Fold {
 public:
  virtual ~Fold() = default;

  // Takes a layer's weights from the source, and lets go of them. Only a loaded layer is stepped.
  virtual void load(std::size_t layer) = 0;
  virtual void unload(std::size_t layer) = 0;

  // tokens: int64 [sequences, tokens]. One node.
  virtual State embed(const at::Tensor& tokens) = 0;

  // One layer. Children are ordered by parent; a parent's children ascend in width, no two alike;
  // node c of the result is children[c]. What does not depend on the width runs once per parent,
  // and a parent's siblings come out of one pass over its widest.
  virtual State step(std::size_t layer, const State& parents, std::span<const Child> children) = 0;

  // One layer at one width, of one node that holds the tokens [position, position + n) of each
  // sequence, n >= 1: what `step` gives for them when it sees all of [0, position + n). The tokens
  // before `position` speak through `cache`, as earlier calls left it; these are added to it, in
  // time and space that do not grow with `position`, but for what grows by doubling. Without
  // gradients.
  virtual State extend(std::size_t layer, const State& state, Width width, std::int64_t position,
                       LayerCache& cache) = 0;

  // Final hidden states, normalised: [nodes, sequences, tokens, d_model].
  virtual at::Tensor readout(const State& state) = 0;

  // Logits of rows of it: [rows, d_model] -> [rows, vocab]. Taken in chunks by the caller.
  virtual at::Tensor logits(const at::Tensor& rows) = 0;
  // Of the words [first, first + count) alone, without the others: [rows, count].
  virtual at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) = 0;
};

std::unique_ptr<Fold> make_fold(const FoldInputs& inputs);  // by inputs.model.family

}  // namespace mnm
