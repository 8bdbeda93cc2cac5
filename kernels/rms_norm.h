// Root-mean-square normalisation of rows, in one pass that stays in cache.
#pragma once

#include <cstdint>

namespace mnm {

// out[r, i] = x[r, i] / sqrt(mean_i x[r, i]^2 + epsilon) * weight[i], for `rows` rows of n floats.
// out may be x.
void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t n, float epsilon,
              float* out);

}  // namespace mnm
