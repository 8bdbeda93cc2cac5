#include "eval/fold.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <c10/core/ScalarType.h>

#include <string_view>

#include "model/error.h"

namespace mnm {

#define MNM_FAMILY(name) std::unique_ptr<Fold> make_##name##_fold(const FoldInputs& inputs);
#include "families/list.inc"
#undef MNM_FAMILY

State State::narrow(std::int64_t begin, std::int64_t count) const {
  State out;
  for (const at::Tensor& t : tensors) out.tensors.push_back(t.narrow(0, begin, count));
  return out;
}

State State::select(std::span<const std::int32_t> nodes) const {
  at::Tensor index = at::from_blob(const_cast<std::int32_t*>(nodes.data()),
                                   {static_cast<std::int64_t>(nodes.size())}, at::kInt)
                         .to(tensors.front().device(), at::kLong);
  State out;
  for (const at::Tensor& t : tensors) out.tensors.push_back(t.index_select(0, index));
  return out;
}

std::unique_ptr<Fold> make_fold(const FoldInputs& inputs) {
  const std::string_view family = inputs.model.family;
#define MNM_FAMILY(name) \
  if (family == #name) return make_##name##_fold(inputs);
#include "families/list.inc"
#undef MNM_FAMILY
  fail("cannot run a model of family '{}': this engine has no fold for it", family);
}

}  // namespace mnm
