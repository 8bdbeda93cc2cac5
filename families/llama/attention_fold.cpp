#include "families/llama/attention_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "families/level_products.h"
#include "families/llama/capped_attention_fold.h"
#include "families/llama/kv_cache_fold.h"
#include "families/rms_norm.h"
#include "fold/launch.h"
#include "fold/product.h"
#include "kernels/attention.h"
#include "kernels/cached_attention.h"

namespace mnm {
namespace {

// tokens * head_dim up to which the attention kernel's keys and values stay in a core's cache.
constexpr std::int64_t kKernelKeys = 1 << 16;

// Whether the CUDA kernels apply: nothing to differentiate.
bool on_device(const at::Tensor& x) { return on_cuda(x) && !at::GradMode::is_enabled(); }

// Tokens of a run up to which the kernel of few tokens takes less time than LibTorch's products.
constexpr std::int64_t kFewTokens = 16;

// The tokens of one sequence of a run, which begin at a row, and the keys that they see.
struct FewTokens {
  const Run* run;
  std::int64_t sequence, row;
  std::vector<KvPart> kept;
};

std::vector<FewTokens> few_tokens(std::span<const Run> runs, std::size_t layer,
                                  std::int64_t window) {
  std::vector<FewTokens> all;
  std::int64_t row = 0;
  for (const Run& run : runs) {
    const std::int64_t end = run.position + run.tokens;
    const std::int64_t first =
        window == 0 ? 0 : std::max<std::int64_t>(0, run.position - window + 1);
    for (std::int64_t s = 0; s < run.sequences; ++s, row += run.tokens) {
      all.push_back({&run, s, row, kv_parts(run.caches[layer], first, end)});
    }
  }
  return all;
}

// Where a block has the key or value at `offset` of a head.
char* head_of(const at::Tensor& block, std::int64_t sequence, std::int64_t head,
              std::int64_t offset) {
  const std::int64_t before =
      sequence * block.stride(0) + head * block.stride(1) + offset * block.stride(2);
  return static_cast<char*>(block.data_ptr()) + before * block.element_size();
}

// Those of the positions [first, end) whose tokens did not skip the layer, less `first`.
at::Tensor kept_keys(const LayerCache& cache, std::int64_t first, std::int64_t end) {
  std::vector<std::int64_t> kept;
  for (const KvPart& part : kv_parts(cache, first, end)) {
    for (std::int64_t key = part.begin; key < part.end; ++key) kept.push_back(key - first);
  }
  return at::tensor(kept, at::kLong);
}

// Their keys and values.
std::pair<at::Tensor, at::Tensor> seen_kv(const LayerCache& cache, std::int64_t first,
                                          std::int64_t end) {
  const auto [keys, values] = read_kv(cache, first, end);
  if (cache.skipped.empty() || cache.skipped.back().end <= first) return {keys, values};
  const at::Tensor index = kept_keys(cache, first, end).to(keys.device());
  return {keys.index_select(2, index), values.index_select(2, index)};
}

// Which keys [0, position + tokens) the tokens from `position` on see, [tokens, keys]: themselves,
// those before, and of these no more than `window` (0: all).
at::Tensor seen_keys(std::int64_t tokens, std::int64_t position, std::int64_t window,
                     const at::TensorOptions& options) {
  at::Tensor seen = at::ones({tokens, position + tokens}, options.dtype(at::kBool)).tril(position);
  return window == 0 ? seen : seen.triu(position - window + 1);
}

}  // namespace

LlamaAttention::LlamaAttention(const LlamaConfig& config, const at::Device& device)
    : config_(config), device_(device) {}

at::Tensor LlamaAttention::attend(const LlamaAttentionWeights& weights, const at::Tensor& x,
                                  const Givens& givens) {
  const at::Tensor qkv = project_in(weights, x);
  return project_out(weights, x,
                     givens.shared.empty() ? mix(weights, qkv, x.size(2), nullptr)
                                           : mix_branches(weights, qkv, x.size(0), givens));
}

Givens LlamaAttention::branching(const Batch& batch) {
  if (!batch.sequences.defined()) return {};
  return {{batch.sequences, batch.places}, {}};
}

// Each branch's sequence is attended to by itself: what is shared is mixed once for each, and all
// that goes before and after, the products with weights, is computed once.
at::Tensor LlamaAttention::mix_branches(const LlamaAttentionWeights& weights, const at::Tensor& qkv,
                                        std::int64_t nodes, const Givens& givens) {
  const at::Tensor &sequences = givens.shared[0], &places = givens.shared[1];
  const at::Tensor apart = qkv.view({nodes, -1, qkv.size(2), qkv.size(3)})
                               .index_select(1, sequences.flatten())
                               .view({-1, sequences.size(1), qkv.size(2), qkv.size(3)});
  return mix(weights, apart, sequences.size(1), nullptr)
      .view({nodes, -1, config_.q_size()})
      .index_select(1, places)
      .flatten(0, 1);
}

at::Tensor LlamaAttention::attend_cached(const LlamaAttentionWeights& weights, const at::Tensor& x,
                                         std::size_t layer, std::span<const Run> runs) {
  const at::Tensor qkv = project_in(weights, x)[0];  // [rows, q + 2 kv heads, head_dim]
  for (const Run& run : runs) {
    make_kv_room(run.caches[layer], run, {run.sequences, config_.kv_heads, 0, config_.head_dim},
                 qkv.options());
  }
  if (takes_kernel(qkv, runs)) return project_out(weights, x, mix_few(weights, qkv, layer, runs));
  std::vector<at::Tensor> mixed;
  std::int64_t row = 0;
  for (const Run& run : runs) {
    const at::Tensor rows =
        qkv.narrow(0, row, run.rows()).view({run.sequences, run.tokens, qkv.size(1), qkv.size(2)});
    const bool few = takes_kernel(rows, {&run, 1});
    mixed.push_back(few ? mix_few(weights, rows.flatten(0, 1), layer, {&run, 1})
                        : mix_run(weights, rows, run, run.caches[layer]));
    row += run.rows();
  }
  return project_out(weights, x, mixed.size() == 1 ? mixed.front() : at::cat(mixed));
}

// Whether the layers with a window turn by frequencies of their own.
bool LlamaAttention::has_own_angles(bool local) const { return local && config_.local_theta != 0; }

// The length of a sequence where angles depend on it, else 0.
std::int64_t LlamaAttention::turning_length(bool local, std::int64_t length) const {
  const std::int64_t within = has_own_angles(local) ? 0 : rope_stays_within(config_);
  return within == 0 || length <= within ? 0 : length;
}

// Cosines and sines of the angles of positions [first, first + tokens) in a sequence of that
// length, [1, tokens, 1, rotary_dim / 2], as transformers takes them: angles and functions in f32,
// then the run's dtype. Kept for all positions seen so far and, where they are asked for one after
// the other, as many again.
std::pair<at::Tensor, at::Tensor> LlamaAttention::rotary(bool local, std::int64_t first,
                                                         std::int64_t tokens, std::int64_t length,
                                                         at::ScalarType dtype) {
  const std::lock_guard lock(mutex_);
  const std::int64_t end = first + tokens;
  const bool own = has_own_angles(local);
  Rotary& known = own ? local_rotary_ : rotary_;
  length = turning_length(local, length);
  if (!known.frequencies.defined() || length != known.length) {
    known.frequencies = at::tensor(rope_inverse_frequencies(config_, length, own)).to(device_);
    known.length = length;
    known.cos = at::Tensor();
  }
  if (!known.cos.defined() || known.cos.size(1) < end || known.cos.scalar_type() != dtype) {
    const at::Tensor position = at::arange(first == 0 ? end : 2 * end, known.frequencies.options());
    const at::Tensor angle = at::outer(position, known.frequencies).unsqueeze(0).unsqueeze(2);
    const double factor = config_.rope_scaling && !own ? config_.rope_scaling->attention_factor : 1;
    known.cos = (angle.cos() * factor).to(dtype);
    known.sin = (angle.sin() * factor).to(dtype);
  }
  return {known.cos.narrow(1, first, tokens), known.sin.narrow(1, first, tokens)};
}

// x: [batch, tokens, heads, head_dim], whose first token is at position `first`; may be rotated in
// place.
at::Tensor LlamaAttention::rotate(const LlamaAttentionWeights& weights, const at::Tensor& x,
                                  std::int64_t first, std::int64_t length) {
  if (!weights.turns) return x;
  const auto [cos, sin] = rotary(weights.local, first, x.size(1), length, x.scalar_type());
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
    return mix_by_kernel(weights, qkv, length);
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
at::Tensor LlamaAttention::mix_by_kernel(const LlamaAttentionWeights& weights,
                                         const at::Tensor& qkv, std::int64_t length) {
  const std::int64_t tokens = qkv.size(1), q_size = config_.q_size(), dim = config_.head_dim;
  const std::int64_t kv_heads = config_.kv_heads, group = config_.heads / kv_heads;
  const AttentionShape shape = {.tokens = tokens,
                                .head_dim = dim,
                                .group = group,
                                .stride = qkv.stride(1),
                                .out_stride = q_size};
  const auto [cos, sin] = rotary(weights.local, 0, tokens, length, at::kFloat);
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

// One run by LibTorch's operators: qkv [sequences, tokens, q + 2 kv heads, head_dim] -> [rows, q].
// Its keys and values go to the cache.
at::Tensor LlamaAttention::mix_run(const LlamaAttentionWeights& weights, const at::Tensor& qkv,
                                   const Run& run, LayerCache& cache) {
  const std::int64_t q_heads = config_.heads, kv_heads = config_.kv_heads;
  at::Tensor mixed, rotated = qkv.narrow(2, 0, q_heads + kv_heads);
  if (run.position > 0) {
    rotated = rotate(weights, rotated, run.position, cache.context);
  } else {
    mixed = mix(weights, qkv, cache.context, &rotated);
  }
  const at::Tensor keys = rotated.narrow(2, q_heads, kv_heads);
  const at::Tensor values = qkv.narrow(2, q_heads + kv_heads, kv_heads);
  write_kv(cache, run, keys.transpose(1, 2), values.transpose(1, 2));
  if (run.position == 0) return mixed;
  return mix_cached(rotated.narrow(2, 0, q_heads), run, weights.window, cache);
}

// Attention of rotated queries [sequences, tokens, q heads, head_dim] over the cache, which has
// these tokens already -> [rows, q]
at::Tensor LlamaAttention::mix_cached(const at::Tensor& queries, const Run& run,
                                      std::int64_t window, const LayerCache& cache) const {
  const std::int64_t tokens = run.tokens, position = run.position, end = position + tokens;
  // The first key that any of them sees.
  const std::int64_t first = window == 0 ? 0 : std::max<std::int64_t>(0, position - window + 1);
  const bool gaps = !cache.skipped.empty() && cache.skipped.back().end > first;
  if (const double cap = config_.attention_cap; cap != 0) {
    // With gaps token by token, since a window counts positions and not keys.
    const std::int64_t each = gaps ? 1 : tokens;
    std::vector<at::Tensor> mixed;
    for (std::int64_t t = 0; t < tokens; t += each) {
      const std::int64_t stop = position + t + each;
      const std::int64_t start = gaps && window > 0 ? std::max(first, stop - window) : first;
      const auto [keys, values] = seen_kv(cache, start, stop);
      mixed.push_back(capped_attention(queries.narrow(1, t, each).transpose(1, 2), keys, values,
                                       gaps ? 0 : window, cap));
    }
    return at::cat(mixed, 2).transpose(1, 2).reshape({-1, config_.q_size()});
  }
  const auto [keys, values] = seen_kv(cache, first, end);
  // The heads that share keys are rows of one product: [sequences, kv, group * tokens, head_dim].
  const std::int64_t group = config_.heads / config_.kv_heads;
  const at::Tensor q =
      queries.transpose(1, 2).reshape({-1, config_.kv_heads, group * tokens, config_.head_dim});
  std::optional<at::Tensor> mask;
  if (tokens > 1) {
    at::Tensor seen = seen_keys(tokens, position - first, window, queries.options());
    if (gaps) seen = seen.index_select(1, kept_keys(cache, first, end).to(seen.device()));
    mask = seen.repeat({group, 1});
  }
  return at::scaled_dot_product_attention(q, keys, values, mask)
      .reshape({-1, config_.heads, tokens, config_.head_dim})
      .transpose(1, 2)
      .reshape({-1, config_.q_size()});
}

// Whether the kernel of few tokens takes these runs: f32 or bf16 on the CPU.
bool LlamaAttention::takes_kernel(const at::Tensor& qkv, std::span<const Run> runs) const {
  const bool few =
      std::ranges::all_of(runs, [](const Run& run) { return run.tokens <= kFewTokens; });
  const bool type = qkv.scalar_type() == at::kFloat || qkv.scalar_type() == at::kBFloat16;
  return few && !on_cuda(qkv) && type && qkv.is_contiguous() && config_.attention_cap == 0 &&
         config_.head_dim % 8 == 0;
}

// Cosines and sines of the angles of every row's position, [rows, 1, rotary_dim / 2] each.
std::pair<at::Tensor, at::Tensor> LlamaAttention::rotary_of_rows(
    const LlamaAttentionWeights& weights, const at::TensorOptions& options, std::size_t layer,
    std::span<const Run> runs) {
  const auto context = [&](const Run& run) {
    return turning_length(weights.local, run.caches[layer].context);
  };
  std::vector<at::Tensor> cosines, sines;
  // Runs whose contexts count as long have the same angles at the same position.
  for (std::size_t begin = 0, end = 0; begin < runs.size(); begin = end) {
    std::vector<std::int64_t> positions;
    for (; end < runs.size() && context(runs[end]) == context(runs[begin]); ++end) {
      const Run& run = runs[end];
      for (std::int64_t s = 0; s < run.sequences; ++s) {
        for (std::int64_t t = 0; t < run.tokens; ++t) positions.push_back(run.position + t);
      }
    }
    const auto [least, most] = std::ranges::minmax(positions);
    for (std::int64_t& position : positions) position -= least;
    const auto [cos, sin] = rotary(weights.local, least, most - least + 1, context(runs[begin]),
                                   c10::typeMetaToScalarType(options.dtype()));
    const at::Tensor index = at::tensor(positions, at::kLong).to(options.device());
    cosines.push_back(cos[0].index_select(0, index));
    sines.push_back(sin[0].index_select(0, index));
  }
  if (cosines.size() == 1) return {cosines.front(), sines.front()};
  return {at::cat(cosines), at::cat(sines)};
}

// Turns q and k of rows [rows, q + 2 kv heads, head_dim] by their positions, in place.
void LlamaAttention::rotate_rows(const LlamaAttentionWeights& weights, const at::Tensor& rows,
                                 std::size_t layer, std::span<const Run> runs) {
  const auto [cos, sin] = rotary_of_rows(weights, rows.options(), layer, runs);
  const std::int64_t half = config_.rotary_dim / 2;
  const at::Tensor turned = rows.narrow(1, 0, config_.heads + config_.kv_heads);
  const at::Tensor a = turned.narrow(2, 0, half), b = turned.narrow(2, half, half);
  const at::Tensor first = a * cos - b * sin;
  b.mul_(cos).add_(a * sin);
  a.copy_(first);
}

// Runs of few tokens by the kernel, all of them together: qkv [rows, q + 2 kv heads, head_dim] ->
// [rows, q]. Their keys and values go to the caches.
at::Tensor LlamaAttention::mix_few(const LlamaAttentionWeights& weights, const at::Tensor& qkv,
                                   std::size_t layer, std::span<const Run> runs) {
  if (weights.turns) rotate_rows(weights, qkv, layer, runs);
  const std::int64_t dim = config_.head_dim, kv_heads = config_.kv_heads;
  const std::int64_t q_size = config_.q_size();
  const bool single = qkv.scalar_type() == at::kFloat;
  const at::Tensor queries = qkv.narrow(1, 0, config_.heads).to(at::kFloat);
  const at::Tensor out = at::empty({qkv.size(0), q_size}, queries.options());
  const std::vector<FewTokens> parts = few_tokens(runs, layer, weights.window);
  std::int64_t most = 0, keys = 0;
  for (const FewTokens& part : parts) {
    most = std::max(most, part.run->tokens);
    keys += part.run->position + part.run->tokens;
  }
  CachedAttention shape = {.tokens = most,
                           .group = config_.heads / kv_heads,
                           .head_dim = dim,
                           .window = weights.window,
                           .kept = single ? Element::kF32 : Element::kBF16,
                           .query_stride = queries.stride(0),
                           .out_stride = q_size};
  const std::int64_t work_size = cached_attention_work(shape);
  const auto* const in = static_cast<const char*>(qkv.const_data_ptr());
  const std::int64_t element = qkv.element_size(), stride = qkv.stride(0) * element;  // bytes
  const std::int64_t head_size = dim * element;
  const float* const from = queries.const_data_ptr<float>();
  float* const to = out.data_ptr<float>();
  const auto tasks = static_cast<std::int64_t>(parts.size()) * kv_heads;
  // Waking a thread takes longer than few keys do.
  const std::int64_t each = std::max<std::int64_t>(1, keys * kv_heads * dim / tasks);
  const std::int64_t grain = std::max<std::int64_t>(1, kKernelKeys / each);
  at::parallel_for(0, tasks, grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> work(static_cast<std::size_t>(work_size));
    std::vector<KeptKeys> kept;
    for (std::int64_t i = begin; i < end; ++i) {
      const FewTokens& part = parts[static_cast<std::size_t>(i / kv_heads)];
      const std::int64_t head = i % kv_heads;
      const std::vector<at::Tensor>& blocks = part.run->caches[layer].tensors;
      const char* const rows = in + part.row * stride;
      kept.clear();
      for (const KvPart& at : part.kept) {
        char* const k = head_of(blocks[2 * at.block], part.sequence, head, at.offset);
        char* const v = head_of(blocks[2 * at.block + 1], part.sequence, head, at.offset);
        // The new tokens among them.
        for (std::int64_t p = std::max(at.begin, part.run->position); p < at.end; ++p) {
          const char* const row_of = rows + (p - part.run->position) * stride + q_size * element;
          const std::int64_t place = (p - at.begin) * head_size;
          std::copy_n(row_of + head * head_size, head_size, k + place);
          std::copy_n(row_of + (kv_heads + head) * head_size, head_size, v + place);
        }
        kept.push_back({k, v, at.begin, at.end});
      }
      CachedAttention a = shape;
      a.tokens = part.run->tokens;
      a.position = part.run->position;
      a.queries = from + part.row * shape.query_stride + head * shape.group * dim;
      a.out = to + part.row * q_size + head * shape.group * dim;
      cached_attention(a, kept, work.data());
    }
  });
  return out.to(qkv.scalar_type());
}

}  // namespace mnm
