// A thread per group of eight pairs of a head. Compiled for the architectures that
// kernels/CMakeLists.txt names:
//   nvcc -std=c++17 -I. -arch=sm_90 -c kernels/cuda/rope.cu
//
// Bound by memory: an element of bf16 is read and written once, 4 bytes, 1 ps at 4 TB/s; the tables
// stay in cache. As products, sums and a concatenation it was 18 bytes.
#include "kernels/cuda/rope.h"

#include "kernels/cuda/launch.h"

namespace mnm {
namespace {

template <typename T>
struct RotateGroup {
  Rotary r;
  bool vectors;
  __device__ void operator()(std::int64_t i) const { rotate_group<T>(r, vectors, i); }
};

}  // namespace

const char* rotate_cuda(const Rotary& r) {
  return with_element(r.element, [&](auto element) {
    using T = decltype(element);
    const bool vectors = takes_vectors(static_cast<const T*>(r.x), r.stride) &&
                         takes_vectors(static_cast<const T*>(r.x), r.half) &&
                         takes_vectors(static_cast<const T*>(r.cosines), r.half) &&
                         takes_vectors(static_cast<const T*>(r.sines), r.half);
    return launch_items(RotateGroup<T>{r, vectors}, groups_of(r));
  });
}

}  // namespace mnm
