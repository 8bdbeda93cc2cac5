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

// x += cumulative mean over earlier tokens of x, mixed, plus what the batch is given; x += down[:,
// :w] . tanh(up[:w] . x + b[:w]). The last layer takes the cumulative sums of another layer, the
// last one before it that is not skipped, and zeros where there is none.
//
// State: x; the sum over the layers of their output's first component; those cumulative sums.
// Given: to every layer 0.1 for each odd token, and to each its own column of "given".
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
  model.flow_per_token = 2 * shape.hidden + 1;
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
    model.mixing.push_back({.flops_per_attended = 2.0 * static_cast<double>(d),
                            .flow_per_token = model.flow_per_token});
  }
  add("given", {shape.vocab, static_cast<std::int64_t>(shape.layers)}, -1, 0, -1);
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

  Embedded embed(const Batch& batch) override {
    const at::Tensor x = at::embedding(weights["embed"], batch.inputs).unsqueeze(0);
    const at::Tensor given = at::embedding(weights["given"], batch.inputs);
    Embedded start = {{{x, at::zeros_like(x.narrow(3, 0, 1)), at::zeros_like(x)}}, {}};
    start.givens.shared = {batch.inputs.remainder(2).unsqueeze(2).to(at::kDouble).mul(0.1)};
    for (const at::Tensor& column : given.split(1, 2)) start.givens.layers.push_back({column});
    return start;
  }

  State step(std::size_t layer, const Givens& givens, const State& parents,
             const Children& children) override {
    const std::string at = std::to_string(layer);
    check(parents, children);
    check(layer, givens, parents);
    if (before_step) {
      before_step(children.nodes() * parents.tensors[0].size(1) * parents.tensors[0].size(2));
    }
    const at::Tensor x = parents.tensors[0];
    nodes_stepped += x.size(0) * x.size(1);
    const bool last = layer + 1 == loaded.size();
    const at::Tensor sums = last ? parents.tensors[2] : x.cumsum(2);
    const at::Tensor mixed = mix(at, givens.layers[layer], givens, x, sums, 0);
    std::vector<at::Tensor> results, gathered, kept;
    for (std::int64_t p = 0; p < children.parents(); ++p) {
      at::Tensor sum = mixed[p];
      std::int64_t done = 0;
      for (const Width width : children.of(p)) {
        sum = sum + ffn(at, mixed[p], done, width - done);
        done = width;
        results.push_back(sum);
        gathered.push_back(parents.tensors[1][p] + sum.narrow(2, 0, 1));
        kept.push_back(sums[p]);
      }
    }
    return {{at::stack(results), at::stack(gathered), at::stack(kept)}};
  }

  // Run by run.
  State extend(std::size_t layer, const Givens& givens, const State& state,
               std::span<const Run> runs) override {
    std::vector<std::vector<at::Tensor>> parts(state.tensors.size());
    std::int64_t row = 0;
    for (const Run& run : runs) {
      const auto part = [&](const at::Tensor& t, std::int64_t dim) {
        std::vector<std::int64_t> shape = t.sizes().vec();
        shape[static_cast<std::size_t>(dim) - 1] = run.sequences;
        shape[static_cast<std::size_t>(dim)] = run.tokens;
        return t.narrow(dim, row, run.rows()).reshape(shape);
      };
      State of_run;
      for (const at::Tensor& t : state.tensors) of_run.tensors.push_back(part(t, 2));
      Givens given;
      for (const at::Tensor& t : givens.shared) given.shared.push_back(part(t, 1));
      given.layers.resize(givens.layers.size());
      for (const at::Tensor& t : givens.layers[layer]) given.layers[layer].push_back(part(t, 1));
      const State out = extend(layer, given, of_run, run.width, run.position, run.caches);
      for (std::size_t i = 0; i < parts.size(); ++i) {
        parts[i].push_back(out.tensors[i].flatten(1, 2).unsqueeze(1));
      }
      row += run.rows();
    }
    State out;
    for (const std::vector<at::Tensor>& each : parts) out.tensors.push_back(at::cat(each, 2));
    return out;
  }

  std::uint64_t element_bytes() const override { return 8; }
  std::int64_t given_per_token() const override {
    return 1 + static_cast<std::int64_t>(loaded.size());
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
  // The cache is the cumulative sums of all tokens so far.
  State extend(std::size_t layer, const Givens& givens, const State& state, Width width,
               std::int64_t position, std::span<LayerCache> caches) {
    const std::string at = std::to_string(layer);
    EXPECT_NE(width, kSkip) << "skipping is the engine's affair";
    EXPECT_EQ(caches.size(), loaded.size());
    check(layer, givens, state);
    const at::Tensor x = state.tensors[0];
    at::Tensor sums;
    if (layer + 1 == loaded.size()) {
      sums = at::zeros_like(x);
      for (std::size_t l = 0; l < layer; ++l) {
        if (caches[l].tensors.empty()) continue;
        EXPECT_EQ(caches[l].tensors[0].size(2), position + x.size(2));
        sums = caches[l].tensors[0].narrow(2, position, x.size(2));
      }
    } else {
      std::vector<at::Tensor>& cache = caches[layer].tensors;
      EXPECT_EQ(cache.empty(), position == 0);
      sums = x.cumsum(2);
      if (position > 0) sums = sums + cache[0].narrow(2, position - 1, 1);
      cache = {position > 0 ? at::cat({cache[0], sums}, 2) : sums};
    }
    const at::Tensor mixed = mix(at, givens.layers[layer], givens, x, sums, position);
    const at::Tensor result = mixed + ffn(at, mixed, 0, width);
    return {{result, state.tensors[1] + result.narrow(3, 0, 1), state.tensors[2]}};
  }

  at::Tensor mix(const std::string& at, const std::vector<at::Tensor>& own, const Givens& givens,
                 const at::Tensor& x, const at::Tensor& sums, std::int64_t position) {
    const at::Tensor count =
        at::arange(position + 1, position + x.size(2) + 1, at::kDouble).view({1, 1, -1, 1});
    return x + at::matmul(sums / count, weights["mix." + at].t()) + own[0] + givens.shared[0];
  }

  // What neurons [first, first + count) add.
  at::Tensor ffn(const std::string& at, const at::Tensor& mixed, std::int64_t first,
                 std::int64_t count) {
    const at::Tensor act =
        at::tanh(at::matmul(mixed, weights["up." + at].narrow(0, first, count).t()) +
                 weights["bias." + at].narrow(0, first, count));
    return at::matmul(act, weights["down." + at].narrow(1, first, count).t());
  }

  // The contract of Fold::step.
  static void check(const State& parents, const Children& children) {
    ASSERT_EQ(children.parents(), parents.nodes());
    ASSERT_GT(children.parents(), 0);
    for (std::int64_t p = 0; p < children.parents(); ++p) {
      const std::span<const Width> widths = children.of(p);
      ASSERT_FALSE(widths.empty());
      ASSERT_GT(widths.front(), kSkip) << "skipping is the engine's affair";
      ASSERT_TRUE(std::ranges::is_sorted(widths, std::less_equal<>()));
    }
  }
  void check(std::size_t layer, const Givens& givens, const State& parents) const {
    const at::IntArrayRef all = parents.tensors[0].sizes();
    const std::vector<std::int64_t> shape = {all[1], all[2], 1};
    ASSERT_TRUE(loaded[layer]) << layer;
    ASSERT_EQ(givens.shared.size(), 1u);
    ASSERT_EQ(givens.layers.size(), loaded.size());
    ASSERT_EQ(givens.layers[layer].size(), 1u);
    ASSERT_EQ(givens.shared[0].sizes(), shape);
    ASSERT_EQ(givens.layers[layer][0].sizes(), shape);
  }
};

}  // namespace mnm::test
