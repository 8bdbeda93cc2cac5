#include "families/gemma3n/streams_fold.h"

#include <ATen/ATen.h>

#include "families/rms_norm.h"
#include "fold/product.h"

namespace mnm {
namespace {

// x [rows, d] -> [rows, A], in (-1, 1).
at::Tensor route(const AltUpWeights& weights, const at::Tensor& x) {
  const at::Tensor normed = rms_norm(x.contiguous(), weights.router_norm, weights.epsilon);
  const double scale = 1 / static_cast<double>(x.size(-1));
  const at::Tensor routed = product(normed * scale, weights.router);
  const bool narrow = at::isReducedFloatingType(routed.scalar_type());
  return at::tanh(narrow ? routed.to(at::kFloat) : routed).to(x.scalar_type());
}

at::Tensor mean_square(const at::Tensor& x) { return at::mean(at::square(x), -1, true); }

// y scaled to the magnitude that `target`, a mean of squares, states for each row.
at::Tensor rescaled(const at::Tensor& y, const at::Tensor& target) {
  constexpr double kLeast = 1e-5;
  return y * at::sqrt(target) / at::sqrt(at::clamp_min(mean_square(y), kLeast));
}

}  // namespace

at::Tensor start_streams(const at::Tensor& x, const std::vector<at::Tensor>& projections) {
  std::vector<at::Tensor> streams = {x};
  const at::Tensor target = mean_square(x);
  for (const at::Tensor& projection : projections) {
    streams.push_back(rescaled(product(x, projection), target));
  }
  return at::stack(streams, 1);
}

at::Tensor predict(const AltUpWeights& weights, const at::Tensor& streams) {
  const std::int64_t count = streams.size(1);
  const at::Tensor routed = route(weights, streams.select(1, weights.active));
  const at::Tensor coefficients = product(routed, weights.prediction).view({-1, count, count});
  return at::baddbmm(streams, coefficients, streams);
}

at::Tensor correct(const AltUpWeights& weights, const at::Tensor& predicted,
                   const at::Tensor& results) {
  const std::int64_t children = results.size(0), rows = results.size(1), d = results.size(2);
  const at::Tensor routed = route(weights, results.reshape({children * rows, d}));
  const at::Tensor shares = (product(routed, weights.correction) + 1).view({children, rows, -1, 1});
  const at::Tensor missed = (results - predicted.select(1, weights.active)).unsqueeze(2);
  std::vector<at::Tensor> corrected;
  for (std::int64_t child = 0; child < children; ++child) {
    corrected.push_back(at::baddbmm(predicted, shares[child], missed[child]));
  }
  return corrected.size() == 1 ? corrected.front().unsqueeze(0) : at::stack(corrected);
}

at::Tensor end_streams(const at::Tensor& streams, const std::vector<at::Tensor>& projections) {
  at::Tensor sum = streams.select(1, 0);
  const at::Tensor target = mean_square(sum);
  for (std::size_t k = 0; k < projections.size(); ++k) {
    const at::Tensor stream = streams.select(1, static_cast<std::int64_t>(k) + 1).contiguous();
    sum = sum + rescaled(product(stream, projections[k]), target);
  }
  return sum / static_cast<double>(projections.size() + 1);
}

}  // namespace mnm
