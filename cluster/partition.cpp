#include "cluster/partition.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <queue>

#include "base/error.h"
#include "eval/prefix_tree.h"

namespace mnm {
namespace {

constexpr int kMostPartsPerWorker = 16;

// What each candidate of the order adds to the plan of the run that its neighbour before it is in,
// and what it costs where it begins a run.
struct Added {
  double after = 0, alone = 0;
};

std::vector<Added> added_by(std::span<const Widths> candidates, std::span<const std::size_t> order,
                            const ForwardFlops& flops) {
  std::vector<Added> added;
  const Widths* previous = nullptr;
  for (const std::size_t i : order) {
    const Widths& widths = candidates[i];
    Added& a = added.emplace_back();
    a.alone = flops.readout();
    for (std::size_t l = 0; l < widths.size(); ++l) a.alone += flops.layer(l, widths[l]);
    if (previous && *previous != widths) {
      const auto level = static_cast<std::size_t>(
          std::mismatch(widths.begin(), widths.end(), previous->begin()).first - widths.begin());
      // Siblings ascend: the one before was the widest, and is not any more.
      a.after = flops.readout() + flops.layer(level, widths[level]) -
                flops.layer(level, (*previous)[level]) +
                flops.sibling(level, (*previous)[level], false);
      for (std::size_t l = level + 1; l < widths.size(); ++l) a.after += flops.layer(l, widths[l]);
    }
    if (!previous) a.after = a.alone;
    previous = &widths;
  }
  return added;
}

// Runs as long as they cost at most `limit`, or are a single candidate.
std::vector<Part> cut(std::span<const std::size_t> order, std::span<const Added> added,
                      double limit) {
  std::vector<Part> parts;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (parts.empty() || parts.back().flops + added[i].after > limit) {
      parts.emplace_back();
      parts.back().flops = added[i].alone;
    } else {
      parts.back().flops += added[i].after;
    }
    parts.back().indices.push_back(order[i]);
  }
  for (Part& part : parts) std::ranges::sort(part.indices);
  std::ranges::stable_sort(parts, std::greater<>(), &Part::flops);
  return parts;
}

}  // namespace

double makespan(std::span<const Part> parts, int workers) {
  std::priority_queue<double, std::vector<double>, std::greater<>> busy_until;
  for (int w = 0; w < workers; ++w) busy_until.push(0);
  double last = 0;
  for (const Part& part : parts) {
    const double done = busy_until.top() + part.flops;
    busy_until.pop();
    busy_until.push(done);
    last = std::max(last, done);
  }
  return last;
}

std::vector<Part> partition(std::span<const Widths> candidates, const NestedModel& model,
                            std::int64_t context, double scored, int workers) {
  if (workers < 1) fail_usage("cannot divide work among {} workers", workers);
  std::vector<std::size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return candidates[a] < candidates[b] || (candidates[a] == candidates[b] && a < b);
  });
  const ForwardFlops flops(model, context, scored);
  const std::vector<Added> added = added_by(candidates, order, flops);
  double total = 0;
  for (const Added& a : added) total += a.after;

  std::vector<Part> best = cut(order, added, std::numeric_limits<double>::infinity());
  double least = makespan(best, workers);
  // Steps of a quarter: between two whole numbers of parts a worker lies a better cut as often as
  // not, since where a run may end hangs on the tree.
  for (int quarters = 4; workers > 1 && quarters <= 4 * kMostPartsPerWorker; ++quarters) {
    std::vector<Part> parts = cut(order, added, 4 * total / (quarters * workers));
    const double span = makespan(parts, workers);
    if (span < least) {
      least = span;
      best = std::move(parts);
    }
  }
  return best;
}

}  // namespace mnm
