// The exact cost of a submodel, from its slice plan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/nested_model.h"
#include "model/slice_plan.h"

namespace mnm {

enum class CostKind : std::uint8_t { kParams, kNonEmbedding, kBytes, kFlops };
inline constexpr CostKind kCostKinds[] = {CostKind::kParams, CostKind::kNonEmbedding,
                                          CostKind::kBytes, CostKind::kFlops};

std::string_view to_string(CostKind kind);      // "params", "non-embedding", "bytes", "flops"
CostKind parse_cost_kind(std::string_view name);  // UsageError names the nearest

// What the parts of a cost that the widths do not decide are counted with.
struct CostBasis {
  Dtype dtype = Dtype::kBF16;   // of the stored weights
  std::int64_t context = 1024;  // tokens of context: a token attends to (context + 1) / 2 on average
};

struct Cost {
  std::int64_t params = 0;         // all parameters, a tied head counted once
  std::int64_t non_embedding = 0;  // without embedding and head
  std::int64_t bytes = 0;          // of the weights in basis.dtype
  std::int64_t flops = 0;          // per token, forward, multiply and add counted apart
  std::int64_t kv_bytes = 0;       // key/value cache per token, in basis.dtype
  std::int64_t state_bytes = 0;    // recurrent state per sequence, in basis.dtype

  std::int64_t of(CostKind kind) const;
};

// O(tensors). cost_of(model, widths) == cost_of(model, plan_slices(model.table, widths)).
Cost cost_of(const NestedModel& model, const SlicePlan& plan, const CostBasis& basis = {});
Cost cost_of(const NestedModel& model, const Widths& widths, const CostBasis& basis = {});

// Costs are sums over layers (CostTable makes scoring a candidate's cost a few additions).
class CostTable {
 public:
  CostTable(const NestedModel& model, const CostBasis& basis);
  Cost of(const Widths& widths) const;  // widths allowed by the space; equals cost_of
  const CostBasis& basis() const { return basis_; }

 private:
  const NestedModel& model_;
  CostBasis basis_;
  Cost fixed_;  // what belongs to no layer
};

// "1.2M", "40B", "1.5GB", "3e9", "1200000": K M G B T are powers of 1000, KiB MiB GiB of 1024.
std::int64_t parse_quantity(std::string_view text);  // UsageError
std::string quantity(double value);                  // 1234567 -> "1.23M"

}  // namespace mnm
