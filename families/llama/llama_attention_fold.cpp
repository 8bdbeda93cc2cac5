#include "families/llama/llama_attention_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "families/level_products.h"
#include "families/llama/llama_capped_attention_fold.h"
#include "families/rms_norm.h"
#include "fold/launch.h"
#include "fold/product.h"
#include "kernels/attention.h"

namespace mnm {
namespace {

// tokens * head_dim up to which the attention kernel's keys and values stay in a core's cache.
constexpr std::int64_t kKernelKeys = 1 << 16;

// Whether the CUDA kernels apply: nothing to differentiate.
bool on_device(const at::Tensor& x) { return on_cuda(x) && !at::GradMode::is_enabled(); }

// Which keys [0, position + tokens) the tokens from `position` on see, [tokens, keys]: themselves,
// those before, and of these no more than `window` (0: all).
at::Tensor seen_keys(std::int64_t tokens, std::int64_t position, std::int64_t window,
                     const at::TensorOptions& options) {
  at::Tensor seen = at::ones({tokens, position + tokens}, options.dtype(at::kBool)).tril(position);
  return window == 0 ? seen : seen.triu(position - window + 1);
}

}  // namespace

LlamaAttention::LlamaAttention(const LlamaConfig& config, const at::Device& device)
    : config_(config),
      device_(device),
      factor_(config.rope_scaling ? config.rope_scaling->attention_factor : 1) {}

at::Tensor LlamaAttention::attend(const LlamaAttentionWeights& weights, const at::Tensor& x) {
  return project_out(weights, x, mix(weights, project_in(weights, x), x.size(2), nullptr));
}

at::Tensor LlamaAttention::attend_cached(const LlamaAttentionWeights& weights, const at::Tensor& x,
                                         std::int64_t position, LayerCache& cache) {
  const at::Tensor qkv = project_in(weights, x);
  const std::int64_t tokens = qkv.size(1), q_heads = config_.heads, kv_heads = config_.kv_heads;
  at::Tensor mixed, rotated = qkv.narrow(2, 0, q_heads + kv_heads);
  if (position > 0) {
    rotated = rotate(weights, rotated, position, cache.context);
  } else {
    mixed = mix(weights, qkv, cache.context, &rotated);
  }
  make_room(cache, {qkv.size(0), kv_heads, position + tokens, config_.head_dim}, position,
            qkv.options());
  const at::Tensor keys = rotated.narrow(2, q_heads, kv_heads);
  const at::Tensor values = qkv.narrow(2, q_heads + kv_heads, kv_heads);
  cache.tensors[0].narrow(2, position, tokens).copy_(keys.transpose(1, 2));
  cache.tensors[1].narrow(2, position, tokens).copy_(values.transpose(1, 2));
  if (position > 0) {
    mixed = mix_cached(rotated.narrow(2, 0, q_heads), position, weights.window, cache);
  }
  return project_out(weights, x, mixed);
}

// Cosines and sines of the angles of positions [first, first + tokens) in a sequence of that
// length, [1, tokens, 1, rotary_dim / 2], as transformers takes them: angles and functions in f32,
// then the run's dtype. Kept for all positions seen so far and, where they are asked for one after
// the other, as many again.
std::pair<at::Tensor, at::Tensor> LlamaAttention::rotary(std::int64_t first, std::int64_t tokens,
                                                         std::int64_t length,
                                                         at::ScalarType dtype) {
  const std::lock_guard lock(mutex_);
  const std::int64_t end = first + tokens;
  if (length <= rope_stays_within(config_) || rope_stays_within(config_) == 0) length = 0;
  if (!frequencies_.defined() || length != length_) {
    frequencies_ = at::tensor(rope_inverse_frequencies(config_, length)).to(device_);
    length_ = length;
    cos_ = at::Tensor();
  }
  if (!cos_.defined() || cos_.size(1) < end || cos_.scalar_type() != dtype) {
    const at::Tensor position = at::arange(first == 0 ? end : 2 * end, frequencies_.options());
    const at::Tensor angle = at::outer(position, frequencies_).unsqueeze(0).unsqueeze(2);
    cos_ = (angle.cos() * factor_).to(dtype);
    sin_ = (angle.sin() * factor_).to(dtype);
  }
  return {cos_.narrow(1, first, tokens), sin_.narrow(1, first, tokens)};
}

// x: [batch, tokens, heads, head_dim], whose first token is at position `first`; may be rotated in
// place.
at::Tensor LlamaAttention::rotate(const LlamaAttentionWeights& weights, const at::Tensor& x,
                                  std::int64_t first, std::int64_t length) {
  if (!weights.turns) return x;
  const auto [cos, sin] = rotary(first, x.size(1), length, x.scalar_type());
  const std::int64_t turned = config_.rotary_dim, half = turned / 2;
  if (on_device(x) && turned == config_.head_dim) {
    rotate_in_place(x, cos, sin);
    return x;
  }
  const at::Tensor a = x.narrow(3, 0, half), b = x.narrow(3, half, half);
  const at::Tensor rest = x.narrow(3, turned, config_.head_dim - turned);
  return at::cat({a * cos - b * sin, b * cos + a * sin, rest}, 3);
}

// q, k and v of all nodes as one batch: [nodes * sequences, tokens, q + 2 kv heads, head_dim]
at::Tensor LlamaAttention::project_in(const LlamaAttentionWeights& weights,
                                      const at::Tensor& x) const {
  const std::int64_t tokens = x.size(2), batch = x.size(0) * x.size(1);
  const at::Tensor in =
      weights.norm.defined() ? rms_norm(x, weights.norm, config_.rms_norm_eps) : x;
  const at::Tensor h = in.view({batch * tokens, -1});
  const at::Tensor qkv =
      product(h, weights.qkv, weights.qkv_bias)
          .view({batch, tokens, config_.heads + 2 * config_.kv_heads, config_.head_dim});
  return weights.q_norm.defined() ? norm_heads(weights, qkv) : qkv;
}

// qkv with every head of q and of k normed.
at::Tensor LlamaAttention::norm_heads(const LlamaAttentionWeights& weights,
                                      const at::Tensor& qkv) const {
  const std::int64_t q_heads = config_.heads, kv_heads = config_.kv_heads;
  const double epsilon = config_.rms_norm_eps;
  const at::Tensor q = qkv.narrow(2, 0, q_heads), k = qkv.narrow(2, q_heads, kv_heads);
  const auto normed = [&](const at::Tensor& heads, const at::Tensor& weight) {
    const at::Tensor rows = config_.head_norms == HeadNorms::kWhole ? heads.flatten(2) : heads;
    return rms_norm(rows, weight, epsilon).view(heads.sizes());
  };
  const at::Tensor normed_q = normed(q, weights.q_norm), normed_k = normed(k, weights.k_norm);
  if (at::GradMode::is_enabled()) {
    return at::cat({normed_q, normed_k, qkv.narrow(2, q_heads + kv_heads, kv_heads)}, 2);
  }
  q.copy_(normed_q);
  k.copy_(normed_k);
  return qkv;
}

// x + the heads' outputs, [rows, q], through the output projection.
at::Tensor LlamaAttention::project_out(const LlamaAttentionWeights& weights, const at::Tensor& x,
                                       const at::Tensor& heads) const {
  const at::Tensor rows = x.view({heads.size(0), -1});
  at::Tensor out;
  if (weights.post_norm.defined()) {
    out = rows + rms_norm(product(heads, weights.o, weights.o_bias), weights.post_norm,
                          config_.rms_norm_eps);
    return out.view(x.sizes());
  }
  if (on_device(x)) {
    out = add_product(rows, heads, weights.o);
  } else if (at::GradMode::is_enabled()) {
    out = at::addmm(rows, heads, weights.o.t());
  } else {
    out = at::empty_like(rows);
    add_product_into(out, rows, heads, weights.o);
  }
  if (weights.o_bias.defined()) out = out + weights.o_bias;
  return out.view(x.sizes());
}

// Attention of sequences from their start on, of which more may come up to `length`: qkv as
// project_in gives it, which may be rotated in place -> [batch * tokens, q]. `rotated`, unless
// nullptr: where to leave q and k after rotation.
at::Tensor LlamaAttention::mix(const LlamaAttentionWeights& weights, const at::Tensor& qkv,
                               std::int64_t length, at::Tensor* rotated) {
  const std::int64_t q_heads = config_.heads, kv_heads = config_.kv_heads;
  const bool windowed = weights.window > 0 && qkv.size(1) > weights.window;
  const double cap = config_.attention_cap;
  const bool single =
      cap == 0 && !on_cuda(qkv) && qkv.scalar_type() == at::kFloat && !at::GradMode::is_enabled();
  if (single && weights.turns && !windowed && config_.head_dim % 16 == 0 &&
      config_.rotary_dim == config_.head_dim && qkv.size(1) * config_.head_dim <= kKernelKeys) {
    return mix_by_kernel(qkv, length);
  }
  const at::Tensor qk = rotate(weights, qkv.narrow(2, 0, q_heads + kv_heads), 0, length);
  if (rotated != nullptr) *rotated = qk;
  const at::Tensor q = qk.narrow(2, 0, q_heads).transpose(1, 2);
  at::Tensor k = qk.narrow(2, q_heads, kv_heads).transpose(1, 2);
  at::Tensor v = qkv.narrow(2, q_heads + kv_heads, kv_heads).transpose(1, 2);
  if (cap != 0) {
    const at::Tensor capped = capped_attention(q, k, v, weights.window, cap);
    return capped.transpose(1, 2).reshape({-1, config_.q_size()});
  }
  // On a device LibTorch's attention in f32 takes heads that share keys only by way of the whole
  // matrix of scores.
  if (on_device(q) && q.scalar_type() == at::kFloat && q_heads != kv_heads) {
    k = k.repeat_interleave(q_heads / kv_heads, 1);
    v = v.repeat_interleave(q_heads / kv_heads, 1);
  }
  std::optional<at::Tensor> seen;
  if (windowed) seen = seen_keys(qkv.size(1), 0, weights.window, qkv.options());
  const at::Tensor mixed =
      at::scaled_dot_product_attention(q, k, v, seen, 0.0, /*is_causal=*/!windowed, std::nullopt,
                                       /*enable_gqa=*/k.size(1) != q_heads);
  return mixed.transpose(1, 2).reshape({-1, config_.q_size()});
}

// qkv: [batch, tokens, q + 2 kv heads, head_dim], f32 on the CPU, rotated in place ->
// [batch * tokens, q]
at::Tensor LlamaAttention::mix_by_kernel(const at::Tensor& qkv, std::int64_t length) {
  const std::int64_t tokens = qkv.size(1), q_size = config_.q_size(), dim = config_.head_dim;
  const std::int64_t kv_heads = config_.kv_heads, group = config_.heads / kv_heads;
  const AttentionShape shape = {.tokens = tokens,
                                .head_dim = dim,
                                .group = group,
                                .stride = qkv.stride(1),
                                .out_stride = q_size};
  const auto [cos, sin] = rotary(0, tokens, length, at::kFloat);
  const at::Tensor out = at::empty({qkv.size(0) * tokens, q_size}, qkv.options());
  const float* const cosines = cos.const_data_ptr<float>();
  const float* const sines = sin.const_data_ptr<float>();
  float* const in = qkv.data_ptr<float>();
  float* const heads = out.data_ptr<float>();
  at::parallel_for(0, qkv.size(0) * kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> work(static_cast<std::size_t>(attention_work(shape)));
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t sequence = i / kv_heads, head = i % kv_heads;
      float* const row = in + sequence * tokens * shape.stride;
      causal_attention(shape, row + head * group * dim, row + q_size + head * dim,
                       row + q_size + (kv_heads + head) * dim, cosines, sines,
                       heads + sequence * tokens * q_size + head * group * dim, work.data());
    }
  });
  return out;
}

