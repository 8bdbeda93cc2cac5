// A nested model as a fold over its layers, with LibTorch: the other half of a family. Scoring,
// training, timing and generating use these functions for every family.
//
// Compiled only into the engine (engine/engine.h): nothing else includes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "eval/memory.h"
#include "eval/prefix_tree.h"
#include "eval/scores.h"
#include "fold/batch.h"
#include "model/nested_model.h"
#include "model/slice_plan.h"
#include "model/widths.h"

namespace mnm {

// What nodes hold of an ancestor: of each node [sequences, tokens, ...]. Nodes that have it from
// one ancestor have one tensor, which nobody changes.
using Held = std::vector<at::Tensor>;  // [nodes]

// The same for the children of these nodes.
Held of_children(const Held& parents, const Children& children);

// What one layer gives to the next, for several nodes of the prefix tree at once. Every tensor is
// [nodes, sequences, tokens, ...]. The family decides which tensors there are (Llama: only the
// hidden states [.., d_model]). A layer that may be skipped returns as many tensors as it was
// given, with the same shapes except for the number of nodes.
struct State {
  std::vector<at::Tensor> tensors;
  // What a layer gave to all layers after it (Gemma 3n: keys and values that these read), in the
  // order in which it was given. It is held by reference: a step hands it on and copies nothing.
  std::vector<Held> held = {};

  std::int64_t nodes() const { return tensors.front().size(0); }
  State narrow(std::int64_t begin, std::int64_t count) const;  // nodes [begin, begin + count)
  // These nodes, in this order. The result is a view if the nodes follow each other.
  State select(std::span<const std::int32_t> nodes) const;
};

// What layers read of a batch and no width changes. It exists once per batch and not once per node
// (Gemma 3n: the per-layer inputs). The family decides what is in it; for most families it is
// empty. Every tensor is [sequences, ...].
struct Givens {
  std::vector<at::Tensor> shared;               // read by every layer
  std::vector<std::vector<at::Tensor>> layers;  // [layers] or empty: read by that layer only
};

// The start of a batch: the state of the one node above the first layer, and the batch's givens.
struct Embedded {
  State state;
  Givens givens;
};

// What one layer keeps of earlier tokens for later ones: keys and values (the KV cache), or the
// states of a convolution and a scan. The family decides which tensors these are and how they grow.
// It is empty before the first token.
//
// A copy shares the tensors. So a fold writes in place only what own() gave it.
struct LayerCache {
  std::vector<at::Tensor> tensors;
  // The positions that the sequence is opened for, where a family computes otherwise in a long one
  // (rotary frequencies that are chosen by the length); 0: no more than the model was trained with.
  // The caller sets it before the first token.
  std::int64_t context = 0;
  // Of a family that keeps states (Fold::keeps_states): how many of the tokens that come next can
  // be taken back later. The caller sets it, for one sequence alone.
  std::int64_t take_back = 0;
  // The tensors as they were before each of the last `take_back` tokens, oldest first.
  struct Earlier {
    std::int64_t position = 0;  // of that token
    std::vector<at::Tensor> tensors;
  };
  std::deque<Earlier> earlier;
  // Positions of the tokens that skipped the layer, ascending and disjoint. Nothing of them is
  // kept.
  std::vector<Range> skipped;

  // Remembers the tensors as they are before the token at `position`, if take_back asks for it.
  void remember(std::int64_t position);
  // Forgets the tokens from `position` on. Of a family that keeps states, `earlier` reaches there.
  void rewind(std::int64_t position);
};

// The tensor, as the only owner of its memory: a copy if another cache holds it too.
const at::Tensor& own(at::Tensor& tensor);

// Tokens that come next in some sequences of one length, at one width.
struct Run {
  std::int64_t sequences = 1;
  std::int64_t tokens = 1;            // of each
  std::int64_t position = 0;          // of the first of them
  Width width = 0;                    // of the layer that is computed
  std::span<LayerCache> caches = {};  // [layers]: of these sequences

