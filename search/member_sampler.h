// Random members of a feasible set, never one twice.
#pragma once

#include "search/feasible_set.h"

namespace mnm {

class MemberSampler {
 public:
  // Draws come from `random`, which the owner shares with its other draws.
  MemberSampler(const FeasibleSet& set, Random& random);

  // Marks a member as taken; false if it was already.
  bool take(const Levels& member) { return taken_.insert(member).second; }
  std::size_t taken() const { return taken_.size(); }
  const LevelsSet& all() const { return taken_; }

  // Takes a member drawn uniformly among those not taken, or as good as: after kTries draws that
  // were all taken (nearly everything is), the next one in lexicographic order that is not. Needs
  // one.
  Levels draw();

  // Takes the first member not taken from `member` on, in lexicographic order, around its end.
  Levels next_after(Levels member);

 private:
  const FeasibleSet& set_;
  Random& random_;
  LevelsSet taken_;
  Levels chain_;  // the Gibbs sampler's state
};

}  // namespace mnm
