// The slice plan: which rows and columns of each tensor are kept at given widths, and the name of
// each tensor in the submodel. Only this file says how widths cut tensors. Evaluation, cost,
// extraction and every writer follow it.
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
  std::vector<Range> ranges;         // of `dim`, kept: ascending, disjoint, adjacent ones merged
  std::vector<std::int64_t> shape;   // of what is kept

  std::int64_t elements() const;
};

struct SlicePlan {
  Widths widths;
  // In table order; those of skipped layers and those of the nested model alone are absent.
  std::vector<TensorSlice> tensors;

  const TensorSlice* find(std::string_view name) const;  // by the checkpoint's name; or nullptr
};

// The ranges of dimension `cut_dim` that a tensor of a layer keeps at a width of that layer. They
// are ascending, disjoint and not empty, and adjacent ones are merged.
std::vector<Range> kept_ranges(const TensorSpec& spec, Width width);

// The width space of the model must allow `widths`. The caller checks this; here it is an
// assertion.
SlicePlan plan_slices(const TensorTable& table, const Widths& widths);

}  // namespace mnm
