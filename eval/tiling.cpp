#include "eval/tiling.h"

#include <algorithm>
#include <vector>

#include "model/cost.h"
#include "model/error.h"
#include "model/quantity.h"

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

// The most children that any `parents` neighbouring parents of a level have.
std::int64_t most_children(const std::vector<PlanNode>& nodes, std::int64_t parents) {
  std::size_t most = 0, begin = 0;
  for (std::size_t end = 0; end < nodes.size(); ++end) {
    while (nodes[end].parent - nodes[begin].parent >= parents) ++begin;
    most = std::max(most, end + 1 - begin);
  }
  return static_cast<std::int64_t>(most);
}

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

Tiling tile(const PrefixTree& plan, const NestedModel& model, const TilingOptions& options) {
  const std::uint64_t work = work_elements(model) * options.element_bytes;
  const std::uint64_t hidden =
      static_cast<std::uint64_t>(model.hidden_size) * options.element_bytes;

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
  for (const auto& nodes : plan.levels) {
    tiling.children = std::max(tiling.children, most_children(nodes, tiling.parents));
  }

  // Alive at once: one step's children on every level of a path, the embedding, the work space of
  // one step (whose parents are a view), the leaves' normalised hidden states, logits, and what
  // products take beside them.
  const auto bound = [&](const Tiling& t) {
    const auto rows = static_cast<std::uint64_t>(t.sequences * options.context);
    std::uint64_t nodes = 1;
    for (const auto& level : plan.levels) {
      nodes += static_cast<std::uint64_t>(std::min(t.children, most_children(level, t.parents)));
    }
    const std::uint64_t logits =
        static_cast<std::uint64_t>(t.logits.rows) * words * 4 * (options.reference ? 3 : 2);
    return rows * (nodes * options.state_bytes +
                   static_cast<std::uint64_t>(t.parents) * (work + options.state_bytes) +
                   static_cast<std::uint64_t>(t.children) * hidden +
                   (options.reference ? hidden : 0)) +
           logits + options.product_bytes;
  };
  // Written so that each round shrinks one thing; it ends, since all are positive.
  while ((tiling.bytes = bound(tiling)) > options.memory) {
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

}  // namespace mnm
