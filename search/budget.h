// A budget: the largest cost of one kind that a submodel may have.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/cost.h"

namespace mnm {

struct Budget {
  CostKind kind = CostKind::kParams;
  std::int64_t limit = 0;  // in the kind's own unit: parameters, bytes, FLOPs, nanoseconds
  bool operator==(const Budget&) const = default;
};

// "1.2M" is a budget of `kind`. "bytes=3MB" is a budget of the kind that it names. "12ms", "350us"
// and the like are budgets of latency, in nanoseconds. UsageError if the text is none of these, or
// its number is not positive.
Budget parse_budget(const std::string& text, CostKind kind);
std::vector<Budget> parse_budgets(const std::vector<std::string>& texts, CostKind kind);

// Whether a cost is within all budgets. Without budgets every cost is.
bool within(const Cost& cost, std::span<const Budget> budgets);

// What a limit is of, for messages: "params"; what depends on it with the basis ("flops at a
// context of 256", "memory with the caches of 8 sequences of 4096 tokens", or of one sequence
// "memory with the cache of 4096 tokens"); "nanoseconds of latency".
std::string cost_text(CostKind kind, const CostBasis& basis);

// Whether `kind` is `cost`, which a front is drawn over, or what a budget limits.
bool counts(CostKind kind, CostKind cost, std::span<const Budget> budgets);

}  // namespace mnm
