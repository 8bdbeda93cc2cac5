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

#include "eval/prefix_tree.h"
#include "eval/scores.h"
#include "fold/batch.h"
#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

// What flows between layers, for several nodes of the prefix tree at once. Every tensor is
// [nodes, sequences, tokens, ...]. The family decides which tensors there are (Llama: the hidden
// states [.., d_model] alone). A layer that may be skipped returns as many tensors as it was given,
// of the same shapes but for the number of nodes.
struct State {
  std::vector<at::Tensor> tensors;

  std::int64_t nodes() const { return tensors.front().size(0); }
  State narrow(std::int64_t begin, std::int64_t count) const;  // nodes [begin, begin + count)
  // Those nodes, in that order. A view where they follow each other.
  State select(std::span<const std::int32_t> nodes) const;
};

// What layers read of a batch and no width changes, so that it is there once per batch and not once
// per node (Gemma 3n: the per-layer inputs). The family decides what is in it; most have nothing.
// Every tensor is [sequences, ...].
struct Givens {
  std::vector<at::Tensor> shared;               // read by every layer
  std::vector<std::vector<at::Tensor>> layers;  // [layers] or empty: read by that layer alone
};

// Where a batch starts: the state of the one node above the first layer, and the batch's givens.
struct Embedded {
  State state;
  Givens givens;
};

// What one layer keeps of earlier tokens for those that follow: keys and values, or the states of a
// convolution and a scan. The family decides which tensors these are and how they grow. Empty
// before the first token, and always empty where the layer is skipped.
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
// of their own. A layer may be loaded while others are stepped.
class Fold {
 public:
  virtual ~Fold() = default;

  // Takes a layer's weights from the source, and lets go of them. Only a loaded layer is stepped.
  virtual void load(std::size_t layer) = 0;
  virtual void unload(std::size_t layer) = 0;

  // The batch's inputs. Its targets are of no concern here, and may be undefined.
  virtual Embedded embed(const Batch& batch) = 0;

  // One layer, for the children of all nodes of `parents`: node c of the result has width
  // children.widths[c]. What does not depend on the width runs once per parent, and a parent's
  // children come out of one pass over the widest of them. Of givens.layers only this layer's entry
  // need be there.
  //
  // No child is skipped: call step_layer (fold/layer_step.h), which passes on only those that are
  // not, and which is the one caller of this function and of `extend`.
  virtual State step(std::size_t layer, const Givens& givens, const State& parents,
                     const Children& children) = 0;

  // One layer at one width, of one node that holds the tokens [position, position + n) of each
  // sequence, n >= 1. The result is what `step` gives for these tokens when it sees all of
  // [0, position + n).
  //
  // caches[layer] holds what earlier calls kept of the tokens before `position`, and the call adds
  // what it keeps of the new ones, in time and space that do not grow with `position`, but for
  // buffers that grow by doubling. The caches of earlier layers have the new tokens already, and
  // may be read. Without gradients.
  virtual State extend(std::size_t layer, const Givens& givens, const State& state, Width width,
                       std::int64_t position, std::span<LayerCache> caches) = 0;

  // Of an element of a weight; states have the same or, if NestedModel says so, f32.
  virtual std::uint64_t element_bytes() const = 0;

  // Elements per token of all that `embed` gives beside the state.
  virtual std::int64_t given_per_token() const { return 0; }

  // Final hidden states, normalised: [nodes, sequences, tokens, d_model].
  virtual at::Tensor readout(const State& state) = 0;

  // Logits of rows of it: [rows, d_model] -> [rows, vocab]. Taken in chunks by the caller.
  virtual at::Tensor logits(const at::Tensor& rows) = 0;
  // Of the words [first, first + count) alone, without the others: [rows, count].
  virtual at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) = 0;
};

std::unique_ptr<Fold> make_fold(const FoldInputs& inputs);  // by inputs.model.family

}  // namespace mnm
