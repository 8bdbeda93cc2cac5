// A nested family that exists only here: the evaluator must score it without knowing it. In double,
// so that two orders of the same sums agree far beyond the f32 in which losses are taken.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fold/fold.h"

namespace mnm::test {

// x += cumulative mean over earlier tokens of x, mixed; x += down[:, :w] . tanh(up[:w] . x +
// b[:w]); the second tensor of the state gathers the first component of every layer's output.
struct ToyShape {
  std::size_t layers = 3;
  std::int64_t hidden = 8, vocab = 13;
  std::vector<Width> widths = {2, 4, 8, 16};
  bool may_skip = false;
};

inline NestedModel toy_model(const ToyShape& shape) {
  NestedModel model;
  model.family = "toy";
  model.vocab_size = shape.vocab;
  model.hidden_size = shape.hidden;
  model.max_context = 1 << 20;
  model.flow_per_token = shape.hidden + 1;  // and a count of steps
  const auto add = [&](std::string name, std::vector<std::int64_t> size, int layer, double flops,
                       int cut_dim) {
    TensorSpec spec;
    spec.name = std::move(name);
    spec.shape = std::move(size);
    spec.layer = layer;
    spec.flops_per_element = flops;
    spec.cut_dim = cut_dim;
    if (cut_dim >= 0) spec.pieces = {{0, 0, 1, 1}};
    model.table.tensors.push_back(std::move(spec));
  };
  const std::int64_t d = shape.hidden, full = shape.widths.back();
  add("embed", {shape.vocab, d}, -1, 0, -1);
  for (std::size_t i = 0; i < shape.layers; ++i) {
    const std::string at = std::to_string(i);
    add("mix." + at, {d, d}, static_cast<int>(i), 2, -1);
    add("up." + at, {full, d}, static_cast<int>(i), 2, 0);
    add("bias." + at, {full}, static_cast<int>(i), 0, 0);
    add("down." + at, {d, full}, static_cast<int>(i), 2, 1);
    model.space.layers.push_back({shape.widths, 0, shape.may_skip, "it was not trained"});
    model.mixing.push_back(
        {.flops_per_attended = 2.0 * static_cast<double>(d), .flow_per_token = d + 1});
  }
  add("head", {shape.vocab, d + 1}, -1, 2, -1);
  return model;
}

class ToyFold final : public Fold {
 public:
  ToyFold(const NestedModel& model, std::uint64_t seed) : loaded(model.layers(), true) {
    at::manual_seed(seed);
    for (const TensorSpec& spec : model.table.tensors) {
      weights[spec.name] = at::randn(spec.shape, at::kDouble).mul(0.6);
    }
  }

  // Loading is counted on one thread at a time, as layers are loaded.
  void load(std::size_t layer) override {
    if (before_load) before_load(layer);
    loaded[layer] = true;
    ++loads;
    most_loaded = std::max<std::int64_t>(most_loaded, ++held);
  }
  void unload(std::size_t layer) override {
    held -= loaded[layer];
    loaded[layer] = false;
  }

  State embed(const at::Tensor& tokens) override {
    const at::Tensor x = at::embedding(weights["embed"], tokens).unsqueeze(0);
    return {{x, at::zeros_like(x.narrow(3, 0, 1))}};
  }

