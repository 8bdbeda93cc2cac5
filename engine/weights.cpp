#include "engine/weights.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

#include "model/error.h"

namespace mnm {

at::ScalarType scalar_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return at::kFloat;
    case Dtype::kF16:
      return at::kHalf;
    case Dtype::kBF16:
      return at::kBFloat16;
  }
  fail("dtype without a LibTorch type");
}

at::Tensor tensor_of(const StoredTensor& stored) {
  const auto type = at::TensorOptions().dtype(scalar_type(stored.dtype));
  const auto address = reinterpret_cast<std::uintptr_t>(stored.data.data());
  if (address % size_of(stored.dtype) == 0) {
    return at::from_blob(const_cast<std::byte*>(stored.data.data()), stored.shape, type);
  }
  at::Tensor copy = at::empty(stored.shape, type);
  std::memcpy(copy.data_ptr(), stored.data.data(), stored.data.size());
  return copy;
}

std::unordered_map<std::string, at::Tensor> load_weights(const NestedModel& model,
                                                         const Checkpoint& checkpoint,
                                                         const at::Device& device, Dtype dtype) {
  std::unordered_map<std::string, at::Tensor> weights;
  for (const TensorSpec& spec : model.table.tensors) {
    const at::Tensor mapped = tensor_of(checkpoint.at(spec.name));
    weights[spec.name] = mapped.to(device, scalar_type(dtype), /*non_blocking=*/false,
                                   /*copy=*/true);
  }
  return weights;
}

}  // namespace mnm
