#include "fold/layer_step.h"

#include <ATen/ops/cat.h>

#include <algorithm>
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

}  // namespace

State step_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& parents,
                 const Children& children) {
  if (std::ranges::find(children.widths, kSkip) == children.widths.end()) {
    return fold.step(layer, givens, parents, children);
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
  return state;
}

State step_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& parents,
                 Width width) {
  Children children;
  for (std::int64_t parent = 0; parent < parents.nodes(); ++parent) children.add(parent, width);
  return step_layer(fold, layer, givens, parents, children);
}

State step_layers(Fold& fold, const Embedded& start, const Widths& widths) {
  State state = start.state;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    state = step_layer(fold, layer, start.givens, state, widths[layer]);
  }
  return state;
}

State extend_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                   Width width, std::int64_t position, std::span<LayerCache> caches) {
  if (width == kSkip) return state;
  return fold.extend(layer, givens, state, width, position, caches);
}

}  // namespace mnm
