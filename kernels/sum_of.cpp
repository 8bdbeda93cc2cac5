#include "kernels/sum_of.h"

#include "kernels/vector.h"

namespace mnm {
namespace {

constexpr std::int64_t kLanes = 64;  // additions in flight: eight vectors of eight

MNM_INLINE void sum_of_body(const float* x, std::int64_t n, float* sum) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) lanes[k] += x[i + k];
  }
  float total = 0;
  for (; i < n; ++i) total += x[i];
  for (const float lane : lanes) total += lane;
  *sum = total;
}

}  // namespace

MNM_KERNEL(sum_of, (const float* x, std::int64_t n, float* sum), (x, n, sum))

}  // namespace mnm
