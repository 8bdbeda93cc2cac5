// Tensors as CUDA kernels take them (kernels/*_cuda.h). Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include "kernels/element.h"
#include "model/error.h"

namespace mnm {

inline Element element_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return Element::kF32;
    case at::kBFloat16:
      return Element::kBF16;
    case at::kHalf:
      return Element::kF16;
    default:
      fail("no kernel takes elements of {}", c10::toString(tensor.scalar_type()));
  }
}

// Calls a launcher with the tensor's device as the current one; Error where it says why it did not
// launch.
template <typename Launcher>
void launch(const at::Tensor& where, const char* attempt, const Launcher& launcher) {
  const c10::DeviceGuard guard(where.device());
  if (const char* const failure = launcher()) {
    fail("cannot {} on {}: {}; use --device cpu", attempt, where.device().str(), failure);
  }
}

}  // namespace mnm
