// The losses of all submodels of 8 layers of 4 widths, as judge of strategies.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "search/hypervolume.h"
#include "search/pareto.h"
#include "search/strategy.h"
#include "tests/search/synthetic.h"

namespace mnm::test {

class LossTable {
 public:
  static constexpr std::size_t kLayers = 8;
  static constexpr std::size_t kSize = 65536;

  // Lexicographic, first layer most significant, narrowest first.
  explicit LossTable(std::vector<float> losses) : losses_(std::move(losses)) {}
  bool empty() const { return losses_.empty(); }

  static Widths widths_at(std::size_t index) {
    Widths widths(kLayers);
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      widths[layer] = kWidths[index >> (2 * (kLayers - 1 - layer)) & 3];
    }
    return widths;
  }

  // Costs are total widths: parameters, bytes and FLOPs of equal layers are that times a constant
  // plus another, neither of which a normalised hypervolume sees.
  Point at(const Widths& widths) const { return {total_width(widths), losses_[index_of(widths)]}; }

  // Everything within some limits: its hypervolume from the reference point (worst cost, worst
  // loss), the far corner of its own bounding box. Scaling that box to a unit square would divide
  // every hypervolume in it alike.
  struct Exhaustive {
    SearchProblem problem;
    Point reference;
    double hypervolume = 0;
  };
  Exhaustive exhaustive(const std::vector<Limit>& limits = {}) const {
    Exhaustive all;
    all.problem = {.space = four_widths(kLayers), .cost = total_width, .limits = limits};
    std::vector<Point> points;
    all.reference = at(all.problem.narrowest());
    for (std::size_t index = 0; index < kSize; ++index) {
      const Widths widths = widths_at(index);
      if (!all.problem.feasible(widths)) continue;
      points.push_back({total_width(widths), losses_[index]});
      all.reference.cost = std::max(all.reference.cost, points.back().cost);
      all.reference.loss = std::max(all.reference.loss, points.back().loss);
    }
    all.hypervolume = hypervolume(points, all.reference);
    return all;
  }

  // The share of it that a strategy's evaluations cover. Nothing is asked once that is everything.
  double share_found(std::string_view strategy, const Exhaustive& all,
                     const StrategySettings& settings) const {
    const auto search = make_strategy(strategy, all.problem, settings);
    std::vector<Point> found;
    double covered = 0;
    while (!search->finished() && covered < all.hypervolume) {
      for (const Widths& widths : search->ask(search->preferred_batch())) {
        found.push_back(at(widths));
        search->tell(widths, found.back());
      }
      covered = hypervolume(found, all.reference);
    }
    return covered / all.hypervolume;
  }

 private:
  std::vector<float> losses_;
};

}  // namespace mnm::test
