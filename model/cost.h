// The exact cost of a submodel, from its slice plan.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/latency.h"
#include "model/nested_model.h"
#include "model/slice_plan.h"

namespace mnm {

// The last one is measured (model/latency.h); the others follow from the slice plan. Memory also
// depends on the sequences whose caches are held (CacheLoad). kExactCosts do not, and are those of
// which the store keeps fronts.
enum class CostKind : std::uint8_t { kParams, kNonEmbedding, kBytes, kFlops, kMemory, kLatency };
inline constexpr CostKind kExactCosts[] = {CostKind::kParams, CostKind::kNonEmbedding,
                                           CostKind::kBytes, CostKind::kFlops};
inline constexpr CostKind kCostKinds[] = {CostKind::kParams, CostKind::kNonEmbedding,
                                          CostKind::kBytes,  CostKind::kFlops,
                                          CostKind::kMemory, CostKind::kLatency};

// "params", "non-embedding", "bytes", "flops", "memory", "latency"
std::string_view to_string(CostKind kind);
CostKind parse_cost_kind(std::string_view name);  // UsageError names the nearest

// Tokens per sequence, for scoring and for counting costs, unless the user or the model says less.
inline constexpr std::int64_t kDefaultContext = 256;

// The sequences that are held in memory beside the weights.
struct CacheLoad {
  std::int64_t context = 0;  // tokens of each; 0: those of the basis
  std::int64_t batch = 1;
};

// What a cost depends on besides the widths.
struct CostBasis {
  Dtype dtype = Dtype::kBF16;  // of the stored weights
  // Positions of an example: the tokens of a sequence. A model that knows only one number takes
  // that (NestedModel::positions).
  std::int64_t context = kDefaultContext;
  CacheLoad cache{};
};

struct Cost {
  std::int64_t params = 0;         // all parameters, a tied head counted once
  std::int64_t non_embedding = 0;  // without embedding and head
  std::int64_t bytes = 0;          // of the weights in basis.dtype
  // Forward, per output: per token, or per image. A multiplication and an addition are two.
  std::int64_t flops = 0;
  std::int64_t kv_bytes = 0;     // key/value cache per token, in basis.dtype
  std::int64_t state_bytes = 0;  // recurrent state and windowed cache per sequence, likewise
  // Bytes of the weights, and of what every sequence of basis.cache keeps at its full length: keys
  // and values, windows no longer than they are, and states. 0 where no basis was at hand.
  std::int64_t memory = 0;
  std::int64_t latency = 0;  // nanoseconds of a pass; 0 where no measurement was at hand

  std::int64_t of(CostKind kind) const;
};

// The cost of a submodel, in time O(tensors). FLOPs are those of the products with the kept
// elements of the tensors (flops_per_element), and those of the mixing of every kept layer
// (model/flops.h). Error if a count does not fit 64 bits.
//   cost_of(model, widths) == cost_of(model, plan_slices(model.table, widths))
Cost cost_of(const NestedModel& model, const SlicePlan& plan, const CostBasis& basis = {});
Cost cost_of(const NestedModel& model, const Widths& widths, const CostBasis& basis = {});

// What one layer adds to a cost, including its pieces of tensors that belong to no layer. Also what
// is left, which no layer adds.
struct CostPart {
  std::int64_t params = 0, non_embedding = 0;
  double flops = 0;            // per position
  double embedding_flops = 0;  // of these, what makes the first layer's input
  std::int64_t kv_elements = 0, state_elements = 0;
  std::int64_t cached_elements = 0;  // of one sequence of basis.cache
};

// Costs are sums over layers. So with a table of every layer at every granularity, the cost of a
// candidate takes O(layers) additions. Widths between granularities are computed when they are
// asked for.
class CostTable {
 public:
  // All arguments outlive the table.
  CostTable(const NestedModel& model, const CostBasis& basis,
            const LatencyTable* latency = nullptr);
  Cost of(const Widths& widths) const;  // cost_of() and latency; the space allows the widths
  const CostPart& fixed() const { return fixed_; }       // what belongs to no layer
  CostPart layer(std::size_t layer, Width width) const;  // what a layer adds; 0 where skipped
  const CostBasis& basis() const { return basis_; }
  std::size_t layers() const { return choices_.size(); }

 private:
  struct Choice {
    Width width = kSkip;
    CostPart part;
  };
  CostPart layer_part(std::size_t layer, Width width) const;

  const NestedModel& model_;
  CostBasis basis_;
  const LatencyTable* latency_;
  CostPart fixed_;                                       // what belongs to no layer
  std::vector<std::vector<const TensorSpec*>> tensors_;  // [layers]: with elements for it
  std::vector<std::vector<Choice>> choices_;             // [layers], ascending width
};

}  // namespace mnm