// Attention of rotated queries [sequences, tokens, q heads, head_dim], whose first token is at
// `position`, over the cache, which has these tokens already -> [sequences * tokens, q]
at::Tensor LlamaAttention::mix_cached(const at::Tensor& queries, std::int64_t position,
                                      std::int64_t window, const LayerCache& cache) const {
  const std::int64_t tokens = queries.size(1), end = position + tokens;
  // The first key that any of them sees.
  const std::int64_t first = window == 0 ? 0 : std::max<std::int64_t>(0, position - window + 1);
  const at::Tensor keys = cache.tensors[0].narrow(2, first, end - first);
  const at::Tensor values = cache.tensors[1].narrow(2, first, end - first);
  if (const double cap = config_.attention_cap; cap != 0) {
    return capped_attention(queries.transpose(1, 2), keys, values, window, cap)
        .transpose(1, 2)
        .reshape({-1, config_.q_size()});
  }
  // The heads that share keys are rows of one product: [sequences, kv, group * tokens, head_dim].
  const std::int64_t group = config_.heads / config_.kv_heads;
  const at::Tensor q =
      queries.transpose(1, 2).reshape({-1, config_.kv_heads, group * tokens, config_.head_dim});
  std::optional<at::Tensor> seen;
  if (tokens > 1) {
    seen = seen_keys(tokens, position - first, window, q.options()).repeat({group, 1});
  }
  return at::scaled_dot_product_attention(q, keys, values, seen)
      .reshape({-1, config_.heads, tokens, config_.head_dim})
      .transpose(1, 2)
      .reshape({-1, config_.q_size()});
}

// Keys and values for shape[2] tokens, the first `used` of them kept. Room grows by doubling.
void LlamaAttention::make_room(LayerCache& cache, std::vector<std::int64_t> shape,
                               std::int64_t used, const at::TensorOptions& options) const {
  constexpr std::int64_t kLeast = 256;
  if (!cache.tensors.empty() && cache.tensors[0].size(2) >= shape[2]) return;
  shape[2] = std::max({shape[2], kLeast, std::min(2 * used, config_.max_position_embeddings)});
  std::vector<at::Tensor> grown;
  for (std::size_t i = 0; i < 2; ++i) {
    grown.push_back(at::empty(shape, options));
    if (used > 0) grown.back().narrow(2, 0, used).copy_(cache.tensors[i].narrow(2, 0, used));
  }
  cache.tensors = std::move(grown);
}

}  // namespace mnm
