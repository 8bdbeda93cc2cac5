// A thread per group of eight pairs of a head. Compiled for the architectures that
// kernels/CMakeLists.txt names:
//   nvcc -std=c++17 -I. -arch=sm_90 -c kernels/rotary_cuda.cu
//
// Bound by memory: an element of bf16 is read and written once, 4 bytes, 1 ps at 4 TB/s; the tables
// stay in cache. As products, sums and a concatenation it was 18 bytes.
#include "kernels/rotary_cuda.h"

#include <cuda_runtime.h>

#include "kernels/launched.h"

namespace mnm {
namespace {

template <typename T>
__global__ void __launch_bounds__(kRotaryThreads)
    rotate_rows(Rotary r, bool vectors, std::int64_t groups) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kRotaryThreads + threadIdx.x;
  if (i < groups) rotate_group<T>(r, vectors, i);
}

}  // namespace

const char* rotate_cuda(const Rotary& r) {
  const std::int64_t groups = r.rows * r.heads * groups_of(r);
  const std::int64_t blocks = (groups + kRotaryThreads - 1) / kRotaryThreads;
  if (blocks < 1) return nullptr;
  if (blocks > kMostBlocks) return "too many rows to rotate for one launch";
  with_element(r.element, [&](auto element) {
    using T = decltype(element);
    const bool vectors = takes_vectors(static_cast<const T*>(r.x), r.stride) &&
                         takes_vectors(static_cast<const T*>(r.x), r.half) &&
                         takes_vectors(static_cast<const T*>(r.cosines), r.half) &&
                         takes_vectors(static_cast<const T*>(r.sines), r.half);
    rotate_rows<T><<<static_cast<unsigned>(blocks), kRotaryThreads>>>(r, vectors, groups);
  });
  return launched();
}

}  // namespace mnm
