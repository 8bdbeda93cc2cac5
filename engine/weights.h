// A checkpoint's tensors on a device. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <unordered_map>

#include "model/checkpoint.h"
#include "model/nested_model.h"

namespace mnm {

at::ScalarType scalar_type(Dtype dtype);

// A view of the mapped bytes as a tensor where they are aligned, else a copy. Never written to.
at::Tensor tensor_of(const StoredTensor& stored);

// Every tensor of the model's table, copied to `device` in `dtype`.
std::unordered_map<std::string, at::Tensor> load_weights(const NestedModel& model,
                                                         const Checkpoint& checkpoint,
                                                         const at::Device& device, Dtype dtype);

}  // namespace mnm
