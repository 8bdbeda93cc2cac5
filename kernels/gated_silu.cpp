#include "kernels/gated_silu.h"

#include "kernels/vector.h"

namespace mnm {
namespace {

MNM_INLINE void gated_silu_body(float* __restrict gate, const float* __restrict up,
                                std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    // With e = exp(-|x|) neither branch of the sigmoid overflows.
    const float x = gate[i], e = exp_of(x < 0 ? x : -x);
    gate[i] = x * ((x < 0 ? e : 1.0f) / (1.0f + e)) * up[i];
  }
}

}  // namespace

MNM_KERNEL(gated_silu, (float* gate, const float* up, std::int64_t n), (gate, up, n))

}  // namespace mnm
