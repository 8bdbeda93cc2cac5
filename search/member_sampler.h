// Draws random members of a feasible set, none of them twice.
#pragma once

#include "search/feasible_set.h"

namespace mnm {

class MemberSampler {
 public:
  // Uses `random`, which the owner also uses for other draws.
  MemberSampler(const FeasibleSet& set, Random& random);

  // Marks a member as taken; false if it was already.
  bool take(const Levels& member) { return taken_.insert(member).second; }
  std::size_t taken() const { return taken_.size(); }
  const LevelsSet& all() const { return taken_; }

  // Takes a member that is drawn uniformly, or nearly so, among those not taken. If kTries draws
  // were all taken, because almost everything is, it takes the next member in lexicographic order
  // that is not taken. There must be one.
  Levels draw();

  // Takes the first member from `member` on, in lexicographic order, that is not taken. After the
  // last member it goes on with the first.
  Levels next_after(Levels member);

 private:
  const FeasibleSet& set_;
  Random& random_;
  LevelsSet taken_;
  Levels chain_;  // the Gibbs sampler's state
};

}  // namespace mnm
