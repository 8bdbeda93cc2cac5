#include "families/rms_norm.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rms_norm.h>

#include <cstdint>

#include "fold/launch.h"
#include "kernels/rms_norm.h"

namespace mnm {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  if (weight.scalar_type() == at::kFloat && at::isReducedFloatingType(x.scalar_type())) {
    return rms_norm(x.to(at::kFloat), weight, epsilon).to(x.scalar_type());
  }
  const bool single = x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat;
  if (on_cuda(x) || !single || !x.is_contiguous() || at::GradMode::is_enabled()) {
    return at::rms_norm(x, weight.sizes(), weight, epsilon);
  }
  const at::Tensor out = at::empty_like(x);
  const std::int64_t d = weight.size(0);
  const float* const from = x.const_data_ptr<float>();
  const float* const scale = weight.const_data_ptr<float>();
  float* const to = out.data_ptr<float>();
  at::parallel_for(0, x.numel() / d, 256, [&](std::int64_t begin, std::int64_t end) {
    rms_norm(from + begin * d, scale, end - begin, d, static_cast<float>(epsilon), to + begin * d);
  });
  return out;
}

at::Tensor offset_weight(const at::Tensor& weight, double offset) {
  if (offset == 0) return weight;
  const bool narrow = at::isReducedFloatingType(weight.scalar_type());
  return (narrow ? weight.to(at::kFloat) : weight) + offset;
}

}  // namespace mnm
