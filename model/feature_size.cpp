#include "model/feature_size.h"

namespace mnm {

std::int64_t feature_size(const NestedModel& model) {
  std::int64_t size = 0;
  for (const TensorSpec& tensor : model.table.tensors) {
    if (tensor.role == Role::kHead && tensor.shape.size() == 2) size += tensor.shape[1];
  }
  return size;
}

}  // namespace mnm