  std::int64_t rows() const { return sequences * tokens; }
};

// Where a fold gets its weights: by the tensor's name in the checkpoint, on the device and in the
// dtype of the run, at full width. make_fold passes on tensors that are not matrices in the type of
// the arithmetic (fold/product.h). Training returns parameters; evaluation returns views of loaded
// tensors.
using WeightSource = std::function<at::Tensor(const std::string& name)>;
// Rows [first, first + count) of a matrix. They are in `room`, which is made anew if it holds
// fewer.
using RowSource = std::function<at::Tensor(const std::string& name, std::int64_t first,
                                           std::int64_t count, at::Tensor& room)>;

// Gets rows [n, channels] of what a layer multiplies the matrix whose columns the width cuts with
// (Llama: act(gate(x)) * up(x), for down_proj), at full width and in the type of the arithmetic.
// The rows of a call follow those of the call before: sequence by sequence, token by token. A
// sequence has Fold::shown_tokens() of them.
using ChannelSink = std::function<void(const at::Tensor& rows)>;

struct FoldInputs {
  const NestedModel& model;
  WeightSource weight;
  bool resident = true;  // make_fold loads every layer; else the caller of step does
  // If there is one, embedding and head are read from it at every use, `row_bytes` at a time.
  RowSource rows = {};
  std::uint64_t row_bytes = kEndPiece;
};

// The constructor of a fold takes the weights that belong to no layer (embedding, final norm, head)
// from the source.
//
// Without gradients, several threads may call its functions at once; each calls `extend` with its
// own caches. A layer may be loaded while others are stepped.
class Fold {
 public:
  virtual ~Fold() = default;

  // Takes a layer's weights from the source, or releases them. Only a loaded layer may be stepped.
  virtual void load(std::size_t layer) = 0;
  virtual void unload(std::size_t layer) = 0;

  // Embeds the inputs of the batch. The targets are not used here and may be undefined.
  virtual Embedded embed(const Batch& batch) = 0;

  // Computes one layer for the children of all nodes of `parents`. Node c of the result has width
  // children.widths[c]. What does not depend on the width runs once per parent. The children of a
  // parent come out of one pass over the widest of them. Only this layer's entry of givens.layers
  // must be there. Of State::held the result has only what this layer adds, and a layer that adds
  // something is never skipped.
  //
  // No child skips the layer. Call step_layer (fold/layer_step.h), which takes care of skipped
  // children. It is the only caller of this function and of `extend`.
  virtual State step(std::size_t layer, const Givens& givens, const State& parents,
                     const Children& children) = 0;

  // Steps one node at full width, and gives its inner channels to `sink`. Without gradients. After
  // the last layer the state is for readout alone. Error if the family does not show its channels.
  virtual State step_shown(std::size_t layer, const Givens& givens, const State& state,
                           const ChannelSink& sink);
  // How many rows of a sequence of so many tokens the layer shows. Fewer than all where it is the
  // last one and not all tokens are read after it: then only those that are count.
  virtual std::int64_t shown_tokens(std::size_t layer, std::int64_t tokens) const;

  // Computes one layer for the next tokens of many sequences, each run at a width of its own. State
  // and givens hold all of them as one sequence of one node: run after run, in a run sequence by
  // sequence, [1, 1, rows, ..] and [1, rows, ..]. The result equals what `step` gives for these
  // tokens when it sees all of [0, position + tokens), if none of them skipped a layer. Each weight
  // is read once for all runs that have few tokens.
  //
  // run.caches[layer] holds what earlier calls kept of the tokens before `position`. The call adds
  // what it keeps of the new tokens. It may have been filled at other widths. Its time and space do
  // not grow with `position`, except for buffers that grow. The caches of earlier layers already
  // have the new tokens and may be read. Without gradients.
  virtual State extend(std::size_t layer, const Givens& givens, const State& state,
                       std::span<const Run> runs) = 0;

  // Whether a cache is a state that each token changes, so that tokens cannot be taken back but by
  // going back to a copy (LayerCache::earlier). Else what is kept is addressed by position.
  virtual bool keeps_states() const { return false; }

  // Bytes of an element of a weight. States have the same size, or that of f32 if NestedModel says
  // so.
  virtual std::uint64_t element_bytes() const = 0;

  // Elements per token of everything that `embed` returns besides the state.
  virtual std::int64_t given_per_token() const { return 0; }

  // Final hidden states, normalised: [nodes, sequences, tokens, d_model].
  virtual at::Tensor readout(const State& state) = 0;

  // Logits of rows of the final hidden states: [rows, d_model] -> [rows, vocab]. The caller takes
  // them in chunks.
  virtual at::Tensor logits(const at::Tensor& rows) = 0;
  // Logits of the words [first, first + count) only: [rows, count]. The others are not computed.
  virtual at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) = 0;
};

std::unique_ptr<Fold> make_fold(const FoldInputs& inputs);  // by inputs.model.family

}  // namespace mnm
