#include "families/gemma3n/attention_fold.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "families/rms_norm.h"
#include "fold/product.h"

namespace mnm {
namespace {

// Which of `keys` positions the last `tokens` of them see.
at::Tensor seen_keys(std::int64_t tokens, std::int64_t keys, std::int64_t window,
                     const at::TensorOptions& options) {
  const std::int64_t first = keys - tokens;
  const at::Tensor seen = at::ones({tokens, keys}, options.dtype(at::kBool)).tril(first);
  return window == 0 ? seen : seen.triu(first - window + 1);
}

// The positions of [first, end) that were not skipped, less `first`.
at::Tensor present(std::int64_t first, std::int64_t end, const std::vector<Range>& skipped) {
  std::vector<std::int64_t> positions;
  std::int64_t at = first;
  const auto add = [&](std::int64_t to) {
    for (; at < to; ++at) positions.push_back(at - first);
  };
  for (const Range& gap : skipped) {
    add(std::min(gap.begin, end));
    at = std::max(at, gap.end);
  }
  add(end);
  return at::tensor(positions, at::kLong);
}

}  // namespace

std::pair<at::Tensor, at::Tensor> Gemma3nRotary::table(const at::Tensor& like, std::int64_t end) {
  const std::lock_guard lock(mutex_);
  const bool there = cos_.defined() && cos_.size(0) >= end &&
                     cos_.scalar_type() == like.scalar_type() && cos_.device() == like.device();
  if (!there) {
    // As transformers takes them: frequencies, angles and functions in f32.
    const auto f32 = like.options().dtype(at::kFloat);
    const at::Tensor exponent = at::arange(0, head_dim_, 2, f32) / static_cast<double>(head_dim_);
    const at::Tensor frequency = at::reciprocal(at::pow(theta_, exponent));
    const std::int64_t room = cos_.defined() ? 2 * end : end;  // token by token: not each time
    const at::Tensor angle = at::outer(at::arange(room, f32), frequency).unsqueeze(1);
    cos_ = angle.cos().to(like.scalar_type());
    sin_ = angle.sin().to(like.scalar_type());
  }
  return {cos_, sin_};
}

at::Tensor Gemma3nRotary::turn(const at::Tensor& x, std::int64_t position) {
  const auto [all_cos, all_sin] = table(x, position + x.size(1));
  const at::Tensor cos = all_cos.narrow(0, position, x.size(1));
  const at::Tensor sin = all_sin.narrow(0, position, x.size(1));
  const std::int64_t half = head_dim_ / 2;
  const at::Tensor a = x.narrow(3, 0, half), b = x.narrow(3, half, half);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, 3);
}

Gemma3nAttention::Gemma3nAttention(const Gemma3nConfig& config)
    : config_(config),
      full_(config.full_theta, config.head_dim),
      sliding_(config.sliding_theta, config.head_dim) {}

Gemma3nHeads Gemma3nAttention::heads(const Gemma3nAttentionWeights& weights,
                                     const at::Tensor& normed) const {
  const double epsilon = config_.rms_norm_eps;
  const auto heads_of = [&](const at::Tensor& weight, const at::Tensor& bias) {
    return product(normed, weight, bias).view({normed.size(0), -1, config_.head_dim});
  };
  Gemma3nHeads all;
  all.q = rms_norm(heads_of(weights.q, weights.q_bias), weights.q_norm, epsilon);
  if (!weights.k.defined()) return all;
  all.k = rms_norm(heads_of(weights.k, weights.k_bias), weights.k_norm, epsilon);
  all.v =
      at::rms_norm(heads_of(weights.v, weights.v_bias), {config_.head_dim}, std::nullopt, epsilon);
  return all;
}

at::Tensor Gemma3nAttention::attend(std::size_t layer, const at::Tensor& queries,
                                    const KeysValues& seen, std::int64_t position,
                                    const std::vector<Range>& skipped) {
  const std::int64_t tokens = queries.size(1), end = position + tokens;
  const std::int64_t window = config_.sliding[layer] ? config_.window : 0;
  // The first key that any of the tokens sees.
  const std::int64_t first = window == 0 ? 0 : std::max<std::int64_t>(0, position - window + 1);
  const std::int64_t count = end - first;
  at::Tensor keys = seen.keys.narrow(1, first, count);
  at::Tensor values = seen.values.narrow(1, first, count);
  const bool windowed = window > 0 && count > window;
  std::optional<at::Tensor> mask;
  if (tokens > 1 && (position > 0 || windowed)) {
    mask = seen_keys(tokens, count, windowed ? window : 0, queries.options());
  }
  if (!skipped.empty() && skipped.back().end > first) {
    const at::Tensor index = present(first, end, skipped).to(keys.device());
    keys = keys.index_select(1, index);
    values = values.index_select(1, index);
    if (mask) mask = mask->index_select(1, index);
  }
  const at::Tensor q = rotary_of(layer).turn(queries, position).transpose(1, 2);
  const at::Tensor mixed =
      at::scaled_dot_product_attention(q, keys.transpose(1, 2), values.transpose(1, 2), mask, 0.0,
                                       /*is_causal=*/!mask && tokens > 1, /*scale=*/1.0,
                                       /*enable_gqa=*/config_.heads != config_.kv_heads);
  return mixed.transpose(1, 2).reshape({-1, config_.q_size()});
}

at::Tensor for_nodes(const Held& held) {
  const auto same = [&](const at::Tensor& other) { return other.is_same(held.front()); };
  if (!std::ranges::all_of(held, same)) return at::cat(held);
  const at::Tensor& one = held.front();
  std::vector<std::int64_t> shape = one.sizes().vec();
  shape.insert(shape.begin(), static_cast<std::int64_t>(held.size()));
  return one.unsqueeze(0).expand(shape).flatten(0, 1);
}

void keep(LayerCache& cache, const KeysValues& now, std::int64_t position) {
  constexpr std::int64_t kLeast = 256;
  const std::int64_t tokens = now.keys.size(1), end = position + tokens;
  if (cache.tensors.empty() || cache.tensors[0].size(1) < end) {
    std::vector<std::int64_t> shape = now.keys.sizes().vec();
    shape[1] = std::max({end, kLeast, 2 * position});
    std::vector<at::Tensor> grown;
    for (std::size_t i = 0; i < 2; ++i) {
      grown.push_back(at::empty(shape, now.keys.options()));
      if (!cache.tensors.empty() && position > 0) {
        grown[i].narrow(1, 0, position).copy_(cache.tensors[i].narrow(1, 0, position));
      }
    }
    cache.tensors = std::move(grown);
  }
  own(cache.tensors[0]).narrow(1, position, tokens).copy_(now.keys);
  own(cache.tensors[1]).narrow(1, position, tokens).copy_(now.values);
}

KeysValues kept(const LayerCache& cache, std::int64_t tokens) {
  return {cache.tensors[0].narrow(1, 0, tokens), cache.tensors[1].narrow(1, 0, tokens)};
}

}  // namespace mnm
