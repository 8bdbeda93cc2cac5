#include "fold/fold.h"

#include <ATen/ops/clone.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace mnm {

Held of_children(const Held& parents, const Children& children) {
  Held out;
  for (std::int64_t parent = 0; parent < children.parents(); ++parent) {
    out.insert(out.end(), children.of(parent).size(), parents[static_cast<std::size_t>(parent)]);
  }
  return out;
}

State State::narrow(std::int64_t begin, std::int64_t count) const {
  State out;
  for (const at::Tensor& t : tensors) out.tensors.push_back(t.narrow(0, begin, count));
  for (const Held& nodes : held)
    out.held.emplace_back(nodes.begin() + begin, nodes.begin() + begin + count);
  return out;
}

State State::select(std::span<const std::int32_t> nodes) const {
  const auto gap = [](std::int32_t a, std::int32_t b) { return b != a + 1; };
  if (!nodes.empty() && std::ranges::adjacent_find(nodes, gap) == nodes.end()) {
    return narrow(nodes.front(), static_cast<std::int64_t>(nodes.size()));
  }
  at::Tensor index = at::from_blob(const_cast<std::int32_t*>(nodes.data()),
                                   {static_cast<std::int64_t>(nodes.size())}, at::kInt)
                         .to(tensors.front().device(), at::kLong);
  State out;
  for (const at::Tensor& t : tensors) out.tensors.push_back(t.index_select(0, index));
  for (const Held& all : held) {
    Held& chosen = out.held.emplace_back();
    for (const std::int32_t node : nodes) chosen.push_back(all[static_cast<std::size_t>(node)]);
  }
  return out;
}

void LayerCache::remember(std::int64_t position) {
  if (take_back == 0) return;
  earlier.push_back({position, tensors});
  if (std::cmp_greater(earlier.size(), take_back)) earlier.pop_front();
}

void LayerCache::rewind(std::int64_t position) {
  while (!skipped.empty() && skipped.back().begin >= position) skipped.pop_back();
  if (!skipped.empty()) skipped.back().end = std::min(skipped.back().end, position);
  // The first token from there on that the layer computed: it found all that came before.
  const auto found =
      std::ranges::find_if(earlier, [&](const Earlier& at) { return at.position >= position; });
  if (found == earlier.end()) return;
  tensors = found->tensors;
  earlier.erase(found, earlier.end());
}

const at::Tensor& own(at::Tensor& tensor) {
  if (tensor.use_count() > 1) tensor = tensor.clone();
  return tensor;
}

State Fold::step_shown(std::size_t layer, const Givens&, const State&, const ChannelSink&) {
  fail(
      "cannot calibrate layer {}: this family does not show the inner channels of its layers; use "
      "--score magnitude, which needs no data",
      layer);
}

std::int64_t Fold::shown_tokens(std::size_t, std::int64_t tokens) const { return tokens; }

}  // namespace mnm
