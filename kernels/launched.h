// What launchers of CUDA kernels share.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace mnm {

constexpr std::int64_t kMostBlocks = (std::int64_t{1} << 31) - 1;  // of a launch, in x

// What became of the launch before: nullptr, or what the driver says.
inline const char* launched() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace mnm
