// Which fold runs a model: the only place where the engine meets the list of families.
#include <string>
#include <string_view>

#include "base/error.h"
#include "fold/fold.h"
#include "fold/product.h"

namespace mnm {

#define MNM_FAMILY(name) std::unique_ptr<Fold> make_##name##_fold(const FoldInputs& inputs);
#include "families/list.inc"
#undef MNM_FAMILY

namespace {

std::unique_ptr<Fold> fold_of_family(const FoldInputs& inputs) {
  const std::string_view family = inputs.model.family;
#define MNM_FAMILY(name) \
  if (family == #name) return make_##name##_fold(inputs);
#include "families/list.inc"
#undef MNM_FAMILY
  fail("cannot run a model of family '{}': this engine has no fold for it", family);
}

}  // namespace

std::unique_ptr<Fold> make_fold(const FoldInputs& inputs) {
  FoldInputs converted = inputs;
  converted.weight = [weight = inputs.weight](const std::string& name) {
    const at::Tensor read = weight(name);
    return read.dim() == 2 ? read : in_arithmetic_type(read);
  };
  std::unique_ptr<Fold> fold = fold_of_family(converted);
  for (std::size_t l = 0; inputs.resident && l < inputs.model.layers(); ++l) fold->load(l);
  return fold;
}

}  // namespace mnm
