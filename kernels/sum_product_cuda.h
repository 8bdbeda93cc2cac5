// D = A W^T + C out of place on a CUDA device: each partial sum over a layer's segments of `down`
// is a finished output, and a residual costs no pass of its own. cuBLASLt does it; LibTorch's addmm
// copies C to D first, since the older interface below it adds in place (8 of the 12 bytes per
// element of D in bf16 beside the factors).
//
// cuBLASLt is the one that LibTorch has loaded, taken by its name when it is first needed. What is
// linked: sum_product_cuda.cpp, or, where there is no CUDA, sum_product_no_cuda.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/element.h"

namespace mnm {

// For every b < batches: D_b = A_b W^T + C_b. Rows of each matrix lie `..._stride` elements apart,
// matrices of a batch `..._batch`. Sums in f32. D may overlap neither A nor W nor C.
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

// On the default stream of `device`, the current one; `work` is of that device. nullptr where it
// was launched, else why not (a text that lives for ever), and D is as it was: no such library, or
// no algorithm of it for these shapes. Then LibTorch's products do the same.
const char* sum_product_cuda(const SumProduct& p, int device, void* work, std::size_t work_bytes);

inline constexpr std::size_t kSumProductWork = std::size_t{32} << 20;  // bytes that are enough

}  // namespace mnm
