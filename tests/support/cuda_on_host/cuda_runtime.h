// CUDA on the host, in the place of the toolkit's header of this name: what of it the kernels,
// their launchers and their tests use, so that kernels/*.cu compile as C++ and run where there is
// no GPU. A block's threads are fibers of one thread of the host, which run one after the other
// from barrier to barrier and exchange what they shuffle. A launch has run when it returns, and
// fails with a text (cudaGetErrorString) that says where
//   - a barrier is not reached by all threads of the block, or they wait at different ones;
//   - a shuffle names lanes that do not come, or reads one that it does not name;
//   - something was written beside an allocation.
// Shared memory and fresh allocations hold NaN (bytes 0xff), anew for each block: what was never
// written shows in the results. Races show as results that depend on the order in which threads run
// (cuda_on_host.h). Arrays' bounds and the alignment of wide accesses are watched by the compiler's
// sanitizer, reads beside an allocation by that of addresses (preset `asan`).
//
// What it does not show: speed, registers, a device's rounding of expf and its like, and what other
// threads see without a barrier.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <tuple>
#include <type_traits>

#define MNM_CUDA_ON_HOST

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
// So that all of a library's shared memory lies together, in its thread-local segment: nothing else
// of a library with kernels may be thread-local.
#define __shared__ static thread_local

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101,
  cudaErrorLaunchFailure = 719,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
struct cudaDeviceProp {
  char name[256];
};
using cudaStream_t = struct CUstream_st*;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaMalloc(void** data, std::size_t bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);

namespace cuda_on_host {

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   const std::function<void()>& thread);
std::uint64_t shuffle_down(unsigned mask, std::uint64_t bits, unsigned offset,
                           const std::source_location& at);

}  // namespace cuda_on_host

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
  return cuda_on_host::launch(*config, reinterpret_cast<const void*>(kernel),
                              [&] { std::apply(kernel, values); });
}

void __syncthreads(const std::source_location& at = std::source_location::current());

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned offset,
                   const std::source_location& at = std::source_location::current()) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = cuda_on_host::shuffle_down(mask, bits, offset, at);
  memcpy(&value, &bits, sizeof value);
  return value;
}
