// Finds members of a feasible set that lie near the front which a surrogate predicts.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "search/feasible_set.h"
#include "search/pair_table.h"
#include "search/pareto.h"

namespace mnm {

struct Candidate {
  Levels levels;
  double cost = 0;
};

class CandidatePool {
 public:
  virtual ~CandidatePool() = default;

  // About `count` members, none of them in `taken`: those nearest to the predicted front. A member
  // is near if few others precede it in a chain in which each dominates the next, in cost and
  // predicted loss. Fewer only if no more members are left, and at least one if one is left.
  virtual std::vector<Candidate> near_front(const PairTable& losses, const LevelsSet& taken,
                                            std::size_t count) = 0;
};

constexpr std::uint64_t kListedMembers = 1u << 17;  // that are listed rather than searched

// Looks at every member, so its result is exact. For at most kListedMembers.
std::unique_ptr<CandidatePool> make_listed_pool(const FeasibleSet& set);

// For any number of members; see searched_pool.cpp. `set` outlives it.
std::unique_ptr<CandidatePool> make_searched_pool(const FeasibleSet& set);

}  // namespace mnm
