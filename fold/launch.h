// Passes tensors to CUDA kernels (kernels/cuda/*.h). Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>

#include <string_view>

#include "base/error.h"
#include "fold/device_error.h"
#include "kernels/cuda/memory.h"
#include "kernels/element.h"
#include "kernels/failure.h"

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

// Whether a tensor goes to the CUDA kernels, and to the code that suits them.
inline bool on_cuda(const at::Tensor& tensor) { return goes_to_cuda_kernels(tensor.is_cuda()); }

// Calls a launcher with the tensor's device as the current one. If the launcher returns a reason
// why it did not launch, this throws LibTorch's own error if the device has no memory left or is
// lost, else Error.
template <typename Launcher>
void launch(const at::Tensor& where, const char* attempt, const Launcher& launcher) {
  const at::Device device = where.device();
  const c10::DeviceGuard guard(device);
  const char* const failure = launcher();
  if (!failure) return;
  if (std::string_view(failure) == kNoMemory) {
    throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, failure);
  }
  wait_for(device);  // throws where the device is lost
  fail("cannot {} on {}: {}; use --device cpu", attempt, device.str(), failure);
}

}  // namespace mnm
