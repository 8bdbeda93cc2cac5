// A thread per group of eight columns of a row. Compiled for the architectures that
// kernels/CMakeLists.txt names:
//   nvcc -std=c++17 -I. -arch=sm_90 -c kernels/gated_activation_cuda.cu
//
// Bound by memory: an element of bf16 is two to read and one to write, 6 bytes, 1.5 ps at 4 TB/s.
// As two operators, activation and product, it was ten.
#include "kernels/gated_activation_cuda.h"

#include <cuda_runtime.h>

#include "kernels/launched.h"

namespace mnm {
namespace {

template <typename T>
__global__ void __launch_bounds__(kGateThreads)
    activate(GatedActivation g, bool vectors, std::int64_t groups) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kGateThreads + threadIdx.x;
  if (i < groups) activate_group<T>(g, vectors, i);
}

}  // namespace

const char* gated_activation_cuda(const GatedActivation& g) {
  const std::int64_t groups = g.rows * groups_of(g.width);
  const std::int64_t blocks = (groups + kGateThreads - 1) / kGateThreads;
  if (blocks < 1) return nullptr;
  if (blocks > kMostBlocks) return "too many activations for one launch";
  with_element(g.element, [&](auto element) {
    using T = decltype(element);
    bool vectors = takes_vectors(static_cast<const T*>(g.gate), g.width);
    for (const void* const p : {g.up, g.gate_bias, g.up_bias}) {
      vectors = vectors && takes_vectors(static_cast<const T*>(p), g.width);
    }
    activate<T><<<static_cast<unsigned>(blocks), kGateThreads>>>(g, vectors, groups);
  });
  return launched();
}

}  // namespace mnm
