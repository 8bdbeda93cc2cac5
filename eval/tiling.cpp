#include "eval/tiling.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/quantity.h"
#include "model/cost.h"

namespace mnm {
namespace {

// Work space of a step per row: what every product of the widest layer puts out, twice, for the
// pointwise results between them.
std::uint64_t work_elements(const NestedModel& model) {
  std::vector<std::uint64_t> layers(model.layers(), 0);
  for (const TensorSpec& spec : model.table.tensors) {
    if (spec.layer < 0 || spec.flops_per_element == 0 || spec.shape.empty()) continue;
    layers.at(static_cast<std::size_t>(spec.layer)) +=
        2 * static_cast<std::uint64_t>(spec.shape.front());
  }
  return layers.empty() ? 0 : *std::ranges::max_element(layers);
}

// Bytes alive at once: of every level of a path one step's children, the embedding, the work space
// of one step (whose parents are a view), what the batch is given, the leaves' normalised hidden
// states, logits, and what products take beside them.
class Bound {
 public:
  Bound(const PrefixTree& plan, const NestedModel& model, const TilingOptions& options)
      : plan_(plan), model_(model), options_(options), work_(work_elements(model)) {
    for (const Children& level : plan.levels) {
      skips_ = skips_ || std::ranges::find(level.widths, kSkip) != level.widths.end();
    }
  }

  std::uint64_t of(const Tiling& tiling) const {
    const std::int64_t largest = largest_state(model_);
    std::int64_t elements = model_.flow_per_token + options_.given_per_token;  // per token
    for (std::size_t l = 0; l < plan_.levels.size(); ++l) {
      elements += std::min(tiling.children, plan_.levels[l].most(tiling.parents)) *
                  model_.mixing.at(l).flow_per_token;
    }
    const std::int64_t work = static_cast<std::int64_t>(work_) * (1 + options_.places_per_token);
    elements += tiling.parents * (work + largest);
    // Where a step skips some children, it puts the others out first and then all together.
    if (skips_) elements += tiling.children * largest;
    elements += (tiling.children + (options_.reference ? 1 : 0)) * model_.hidden_size;
    const std::int64_t tokens = tiling.sequences * options_.context;
    const std::int64_t logits =
        tiling.logits.rows * tiling.logits.words * 4 * (options_.reference ? 3 : 2);
    return static_cast<std::uint64_t>(tokens * elements) * options_.element_bytes +
           static_cast<std::uint64_t>(logits) + options_.product_bytes;
  }

 private:
  const PrefixTree& plan_;
  const NestedModel& model_;
  const TilingOptions& options_;
  std::uint64_t work_;
  bool skips_ = false;
};

// A chunk of the reference's logits is in the bound already.
void keep_reference(const TilingOptions& options, Tiling& tiling) {
  LogitTile& logits = tiling.logits;
  const auto bytes = [](std::int64_t rows, std::int64_t words) {  // in f32, or less
    return static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(words) * 4;
  };
  const std::uint64_t chunk = bytes(logits.rows, logits.words);
  const std::uint64_t all = bytes(tiling.sequences * options.context, logits.vocab);
  const std::uint64_t more = std::min(all > chunk ? all - chunk : 0, options.memory - tiling.bytes);
  logits.kept = chunk + more;
  tiling.bytes += more;
}

}  // namespace

std::int64_t largest_state(const NestedModel& model) {
  std::int64_t largest = model.flow_per_token;
  for (const LayerMixing& layer : model.mixing) largest = std::max(largest, layer.flow_per_token);
  return largest;
}

Tiling tile(const PrefixTree& plan, const NestedModel& model, const TilingOptions& options) {
  Tiling tiling;
  tiling.sequences = std::clamp<std::int64_t>(options.rows / options.context, 1, options.sequences);
  tiling.parents = std::max<std::int64_t>(1, options.rows / (tiling.sequences * options.context));
  tiling.logits.vocab = model.vocab_size;
  tiling.logits.words =
      options.words > 0 ? std::min(options.words, model.vocab_size) : model.vocab_size;
  const auto words = static_cast<std::uint64_t>(tiling.logits.words);
  // A product reads the head's weights, and copies them into the order in which it multiplies: with
  // 128 rows that was a fifth of the time of 128,256 words.
  tiling.logits.rows = std::max<std::int64_t>(
      1024,
      static_cast<std::int64_t>(options.logit_bytes / (4 * std::max<std::uint64_t>(words, 1))));
  for (const Children& level : plan.levels) {
    tiling.children = std::max(tiling.children, level.most(tiling.parents));
  }

  const Bound bound(plan, model, options);
  // Written so that each round shrinks one thing; it ends, since all are positive.
  while ((tiling.bytes = bound.of(tiling)) > options.memory) {
    std::int64_t* const next = tiling.parents > 1       ? &tiling.parents
                               : tiling.logits.rows > 8 ? &tiling.logits.rows
                               : tiling.sequences > 1   ? &tiling.sequences
                               : tiling.children > 1    ? &tiling.children
                                                        : nullptr;
    if (!next) {
      fail(
          "cannot score within {} of memory: one sequence of {} tokens of one candidate needs "
          "{}, allow more memory or use a smaller context",
          quantity(static_cast<double>(options.memory)), options.context,
          quantity(static_cast<double>(tiling.bytes)));
    }
    *next = (*next + 1) / 2;
  }
  if (options.reference) keep_reference(options, tiling);
  return tiling;
}

std::vector<TreeStep> steps_of(const Children& level, std::int64_t first, std::int64_t last,
                               const Tiling& tiling) {
  std::vector<TreeStep> steps;
  for (std::int64_t parent = first, next = first; parent < last; parent = next) {
    const std::int64_t begin = level.begin_of(parent);
    next = parent + 1;
    while (next < last && next - parent < tiling.parents &&
           level.begin_of(next + 1) - begin <= tiling.children) {
      ++next;
    }
    const std::int64_t end = level.begin_of(next);
    for (std::int64_t node = begin; node < end; node += tiling.children) {
      steps.push_back({parent, next, node, std::min(end, node + tiling.children)});
    }
  }
  return steps;
}

}  // namespace mnm
