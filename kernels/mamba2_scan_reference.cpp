#include <cmath>
#include <vector>

#include "kernels/mamba2_scan.h"

namespace mnm {

void mamba2_scan_sequential(const SsdShape& shape, const SsdInputs& in, double* carried,
                            double* y) {
  const auto [tokens, heads, head_dim, state, x_stride, dt_stride, bc_stride, y_stride, chunk] =
      shape;
  for (std::int64_t h = 0; h < heads; ++h) {
    std::vector<double> own(carried ? 0 : static_cast<std::size_t>(state * head_dim), 0);
    double* const kept = carried ? carried + h * state * head_dim : own.data();
    for (std::int64_t t = 0; t < tokens; ++t) {
      const double dt = in.dt[t * dt_stride + h], decay = std::exp(dt * in.a[h]);
      const float* const x = in.x + t * x_stride + h * head_dim;
      double* const out = y + t * y_stride + h * head_dim;
      for (std::int64_t p = 0; p < head_dim; ++p) out[p] = static_cast<double>(in.d[h]) * x[p];
      for (std::int64_t n = 0; n < state; ++n) {
        const double b = in.b[t * bc_stride + n], c = in.c[t * bc_stride + n];
        for (std::int64_t p = 0; p < head_dim; ++p) {
          double& value = kept[n * head_dim + p];
          value = decay * value + dt * b * x[p];
          out[p] += c * value;
        }
      }
    }
  }
}

}  // namespace mnm
