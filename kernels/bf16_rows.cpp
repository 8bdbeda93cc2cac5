#include "kernels/bf16_rows.h"

#include "kernels/row_sums.h"
#include "kernels/vector.h"

namespace mnm {
namespace {

// Rows of x that share one pass over a row of w: with more of them the sums leave the registers.
constexpr std::int64_t kTogether = 2;

// out[r] of one row of weights, for kRows rows of x.
template <std::int64_t kRows>
MNM_INLINE void dot(const float* __restrict x, std::int64_t x_stride, const Bf16* __restrict w,
                    std::int64_t depth, float* __restrict out, std::int64_t out_stride, bool add) {
  float lanes[kRows][kRowLanes] = {};
  std::int64_t k = 0;
  for (; k + kRowLanes <= depth; k += kRowLanes) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      const float* const row = x + r * x_stride + k;
      for (std::int64_t j = 0; j < kRowLanes; ++j) lanes[r][j] += row[j] * to_float(w[k + j]);
    }
  }
  for (std::int64_t r = 0; r < kRows; ++r) {
    float sum = sum_of(lanes[r]);
    for (std::int64_t i = k; i < depth; ++i) sum += x[r * x_stride + i] * to_float(w[i]);
    out[r * out_stride] = add ? out[r * out_stride] + sum : sum;
  }
}

MNM_INLINE void bf16_rows_body(const Bf16Rows& p) {
  for (std::int64_t c = 0; c < p.columns; ++c) {
    const Bf16* const w = p.w + c * p.w_stride;
    std::int64_t r = 0;
    for (; r + kTogether <= p.rows; r += kTogether) {
      dot<kTogether>(p.x + r * p.x_stride, p.x_stride, w, p.depth, p.out + r * p.out_stride + c,
                     p.out_stride, p.add);
    }
    if (r < p.rows) {
      dot<1>(p.x + r * p.x_stride, 0, w, p.depth, p.out + r * p.out_stride + c, 0, p.add);
    }
  }
}

}  // namespace

MNM_KERNEL(bf16_rows, (const Bf16Rows& product), (product))

}  // namespace mnm
