// A thread per group of eight columns of a row. Compiled for the architectures that
// kernels/CMakeLists.txt names:
//   nvcc -std=c++17 -I. -arch=sm_90 -c kernels/cuda/activation.cu
//
// Bound by memory: gated, an element of bf16 is two to read and one to write, 6 bytes, 1.5 ps at 4
// TB/s. As two operators, activation and product, it was ten.
#include "kernels/cuda/activation.h"

#include "kernels/cuda/launch.h"

namespace mnm {
namespace {

template <typename T>
struct ActivateGroup {
  FfnActivation f;
  bool vectors;
  __device__ void operator()(std::int64_t i) const { activate_group<T>(f, vectors, i); }
};

}  // namespace

const char* activate_cuda(const FfnActivation& f) {
  return with_element(f.element, [&](auto element) {
    using T = decltype(element);
    bool vectors = true;
    for (const void* const p : {static_cast<const void*>(f.x), f.up, f.x_bias, f.up_bias}) {
      vectors = vectors && takes_vectors(static_cast<const T*>(p), f.width);
    }
    return launch_items(ActivateGroup<T>{f, vectors}, groups_of(f));
  });
}

}  // namespace mnm
