// Small nested models as data, made without any family's help, for rooms that know no family.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/nested_model.h"
#include "tests/support/tensors.h"

namespace mnm::test {

inline TensorSpec uncut(std::string name, std::vector<std::int64_t> shape, int layer,
                        double flops_per_element, Role role = Role::kOther) {
  TensorSpec spec;
  spec.name = std::move(name);
  spec.shape = std::move(shape);
  spec.layer = layer;
  spec.role = role;
  spec.flops_per_element = flops_per_element;
  return spec;
}

inline TensorSpec cut(std::string name, std::vector<std::int64_t> shape, int layer, int dim,
                      std::vector<Piece> pieces) {
  TensorSpec spec = uncut(std::move(name), std::move(shape), layer, 2);
  spec.cut_dim = dim;
  spec.pieces = std::move(pieces);
  return spec;
}

// Rows of a gate and columns of a down projection keep the prefix [0, w): the Llama-style cut.
// Beside them a norm and an attention matrix that are never cut.
inline NestedModel prefix_model(int layers, std::int64_t hidden,
                                const std::vector<Width>& granularities, std::int64_t vocab = 11,
                                bool tied_head = false) {
  NestedModel model;
  model.family = "prefix";
  model.vocab_size = vocab;
  model.hidden_size = model.flow_per_token = hidden;
  model.max_context = 64;
  model.tied_head = tied_head;
  const std::int64_t full = granularities.back();
  auto& tensors = model.table.tensors;
  tensors.push_back(uncut("embed", {vocab, hidden}, -1, tied_head ? 2 : 0, Role::kEmbedding));
  for (int i = 0; i < layers; ++i) {
    const std::string layer = fmt::format("layers.{}.", i);
    tensors.push_back(uncut(layer + "norm", {hidden}, i, 0));
    tensors.push_back(uncut(layer + "attention", {hidden, hidden}, i, 2));
    tensors.push_back(cut(layer + "gate", {full, hidden}, i, 0, {{0, 0, 1, 1}}));
    tensors.push_back(cut(layer + "down", {hidden, full}, i, 1, {{0, 0, 1, 1}}));
    model.space.layers.push_back({granularities, 0, false, "it was not trained"});
    model.mixing.push_back({.flops_per_attended = 4.0 * static_cast<double>(hidden),
                            .kv_per_token = 2 * hidden,
                            .flow_per_token = hidden});
  }
  tensors.push_back(uncut("norm", {hidden}, -1, 0));
  if (!tied_head) tensors.push_back(uncut("head", {vocab, hidden}, -1, 2, Role::kHead));
  return model;
}

// One projection whose rows are [z | x | B | C | dt], as in Mamba-2 with ngroups 1: several ranges
// of one dimension are kept. Widths are multiples of `head / 2`, inner sizes are 2 * width.
inline NestedModel pieces_model(int layers, std::int64_t hidden, std::int64_t head,
                                std::int64_t state, const std::vector<Width>& granularities) {
  NestedModel model;
  model.family = "pieces";
  model.vocab_size = 7;
  model.hidden_size = model.flow_per_token = hidden;
  model.max_context = 64;
  model.tied_head = true;
  const std::int64_t inner = 2 * granularities.back(), heads = inner / head;
  auto& tensors = model.table.tensors;
  tensors.push_back(uncut("embed", {7, hidden}, -1, 2, Role::kEmbedding));
  for (int i = 0; i < layers; ++i) {
    const std::string layer = fmt::format("layers.{}.", i);
    tensors.push_back(cut(layer + "in_proj", {2 * inner + 2 * state + heads, hidden}, i, 0,
                          {{0, 0, 2, 1},
                           {inner, 0, 2, 1},
                           {2 * inner, 2 * state, 0, 1},
                           {2 * inner + 2 * state, 0, 2, head}}));
    tensors.push_back(cut(layer + "conv", {inner + 2 * state, 1, 4}, i, 0,
                          {{0, 0, 2, 1}, {inner, 2 * state, 0, 1}}));
    tensors.push_back(cut(layer + "out_proj", {hidden, inner}, i, 1, {{0, 0, 2, 1}}));
    model.space.layers.push_back(
        {granularities, static_cast<Width>(head / 2), true, "a head has more channels"});
    model.mixing.push_back({.flops_per_width = 6.0 * static_cast<double>(state),
                            .state_per_width = 2 * state,
                            .flow_per_token = hidden});
  }
  tensors.push_back(uncut("norm", {hidden}, -1, 0));
  return model;
}

// Random tensors for every row of the table, in its order.
inline std::vector<TestTensor> random_tensors(const NestedModel& model, std::uint32_t seed,
                                              Dtype dtype = Dtype::kF32) {
  std::vector<TestTensor> tensors;
  for (const TensorSpec& spec : model.table.tensors) {
    tensors.push_back(random_tensor(spec.name, spec.shape, seed++, 1.0f, dtype));
  }
  return tensors;
}

}  // namespace mnm::test
