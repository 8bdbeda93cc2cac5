#include "model/tensor_table.h"

#include <algorithm>

namespace mnm {

const TensorSpec* TensorTable::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &TensorSpec::name);
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace mnm
