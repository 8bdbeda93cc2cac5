#include "fold/layer_step.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/index_copy.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

namespace mnm {
namespace {

bool skips(std::span<const Width> siblings) { return siblings.front() == kSkip; }

// The children that are not skipped, of those parents that have any.
struct Stepped {
  std::vector<std::int32_t> parents;
  Children children;
};

Stepped stepped_of(const Children& all) {
  Stepped stepped;
  for (std::int64_t parent = 0; parent < all.parents(); ++parent) {
    const std::span<const Width> siblings = all.of(parent);
    const std::span<const Width> rest = siblings.subspan(skips(siblings) ? 1 : 0);
    if (rest.empty()) continue;
    const auto row = static_cast<std::int64_t>(stepped.parents.size());
    stepped.parents.push_back(static_cast<std::int32_t>(parent));
    for (const Width width : rest) stepped.children.add(row, width);
  }
  return stepped;
}

// Before what `stepped` adds to what is held comes what its parents hold.
State with_held(State stepped, const State& parents, const Children& children) {
  std::vector<Held> handed_on;
  for (const Held& nodes : parents.held) handed_on.push_back(of_children(nodes, children));
  stepped.held.insert(stepped.held.begin(), handed_on.begin(), handed_on.end());
  return stepped;
}

// All children in their order: the skipped from `parents`, the others one after the other from
// `stepped`.
at::Tensor merged(const Children& children, const at::Tensor& parents, const at::Tensor& stepped) {
  std::vector<at::Tensor> parts;
  std::int64_t done = 0;
  for (std::int64_t parent = 0; parent < children.parents(); ++parent) {
    const std::span<const Width> siblings = children.of(parent);
    const std::int64_t skipped = skips(siblings) ? 1 : 0;
    const std::int64_t rest = static_cast<std::int64_t>(siblings.size()) - skipped;
    if (skipped > 0) parts.push_back(parents.narrow(0, parent, 1));
    if (rest > 0) parts.push_back(stepped.narrow(0, done, rest));
    done += rest;
  }
  return at::cat(parts);
}

void add_skipped(LayerCache& cache, std::int64_t begin, std::int64_t end) {
  if (!cache.skipped.empty() && cache.skipped.back().end == begin) {
    cache.skipped.back().end = end;
  } else {
    cache.skipped.push_back({begin, end});
  }
}

// The givens of some rows: of what all layers read, and of this layer's.
Givens rows_of(const Givens& givens, std::size_t layer, const at::Tensor& index) {
  Givens out;
  for (const at::Tensor& t : givens.shared) out.shared.push_back(t.index_select(1, index));
  out.layers.resize(givens.layers.size());
  if (layer < givens.layers.size()) {
    for (const at::Tensor& t : givens.layers[layer]) {
      out.layers[layer].push_back(t.index_select(1, index));
    }
  }
  return out;
}

}  // namespace

State step_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& parents,
                 const Children& children) {
  if (std::ranges::find(children.widths, kSkip) == children.widths.end()) {
    return with_held(fold.step(layer, givens, parents, children), parents, children);
  }
  const Stepped rest = stepped_of(children);
  if (rest.parents.empty()) return parents;  // each has one child, itself
  const bool all = rest.children.parents() == children.parents();
  const State stepped =
      fold.step(layer, givens, all ? parents : parents.select(rest.parents), rest.children);
  State state;
  for (std::size_t i = 0; i < stepped.tensors.size(); ++i) {
    state.tensors.push_back(merged(children, parents.tensors[i], stepped.tensors[i]));
  }
  assert(stepped.held.empty());  // a layer that adds something is never skipped
  return with_held(std::move(state), parents, children);
}

State step_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& parents,
                 Width width) {
  Children children;
  for (std::int64_t parent = 0; parent < parents.nodes(); ++parent) children.add(parent, width);
  return step_layer(fold, layer, givens, parents, children);
}

State step_layer_shown(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                       const ChannelSink& sink) {
  State next = fold.step_shown(layer, givens, state, sink);
  next.held.insert(next.held.begin(), state.held.begin(), state.held.end());
  return next;
}

State step_layers(Fold& fold, const Embedded& start, const Widths& widths) {
  State state = start.state;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    state = step_layer(fold, layer, start.givens, state, widths[layer]);
  }
  return state;
}

State extend_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                   std::span<const Run> runs) {
  std::vector<Run> stepped;
  std::vector<std::int64_t> rows;
  std::int64_t row = 0;
  for (const Run& run : runs) {
    if (run.width == kSkip) {
      add_skipped(run.caches[layer], run.position, run.position + run.tokens);
    } else {
      stepped.push_back(run);
      for (std::int64_t i = 0; i < run.rows(); ++i) rows.push_back(row + i);
    }
    row += run.rows();
  }
  if (stepped.size() == runs.size()) return fold.extend(layer, givens, state, runs);
  if (stepped.empty()) return state;
  const at::Tensor index = at::tensor(rows, at::kLong).to(state.tensors.front().device());
  State part;
  for (const at::Tensor& t : state.tensors) part.tensors.push_back(t.index_select(2, index));
  part = fold.extend(layer, rows_of(givens, layer, index), part, stepped);
  State out;
  for (std::size_t i = 0; i < part.tensors.size(); ++i) {
    out.tensors.push_back(state.tensors[i].index_copy(2, index, part.tensors[i]));
  }
  return out;
}

State extend_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                   Width width, std::int64_t position, std::span<LayerCache> caches) {
  const at::IntArrayRef shape = state.tensors.front().sizes();
  const std::int64_t sequences = shape[1], tokens = shape[2];
  const Run run = {sequences, tokens, position, width, caches};
  const auto shaped = [](const at::Tensor& t, std::int64_t first, std::int64_t outer,
                         std::int64_t inner) {
    std::vector<std::int64_t> to = t.sizes().vec();
    to[static_cast<std::size_t>(first)] = outer;
    to[static_cast<std::size_t>(first) + 1] = inner;
    return t.reshape(to);
  };
  Givens rows;
  for (const at::Tensor& t : givens.shared) {
    rows.shared.push_back(shaped(t, 0, 1, sequences * tokens));
  }
  rows.layers.resize(givens.layers.size());
  if (layer < givens.layers.size()) {
    for (const at::Tensor& t : givens.layers[layer]) {
      rows.layers[layer].push_back(shaped(t, 0, 1, sequences * tokens));
    }
  }
  State flat;
  for (const at::Tensor& t : state.tensors) {
    flat.tensors.push_back(shaped(t, 1, 1, sequences * tokens));
  }
  State out = extend_layer(fold, layer, rows, flat, {&run, 1});
  for (at::Tensor& t : out.tensors) t = shaped(t, 1, sequences, t.size(2) / sequences);
  return out;
}

}  // namespace mnm
