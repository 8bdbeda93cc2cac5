// A nested model as data: everything that is known about it without reading a tensor.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/dtype.h"
#include "model/example_inputs.h"
#include "model/tensor_table.h"
#include "model/width_space.h"

namespace mnm {

// What one layer costs besides the products with its tensors, what it keeps of a sequence, and
// which of its work siblings do not share. Siblings are submodels that agree in all layers before
// this one.
struct LayerMixing {
  double flops_per_attended = 0;  // per token and attended position (attention: 4 * q size)
  double flops_per_width = 0;     // per token and unit of width (state-space scan)
  double flops_per_token = 0;     // per token, whatever the width and the context

  // FLOPs that every sibling needs for itself, per token, and per token and unit of its own width.
  // They are a part of all FLOPs of the layer, products with tensors included. The rest is computed
  // once, for the widest sibling.
  double flops_per_sibling = 0;
  double flops_per_sibling_width = 0;

  std::int64_t kv_per_token = 0;        // cached elements per token, at most `window` tokens
  std::int64_t state_per_width = 0;     // cached elements per sequence and unit of width
  std::int64_t state_per_sequence = 0;  // the same, whatever the width

  // What a token attends to. If causal, this is the token itself and the tokens before it; else the
  // whole sequence. In both cases it is no more than the nearest `window` positions, the token's
  // own included (0: all).
  bool causal = true;
  std::int64_t window = 0;

  // Elements per token of the state that goes on from this layer to the next, or to the readout.
  std::int64_t flow_per_token = 0;
};

// How a layer makes up for the neurons that its width leaves out. By the names of its tensors:
// `means` [n] holds the mean of what each column of `matrix` [d, n] is multiplied with. At a width
// of w columns the bias of the matrix, in the type that the model is stored in, is
//   bias + sum over the columns i >= w of matrix[:, i] * means[i].
// It is a constant: no gradient passes through it. The bias compensation of An et al., FLAP
// (arXiv 2312.11983).
struct Compensation {
  std::string matrix, means, bias;
};

// The context of a model that has no limit of positions.
inline constexpr std::int64_t kAnyContext = std::numeric_limits<std::int32_t>::max();

struct NestedModel {
  std::string family;         // the registry's name: "llama"
  nlohmann::json config;      // config.json in Hugging Face's spelling, mostly as read
  Dtype dtype = Dtype::kF32;  // what the config says its tensors are stored in
  // The input of an example. The shape of token ids is empty: a sequence has as many as there are
  // positions.
  InputSpec input;
  // Whether an example has one output, the class that it belongs to. Else each position has one:
  // the next token.
  bool one_output = false;
  std::int64_t vocab_size = 0;  // what an output chooses among: the vocabulary, or the classes
  std::int64_t hidden_size = 0;
  // Positions that layers compute for an example: the most that the config allows (kAnyContext: no
  // limit), or, if the input is not token ids, exactly so many.
  std::int64_t max_context = 0;
  bool tied_head = false;
  TensorTable table;
  WidthSpace space;
  std::vector<Compensation> compensation;  // [layers]; empty: what a width leaves out is 0
  std::vector<LayerMixing> mixing;         // [layers]
  std::int64_t flow_per_token = 0;  // elements per token of the state that enters the first layer
  bool flow_in_f32 = false;  // states between layers are f32 even if the run's dtype is smaller
  // Whether its layers compute examples whose tokens branch (ExampleBranches in
  // dataset/examples.h).
  bool takes_branches = false;

  std::size_t layers() const { return space.layers.size(); }
  bool reads_tokens() const { return input.type == InputType::kTokenIds; }
  // The positions of an example for which somebody wants `wanted` of them: these, unless the model
  // knows only one number.
  std::int64_t positions(std::int64_t wanted) const {
    return reads_tokens() ? wanted : max_context;
  }
  // The outputs of an example with so many positions.
  std::int64_t outputs(std::int64_t positions) const { return one_output ? 1 : positions; }
};

}  // namespace mnm
