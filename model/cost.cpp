#include "model/cost.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/spelling.h"
#include "model/flops.h"
#include "model/shapes.h"

namespace mnm {
namespace {

constexpr std::array<std::string_view, 6> kKindNames = {"params", "non-embedding", "bytes",
                                                        "flops",  "memory",        "latency"};

void add_tensor(CostPart& part, const TensorSpec& spec, std::int64_t elements) {
  part.params = checked_add(part.params, elements);
  if (spec.role == Role::kOther) part.non_embedding = checked_add(part.non_embedding, elements);
  part.flops += spec.flops_per_element * static_cast<double>(elements);
}

// A tied head is an embedding whose products are the readout's.
void add_fixed(CostPart& part, const TensorSpec& spec, bool tied_head) {
  const std::int64_t elements = spec.elements_of(-1, kSkip);
  add_tensor(part, spec, elements);
  if (spec.role != Role::kEmbedding || tied_head) return;
  part.embedding_flops += spec.flops_per_element * static_cast<double>(elements);
}

CostBasis basis_for(const NestedModel& model, CostBasis basis) {
  basis.context = model.positions(basis.context);
  if (basis.cache.context == 0) basis.cache.context = basis.context;
  return basis;
}

void add_mixing(CostPart& part, const LayerMixing& mixing, Width width, const CostBasis& basis) {
  if (width == kSkip) return;
  part.flops += mixing_flops(mixing, width, basis.context);
  if (mixing.window == 0) {
    part.kv_elements = checked_add(part.kv_elements, mixing.kv_per_token);
  } else {
    const std::int64_t kept = std::min(mixing.window, basis.context);
    part.state_elements = checked_add(part.state_elements, checked_mul(mixing.kv_per_token, kept));
  }
  const std::int64_t state =
      checked_add(mixing.state_per_sequence, checked_mul(mixing.state_per_width, width));
  part.state_elements = checked_add(part.state_elements, state);
  const std::int64_t held =
      mixing.window == 0 ? basis.cache.context : std::min(mixing.window, basis.cache.context);
  part.cached_elements =
      checked_add(part.cached_elements, checked_add(state, checked_mul(mixing.kv_per_token, held)));
}

// Both routes to a cost add the fixed part first and then the layers in order, so that even the
// floating-point sums are equal bit for bit.
void add(CostPart& sum, const CostPart& part) {
  sum.params = checked_add(sum.params, part.params);
  sum.non_embedding = checked_add(sum.non_embedding, part.non_embedding);
  sum.flops += part.flops;
  sum.kv_elements = checked_add(sum.kv_elements, part.kv_elements);
  sum.state_elements = checked_add(sum.state_elements, part.state_elements);
  sum.cached_elements = checked_add(sum.cached_elements, part.cached_elements);
}

Cost finish(const CostPart& sum, const NestedModel& model, const CostBasis& basis) {
  const double flops =
      model.one_output ? sum.flops * static_cast<double>(basis.context) : sum.flops;
  if (!(flops < 0x1p63)) fail("the FLOPs per output, {:.3g}, do not fit 64 bits", flops);
  const auto element = static_cast<std::int64_t>(size_of(basis.dtype));
  const std::int64_t held =
      checked_add(sum.params, checked_mul(sum.cached_elements, basis.cache.batch));
  return {.params = sum.params,
          .non_embedding = sum.non_embedding,
          .bytes = checked_mul(sum.params, element),
          .flops = std::llround(flops),
          .kv_bytes = checked_mul(sum.kv_elements, element),
          .state_bytes = checked_mul(sum.state_elements, element),
          .memory = checked_mul(held, element)};
}

// The layers that a tensor's elements are there for, -1 for none: each once.
std::vector<int> layers_of(const TensorSpec& spec) {
  std::vector<int> layers;
  for (const Piece& piece : spec.pieces) layers.push_back(spec.layer_of(piece));
  if (spec.pieces.empty()) layers.push_back(spec.layer);
  std::ranges::sort(layers);
  layers.erase(std::ranges::unique(layers).begin(), layers.end());
  return layers;
}

}  // namespace

std::string_view to_string(CostKind kind) { return kKindNames[static_cast<std::size_t>(kind)]; }

CostKind parse_cost_kind(std::string_view name) {
  if (name == "effective") return CostKind::kNonEmbedding;  // as users of Gemma 3n say
  for (const CostKind kind : kCostKinds) {
    if (name == to_string(kind)) return kind;
  }
  const std::string hint = did_you_mean(name, std::span<const std::string_view>(kKindNames));
  fail_usage("unknown cost '{}'{} ({})", name, hint, fmt::join(kKindNames, ", "));
}

std::int64_t Cost::of(CostKind kind) const {
  switch (kind) {
    case CostKind::kParams:
      return params;
    case CostKind::kNonEmbedding:
      return non_embedding;
    case CostKind::kBytes:
      return bytes;
    case CostKind::kFlops:
      return flops;
    case CostKind::kMemory:
      return memory;
    case CostKind::kLatency:
      return latency;
  }
  return 0;
}

Cost cost_of(const NestedModel& model, const SlicePlan& plan, const CostBasis& wanted) {
  const CostBasis basis = basis_for(model, wanted);
  CostPart sum;
  std::vector<CostPart> layers(plan.widths.size());
  for (const TensorSlice& tensor : plan.tensors) {
    const std::vector<int> sharers = layers_of(*tensor.spec);
    for (const int layer : sharers) {
      if (layer < 0) {
        add_tensor(sum, *tensor.spec, tensor.spec->elements_of(layer, kSkip));
        continue;
      }
      const Width width = plan.widths.at(static_cast<std::size_t>(layer));
      if (width == kSkip) continue;
      // The plan's own count, where there is but one layer that it can be for.
      add_tensor(layers.at(static_cast<std::size_t>(layer)), *tensor.spec,
                 sharers.size() == 1 ? tensor.elements() : tensor.spec->elements_of(layer, width));
    }
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    add_mixing(layers[i], model.mixing.at(i), plan.widths[i], basis);
    add(sum, layers[i]);
  }
  return finish(sum, model, basis);
}

Cost cost_of(const NestedModel& model, const Widths& widths, const CostBasis& basis) {
  return cost_of(model, plan_slices(model.table, widths), basis);
}

CostTable::CostTable(const NestedModel& model, const CostBasis& basis, const LatencyTable* latency)
    : model_(model),
      basis_(basis_for(model, basis)),
      latency_(latency),
      tensors_(model.layers()),
      choices_(model.layers()) {
  for (const TensorSpec& spec : model.table.tensors) {
    for (const int layer : layers_of(spec)) {
      if (layer < 0) {
        add_fixed(fixed_, spec, model.tied_head);
      } else {
        tensors_.at(static_cast<std::size_t>(layer)).push_back(&spec);
      }
    }
  }
  for (std::size_t layer = 0; layer < choices_.size(); ++layer) {
    for (const Width width : model.space.choices(layer)) {
      choices_[layer].push_back({width, layer_part(layer, width)});
    }
  }
}

CostPart CostTable::layer_part(std::size_t layer, Width width) const {
  CostPart part;
  if (width == kSkip) return part;
  for (const TensorSpec* spec : tensors_[layer]) {
    add_tensor(part, *spec, spec->elements_of(static_cast<int>(layer), width));
  }
  add_mixing(part, model_.mixing.at(layer), width, basis_);
  return part;
}

CostPart CostTable::layer(std::size_t layer, Width width) const {
  const auto& choices = choices_[layer];
  const auto found = std::ranges::lower_bound(choices, width, {}, &Choice::width);
  if (found != choices.end() && found->width == width) return found->part;
  return layer_part(layer, width);
}

Cost CostTable::of(const Widths& widths) const {
  assert(widths.size() == choices_.size());
  CostPart sum = fixed_;
  for (std::size_t i = 0; i < widths.size(); ++i) add(sum, layer(i, widths[i]));
  Cost cost = finish(sum, model_, basis_);
  if (latency_ != nullptr) cost.latency = latency_->nanoseconds(widths);
  return cost;
}

}  // namespace mnm
