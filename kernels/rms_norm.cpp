#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/vector.h"

namespace mnm {
namespace {

constexpr std::int64_t kLanes = 32;

MNM_INLINE void rms_norm_body(const float* x, const float* weight, std::int64_t rows,
                              std::int64_t n, float epsilon, float* out) {
  for (std::int64_t r = 0; r < rows; ++r, x += n, out += n) {
    float lanes[kLanes] = {};
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j] * x[i + j];
    }
    for (std::int64_t j = 0; i + j < n; ++j) lanes[j] += x[i + j] * x[i + j];
    float sum = 0;
    for (float lane : lanes) sum += lane;
    const float scale = 1 / std::sqrt(sum / static_cast<float>(n) + epsilon);
    for (i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
  }
}

}  // namespace

MNM_KERNEL(rms_norm,
           (const float* x, const float* weight, std::int64_t rows, std::int64_t n, float epsilon,
            float* out),
           (x, weight, rows, n, epsilon, out))

}  // namespace mnm
