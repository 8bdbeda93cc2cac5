// The submodels a search may ask for: every layer's choices under the problem's limits.
//
// Limits are monotone, so the set is closed downwards: whatever is in it may be narrowed in any
// layer and stays in it. All that is done here rests on that, and nothing here enumerates the whole
// space (4^80 submodels are an ordinary one).
#pragma once

#include <compare>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "model/random.h"
#include "search/problem.h"

namespace mnm {

// [layers]: per layer an index into its choices, narrowest first. Their lexicographic order, first
// layer most significant, is the order in which neighbours share the longest prefixes.
using Levels = std::vector<std::int32_t>;

struct LevelsHash {
  std::size_t operator()(const Levels& levels) const;
};
using LevelsSet = std::unordered_set<Levels, LevelsHash>;

class FeasibleSet {
 public:
  // UsageError where it is empty (SearchProblem::require_feasible), or the space has no layers.
  explicit FeasibleSet(const SearchProblem& problem);

  const SearchProblem& problem() const { return problem_; }
  std::size_t layers() const { return choices_.size(); }
  std::int32_t levels(std::size_t layer) const {
    return static_cast<std::int32_t>(choices_[layer].size());
  }

  Widths widths(const Levels& levels) const;
  Levels levels_of(const Widths& widths) const;  // each of them one of its layer's choices
  bool contains(const Levels& levels) const;     // in range and within all limits

  Levels narrowest() const { return Levels(layers(), 0); }
  Levels widest() const;  // of the space: feasible only where no limit binds

  // Goes to the next member in lexicographic order from `narrowest()` on; at the last member
  // returns false and goes to the first. At most one feasibility check per layer.
  bool advance(Levels& member) const;

  // The number of members, or `cap` where that is less. Subtrees that lie wholly inside are counted
  // at once, so this takes at most about `cap` times `layers()` checks and usually far fewer.
  std::uint64_t count(std::uint64_t cap) const;

  // Redraws each layer, in random order, uniformly among the levels that the limits leave it given
  // the others: one sweep of a Gibbs sampler, whose limit is the uniform distribution over the
  // members (any two are joined through the narrowest). Without limits a sweep is an independent
  // uniform draw. It never rejects, however tight the limits.
  void redraw(Levels& member, Random& random) const;

  // Narrows random layers, a level at a time, until the candidate (in range) is a member.
  void repair(Levels& candidate, Random& random) const;

 private:
  std::uint64_t count_below(Levels& prefix, std::size_t layer, std::uint64_t cap) const;

  SearchProblem problem_;
  std::vector<std::vector<Width>> choices_;  // [layers][levels]
};

}  // namespace mnm
