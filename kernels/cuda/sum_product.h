// D = A W^T + C on a CUDA device, out of place. So each partial sum over the segments of a layer's
// `down` is a finished output, and a residual needs no pass of its own. cuBLASLt computes it.
// LibTorch's addmm first copies C to D, because the older interface below it adds in place (that is
// 8 of the 12 bytes per element of D in bf16, besides the factors).
//
// cuBLASLt is the library that LibTorch has loaded. It is looked up by its name when it is first
// needed. kernels/cuda/sum_product.cpp is linked, or, where there is no CUDA,
// kernels/no_cuda/sum_product.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/element.h"

namespace mnm {

// For every b < batches: D_b = A_b W^T + C_b. Rows of a matrix lie `..._stride` elements apart, and
// the matrices of a batch `..._batch` elements. Sums are in f32. D may not overlap A, W or C.
struct SumProduct {
  Element element = Element::kF32;
  std::int64_t batches = 1, rows = 0, columns = 0, depth = 0;
  const void* a = nullptr;  // [rows, depth]
  std::int64_t a_stride = 0, a_batch = 0;
  const void* w = nullptr;  // [columns, depth], of all batches
  std::int64_t w_stride = 0;
  const void* c = nullptr;  // [rows, columns]
  std::int64_t c_stride = 0, c_batch = 0;
  void* d = nullptr;  // [rows, columns]
  std::int64_t d_stride = 0, d_batch = 0;
};

// Launches on the default stream of `device`, the current one. `work` is memory of that device.
// Returns nullptr if it was launched, else the reason (a text that is never freed), and D is
// unchanged: there is no such library, or it has no algorithm for these shapes. LibTorch's products
// can then do the same.
const char* sum_product_cuda(const SumProduct& p, int device, void* work, std::size_t work_bytes);

inline constexpr std::size_t kSumProductWork = std::size_t{32} << 20;  // bytes that are enough

}  // namespace mnm
