#include "families/llama/capped_attention_fold.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace mnm {
namespace {

at::Tensor capped(const at::Tensor& scores, double scale, double cap) {
  if (at::GradMode::is_enabled()) return at::tanh(scores * (scale / cap)) * cap;
  at::Tensor in_place = scores;
  return in_place.mul_(scale / cap).tanh_().mul_(cap);
}

// Of queries [batch, q heads, n, head_dim] of which the first is that of key `first`.
at::Tensor block(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t first,
                 std::int64_t window, double cap) {
  const std::int64_t n = q.size(2), end = first + n, kv_heads = k.size(1);
  const std::int64_t begin = window == 0 ? 0 : std::max<std::int64_t>(0, first - window + 1);
  const at::Tensor keys = k.narrow(2, begin, end - begin), values = v.narrow(2, begin, end - begin);
  const std::int64_t group = q.size(1) / kv_heads;
  // The heads that share keys are rows of one product: [batch, kv heads, group * n, head_dim].
  const at::Tensor rows = q.reshape({q.size(0), kv_heads, group * n, q.size(3)});
  const at::Tensor products = at::matmul(rows, keys.transpose(2, 3));
  const bool narrow = at::isReducedFloatingType(products.scalar_type());
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  at::Tensor scores = capped(narrow ? products.to(at::kFloat) : products, scale, cap);
  if (n > 1) {
    at::Tensor hidden =
        at::ones({n, end - begin}, q.options().dtype(at::kBool)).triu(first - begin + 1);
    if (window > 0) {
      hidden = hidden.logical_or(at::ones_like(hidden).tril(first - begin - window));
    }
    scores =
        scores.masked_fill(hidden.repeat({group, 1}), -std::numeric_limits<double>::infinity());
  }
  const at::Tensor weights = at::softmax(scores, -1).to(values.scalar_type());
  return at::matmul(weights, values).view(q.sizes());
}

}  // namespace

at::Tensor capped_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::int64_t window, double cap) {
  const std::int64_t batch = q.size(0), tokens = q.size(2), keys = k.size(2);
  const std::int64_t row = q.size(1) * keys;  // scores of one token of one sequence
  const std::int64_t rows = std::max<std::int64_t>(1, kCappedScores / row);
  const std::int64_t length = std::min(rows, tokens);
  const std::int64_t sequences = std::max<std::int64_t>(1, rows / length);
  std::vector<at::Tensor> all;
  for (std::int64_t s = 0; s < batch; s += sequences) {
    const std::int64_t m = std::min(sequences, batch - s);
    std::vector<at::Tensor> parts;
    for (std::int64_t t = 0; t < tokens; t += length) {
      const std::int64_t n = std::min(length, tokens - t);
      parts.push_back(block(q.narrow(0, s, m).narrow(2, t, n), k.narrow(0, s, m), v.narrow(0, s, m),
                            keys - tokens + t, window, cap));
    }
    all.push_back(parts.size() == 1 ? parts.front() : at::cat(parts, 2));
  }
  return all.size() == 1 ? all.front() : at::cat(all);
}

}  // namespace mnm
