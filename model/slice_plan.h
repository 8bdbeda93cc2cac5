// The slice plan: what of each tensor is kept at given widths, and under which name. The only
// statement of how widths cut tensors; evaluation, cost, extraction and every writer follow it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/tensor_table.h"
#include "model/widths.h"

namespace mnm {

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;  // one past the last
  friend bool operator==(const Range&, const Range&) = default;
};

struct TensorSlice {
  const TensorSpec* spec = nullptr;  // owned by the table, which outlives the plan
  std::string name;                  // in the submodel, whose layers are numbered from 0 on
  int dim = -1;                      // the dimension cut; -1: the whole tensor is kept
  std::vector<Range> ranges;         // kept of `dim`: ascending, disjoint, adjacent ones merged
  std::vector<std::int64_t> shape;   // of what is kept

  std::int64_t elements() const;
};

struct SlicePlan {
  Widths widths;
  std::vector<TensorSlice> tensors;  // in table order; those of skipped layers are absent

  const TensorSlice* find(std::string_view name) const;  // by the checkpoint's name; or nullptr
};

// The ranges of its dimension `cut_dim` that a tensor of a layer keeps at a width of that layer:
// ascending, disjoint, adjacent ones merged, none empty.
std::vector<Range> kept_ranges(const TensorSpec& spec, Width width);

// `widths` must be allowed by the model's width space (checked by the caller; assert here).
SlicePlan plan_slices(const TensorTable& table, const Widths& widths);

}  // namespace mnm