  State step(std::size_t layer, const State& parents, std::span<const Child> children) override {
    const std::string at = std::to_string(layer);
    check(parents, children);
    EXPECT_TRUE(loaded[layer]) << layer;
    if (before_step) {
      before_step(static_cast<std::int64_t>(children.size()) * parents.tensors[0].size(1) *
                  parents.tensors[0].size(2));
    }
    const at::Tensor x = parents.tensors[0];
    nodes_stepped += x.size(0) * x.size(1);
    const at::Tensor count = at::arange(1, x.size(2) + 1, at::kDouble).view({1, 1, -1, 1});
    const at::Tensor mixed = x + at::matmul(x.cumsum(2) / count, weights["mix." + at].t());
    std::vector<at::Tensor> out, gathered;
    at::Tensor sum, activation;
    for (std::size_t c = 0; c < children.size(); ++c) {
      const Child& child = children[c];
      if (c == 0 || child.parent != children[c - 1].parent) sum = mixed[child.parent];
      const std::int64_t done =
          c == 0 || child.parent != children[c - 1].parent ? 0 : children[c - 1].width;
      const std::int64_t part = child.width - done;
      at::Tensor result = x[child.parent];
      if (child.width != kSkip) {
        const at::Tensor act = at::tanh(
            at::matmul(mixed[child.parent], weights["up." + at].narrow(0, done, part).t()) +
            weights["bias." + at].narrow(0, done, part));
        sum = sum + at::matmul(act, weights["down." + at].narrow(1, done, part).t());
        result = sum;
      }
      out.push_back(result);
      gathered.push_back(parents.tensors[1][child.parent] + result.narrow(2, 0, 1));
    }
    return {{at::stack(out), at::stack(gathered)}};
  }

  // The cache is the sum of the tokens so far.
  State extend(std::size_t layer, const State& state, Width width, std::int64_t position,
               LayerCache& cache) override {
    const std::string at = std::to_string(layer);
    const at::Tensor x = state.tensors[0];
    const at::Tensor count =
        at::arange(position + 1, position + x.size(2) + 1, at::kDouble).view({1, 1, -1, 1});
    at::Tensor sums = x.cumsum(2);
    if (position > 0) sums = sums + cache.tensors.at(0);
    cache.tensors = {sums.narrow(2, x.size(2) - 1, 1)};
    at::Tensor result = x;
    if (width != kSkip) {
      const at::Tensor mixed = x + at::matmul(sums / count, weights["mix." + at].t());
      const at::Tensor act =
          at::tanh(at::matmul(mixed, weights["up." + at].narrow(0, 0, width).t()) +
                   weights["bias." + at].narrow(0, 0, width));
      result = mixed + at::matmul(act, weights["down." + at].narrow(1, 0, width).t());
    }
    return {{result, state.tensors[1] + result.narrow(3, 0, 1)}};
  }

  at::Tensor readout(const State& state) override {
    return at::cat(
        {at::layer_norm(state.tensors[0], {state.tensors[0].size(3)}), at::tanh(state.tensors[1])},
        3);
  }

  at::Tensor logits(const at::Tensor& rows) override {
    std::int64_t seen = widest_logits;
    while (seen < rows.size(0) && !widest_logits.compare_exchange_weak(seen, rows.size(0))) {
    }
    logits_made += rows.size(0) * weights["head"].size(0);
    return at::mm(rows, weights["head"].t()).to(logits_type);
  }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    most_words = std::max<std::int64_t>(most_words, count);
    logits_made += rows.size(0) * count;
    return at::mm(rows, weights["head"].narrow(0, first, count).t()).to(logits_type);
  }

  std::map<std::string, at::Tensor> weights;
  at::ScalarType logits_type = at::kDouble;
  std::vector<char> loaded;            // [layers]
  std::atomic<std::int64_t> held = 0;  // of them, by load
  std::int64_t loads = 0, most_loaded = 0;
  std::function<void(std::size_t)> before_load;
  std::function<void(std::int64_t)> before_step;  // its children's rows: sequences * tokens each
  std::atomic<std::int64_t> nodes_stepped = 0;    // parents * sequences
  std::atomic<std::int64_t> widest_logits = 0;    // rows of the largest readout product
  std::atomic<std::int64_t> logits_made = 0;      // one by one
  std::int64_t most_words = 0;                    // of a readout product in chunks of words

 private:
  // The contract of Fold::step.
  static void check(const State& parents, std::span<const Child> children) {
    ASSERT_FALSE(children.empty());
    for (std::size_t c = 0; c < children.size(); ++c) {
      ASSERT_GE(children[c].parent, 0);
      ASSERT_LT(children[c].parent, parents.nodes());
      if (c == 0) continue;
      ASSERT_GE(children[c].parent, children[c - 1].parent);
      if (children[c].parent == children[c - 1].parent) {
        ASSERT_GT(children[c].width, children[c - 1].width);
      }
    }
  }
};

}  // namespace mnm::test
