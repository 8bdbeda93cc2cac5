// A sum that costs as little as reading. It is used to measure the rate of memory.
#pragma once

#include <cstdint>

namespace mnm {

// sum[0] = x[0] + ... + x[n - 1], as partial sums of every 64th element.
void sum_of(const float* x, std::int64_t n, float* sum);

}  // namespace mnm
