// The submodels that a search may ask for: every layer's choices, under the limits of the problem.
//
// Limits are monotone. So a member that is narrowed in any layer is still a member. Everything here
// uses this, and nothing here lists the whole space, which often has 4^80 submodels.
#pragma once

#include <compare>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "base/random.h"
#include "search/problem.h"

namespace mnm {

// [layers]: for each layer an index into its choices, narrowest first. In the lexicographic order
// of levels (the first layer counts most), neighbours share the longest prefixes.
using Levels = std::vector<std::int32_t>;

struct LevelsHash {
  std::size_t operator()(const Levels& levels) const;
};
using LevelsSet = std::unordered_set<Levels, LevelsHash>;

class FeasibleSet {
 public:
  // UsageError if the set is empty (SearchProblem::require_feasible) or the space has no layers.
  explicit FeasibleSet(const SearchProblem& problem);

  const SearchProblem& problem() const { return problem_; }
  std::size_t layers() const { return choices_.size(); }
  std::int32_t levels(std::size_t layer) const {
    return static_cast<std::int32_t>(choices_[layer].size());
  }

  Widths widths(const Levels& levels) const;
  Levels levels_of(const Widths& widths) const;  // each width is one of its layer's choices
  bool contains(const Levels& levels) const;     // in range and within all limits

  Levels narrowest() const { return Levels(layers(), 0); }
  Levels widest() const;  // of the space; a member only if no limit excludes it

  // Goes to the next member in lexicographic order, which begins with narrowest(). At the last
  // member it returns false and goes to the first. It checks feasibility at most once per layer.
  bool advance(Levels& member) const;

  // The number of members, or `cap` if that is less. A subtree that lies wholly inside is counted
  // at once. So this takes at most about `cap` times `layers()` checks, and usually far fewer.
  std::uint64_t count(std::uint64_t cap) const;

  // Redraws each layer, in random order, uniformly among the levels that the limits allow given the
  // other layers. This is one sweep of a Gibbs sampler, which converges to the uniform distribution
  // over the members (any two members are connected through the narrowest). Without limits a sweep
  // is an independent uniform draw. It never rejects a draw, however tight the limits are.
  void redraw(Levels& member, Random& random) const;

  // Narrows random layers, one level at a time, until the candidate (in range) is a member.
  void repair(Levels& candidate, Random& random) const;

 private:
  std::uint64_t count_below(Levels& prefix, std::size_t layer, std::uint64_t cap) const;

  SearchProblem problem_;
  std::vector<std::vector<Width>> choices_;  // [layers][levels]
};

}  // namespace mnm
