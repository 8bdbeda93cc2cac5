// Launches CUDA kernels. A kernel is launched by a function, so that a compiler without <<<>>> can
// run it too (tests/support/cuda_on_host).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/failure.h"

namespace mnm {

constexpr std::int64_t kMostBlocks = (std::int64_t{1} << 31) - 1;  // of a launch, in x

// The result of the last launch: nullptr, or what the driver says.
inline const char* launched() {
  const cudaError_t error = cudaGetLastError();
  if (error == cudaErrorMemoryAllocation) return kNoMemory;
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// Puts kernel(arguments...) on the default stream. launched() gives the result.
template <typename... Parameters, typename... Arguments>
void launch_kernel(dim3 blocks, unsigned threads, void (*kernel)(Parameters...),
                   const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = dim3(threads);
  cudaLaunchKernelEx(&config, kernel, arguments...);
}

constexpr int kItemThreads = 256;  // of a block

template <typename Item>
__global__ void __launch_bounds__(kItemThreads) run_items(Item item, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kItemThreads + threadIdx.x;
  if (i < n) item(i);
}

// Calls item(i) for every i < n, each on a thread of its own.
template <typename Item>
const char* launch_items(const Item& item, std::int64_t n) {
  const std::int64_t blocks = (n + kItemThreads - 1) / kItemThreads;
  if (blocks < 1) return nullptr;
  if (blocks > kMostBlocks) return "too many elements for one launch";
  launch_kernel(static_cast<unsigned>(blocks), kItemThreads, run_items<Item>, item, n);
  return launched();
}

}  // namespace mnm
