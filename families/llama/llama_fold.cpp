#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <mutex>

#include "families/end_matrix.h"
#include "families/level.h"
#include "families/llama/llama_config.h"
#include "fold/fold.h"
#include "fold/launch.h"
#include "fold/product.h"
#include "kernels/causal_attention.h"
#include "kernels/gated_silu.h"
#include "kernels/rms_norm.h"
#include "model/error.h"

namespace mnm {
namespace {

// Rows of a block of the FFN on the CPU: up to a layer's width its activations stay in a core's
// cache; beyond it blocks are larger, since each product copies its weights first.
constexpr std::int64_t kCachedWidth = 512, kCachedRows = 256, kBlockRows = 1024;

// tokens * head_dim up to which the attention kernel's keys and values stay in a core's cache.
constexpr std::int64_t kKernelKeys = 1 << 16;

struct LlamaLayer {
  at::Tensor attention_norm;                 // [d]
  at::Tensor qkv, qkv_bias;                  // [q + 2 kv, d], [q + 2 kv] or undefined
  at::Tensor o, o_bias;                      // [d, q]
  at::Tensor ffn_norm;                       // [d]
  at::Tensor gate, up, down;                 // [w, d], [w, d], [d, w]
  at::Tensor gate_bias, up_bias, down_bias;  // [w], [w], [d] or undefined
};

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
  }
  fail("activation without an implementation");
}

void activate_(at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      at::silu_(x);
      return;
    case Activation::kGelu:
      at::gelu_(x);
      return;
    case Activation::kGeluTanh:
      at::gelu_(x, "tanh");
      return;
    case Activation::kRelu:
      at::relu_(x);
      return;
  }
}

Act act_of(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return Act::kSilu;
    case Activation::kGelu:
      return Act::kGelu;
    case Activation::kGeluTanh:
      return Act::kGeluTanh;
    case Activation::kRelu:
      return Act::kRelu;
  }
  fail("activation without a kernel");
}

at::Tensor prefix(const at::Tensor& bias, std::int64_t width) {
  return bias.defined() ? bias.narrow(0, 0, width) : bias;
}

class LlamaFold final : public Fold {
 public:
  explicit LlamaFold(const FoldInputs& inputs)
      : config_(parse_llama_config(inputs.model.config, {})), weight_(inputs.weight) {
    embedding_ = EndMatrix(inputs, "model.embed_tokens.weight");
    final_norm_ = weight_("model.norm.weight");
    head_ = config_.tied ? embedding_ : EndMatrix(inputs, "lm_head.weight");
    const std::vector<float> frequencies = rope_inverse_frequencies(config_);
    frequencies_ = at::tensor(frequencies).to(final_norm_.device());
    layers_.resize(static_cast<std::size_t>(config_.layers));
  }

  void load(std::size_t layer) override { layers_[layer] = load_layer(layer); }
  void unload(std::size_t layer) override { layers_[layer] = {}; }

  State embed(const at::Tensor& tokens) override { return {{embedding_.at(tokens).unsqueeze(0)}}; }

  State step(std::size_t index, const State& parents, std::span<const Child> children) override {
    const LlamaLayer& layer = layers_[index];
    const at::Tensor x = attend(layer, parents.tensors.front());
    return {{c10::GradMode::is_enabled() ? feed_forward(layer, x, children)
                                         : feed_forward_shared(layer, x, children)}};
  }

  State extend(std::size_t index, const State& state, Width width, std::int64_t position,
               LayerCache& cache) override {
    const LlamaLayer& layer = layers_[index];
    const Child child = {0, width};
    const at::Tensor x = attend_cached(layer, state.tensors.front(), position, cache);
    return {{feed_forward_shared(layer, x, {&child, 1})}};
  }

  at::Tensor readout(const State& state) override {
    return norm(state.tensors.front(), final_norm_);
  }

  at::Tensor logits(const at::Tensor& rows) override { return head_.product(rows); }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return head_.product(rows, first, count);
  }

 private:
  LlamaLayer load_layer(std::size_t index) const {
    const std::string base = fmt::format("model.layers.{}.", index);
    const auto w = [&](const char* name) { return weight_(base + name + ".weight"); };
    const auto b = [&](const char* name, bool there) {
      return there ? weight_(base + name + ".bias") : at::Tensor();
    };
    const bool ab = config_.attention_bias, mb = config_.mlp_bias;
    LlamaLayer layer;
    layer.attention_norm = w("input_layernorm");
    layer.qkv = at::cat({w("self_attn.q_proj"), w("self_attn.k_proj"), w("self_attn.v_proj")});
    if (ab) {
      layer.qkv_bias = at::cat(
          {b("self_attn.q_proj", true), b("self_attn.k_proj", true), b("self_attn.v_proj", true)});
    }
    layer.o = w("self_attn.o_proj");
    layer.o_bias = b("self_attn.o_proj", ab);
    layer.ffn_norm = w("post_attention_layernorm");
    layer.gate = w("mlp.gate_proj");
    layer.up = w("mlp.up_proj");
    layer.down = w("mlp.down_proj");
    layer.gate_bias = b("mlp.gate_proj", mb);
    layer.up_bias = b("mlp.up_proj", mb);
    layer.down_bias = b("mlp.down_proj", mb);
    return layer;
  }

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    if (has_kernels(x) && x.is_contiguous() && weight.scalar_type() == at::kFloat) {
      const at::Tensor out = at::empty_like(x);
      const std::int64_t d = config_.hidden_size;
      const float* const from = x.const_data_ptr<float>();
      const float* const scale = weight.const_data_ptr<float>();
      float* const to = out.data_ptr<float>();
      const auto epsilon = static_cast<float>(config_.rms_norm_eps);
      at::parallel_for(0, x.numel() / d, 256, [&](std::int64_t begin, std::int64_t end) {
        mnm::rms_norm(from + begin * d, scale, end - begin, d, epsilon, to + begin * d);
      });
      return out;
    }
    return at::rms_norm(x, {config_.hidden_size}, weight, config_.rms_norm_eps);
  }

  // cos and sin of the angles of positions [first, first + tokens), [1, tokens, 1, head_dim / 2],
  // as transformers takes them: angles and functions in f32, then the run's dtype. Kept for all
  // positions seen so far and, where they are asked for one after the other, as many again.
  std::pair<at::Tensor, at::Tensor> rotary(std::int64_t first, std::int64_t tokens,
                                           at::ScalarType dtype) {
    const std::lock_guard lock(rotary_mutex_);
    const std::int64_t end = first + tokens;
    if (!cos_.defined() || cos_.size(1) < end || cos_.scalar_type() != dtype) {
      const at::Tensor position = at::arange(first == 0 ? end : 2 * end, frequencies_.options());
      const at::Tensor angle = at::outer(position, frequencies_).unsqueeze(0).unsqueeze(2);
      cos_ = angle.cos().to(dtype);
      sin_ = angle.sin().to(dtype);
    }
    return {cos_.narrow(1, first, tokens), sin_.narrow(1, first, tokens)};
  }

  // x: [batch, tokens, heads, head_dim], whose first token is at position `first`; may be rotated
  // in place.
  at::Tensor rotate(const at::Tensor& x, std::int64_t first) {
    const auto [cos, sin] = rotary(first, x.size(1), x.scalar_type());
    if (on_device(x)) {
      rotate_in_place(x, cos, sin);
      return x;
    }
    const std::int64_t half = config_.head_dim / 2;
    const at::Tensor a = x.narrow(3, 0, half), b = x.narrow(3, half, half);
    return at::cat({a * cos - b * sin, b * cos + a * sin}, 3);
  }

  // q, k and v of all nodes as one batch: [nodes * sequences, tokens, q + 2 kv heads, head_dim]
  at::Tensor project_in(const LlamaLayer& layer, const at::Tensor& x) const {
    const std::int64_t tokens = x.size(2), batch = x.size(0) * x.size(1);
    const at::Tensor h = norm(x, layer.attention_norm).view({batch * tokens, -1});
    return product(h, layer.qkv, layer.qkv_bias)
        .view({batch, tokens, config_.heads + 2 * config_.kv_heads, config_.head_dim});
  }

  // x + attention(norm(x)), for all nodes as one batch: [nodes, sequences, tokens, d]
  at::Tensor attend(const LlamaLayer& layer, const at::Tensor& x) {
    return project(layer, x, attend_from_start(project_in(layer, x)));
  }

  // The same for one node whose first token is at `position`. The cache holds rotated keys, and
  // values, both [sequences, kv heads, room for tokens, head_dim]; of the room `position` is used.
  at::Tensor attend_cached(const LlamaLayer& layer, const at::Tensor& x, std::int64_t position,
                           LayerCache& cache) {
    at::Tensor qkv = project_in(layer, x);
    const std::int64_t tokens = qkv.size(1), dim = config_.head_dim;
    const std::int64_t q_heads = config_.heads, kv_heads = config_.kv_heads;
    at::Tensor mixed, rotated = qkv.narrow(2, 0, q_heads + kv_heads);
    if (position > 0) {
      rotated = rotate(rotated, position);
    } else {
      mixed = attend_from_start(qkv, &rotated);
    }
    make_room(cache, {qkv.size(0), kv_heads, position + tokens, dim}, position, qkv.options());
    const std::int64_t end = position + tokens;
    cache.tensors[0]
        .narrow(2, position, tokens)
        .copy_(rotated.narrow(2, q_heads, kv_heads).transpose(1, 2));
    cache.tensors[1]
        .narrow(2, position, tokens)
        .copy_(qkv.narrow(2, q_heads + kv_heads, kv_heads).transpose(1, 2));
    if (position > 0) {
      // The heads that share keys are rows of one product: [sequences, kv, group * tokens, dim].
      const std::int64_t group = q_heads / kv_heads;
      const at::Tensor q = rotated.narrow(2, 0, q_heads)
                               .transpose(1, 2)
                               .reshape({-1, kv_heads, group * tokens, dim});
      std::optional<at::Tensor> seen;
      if (tokens > 1) {
        seen =
            at::ones({tokens, end}, q.options().dtype(at::kBool)).tril(position).repeat({group, 1});
      }
      mixed = at::scaled_dot_product_attention(q, cache.tensors[0].narrow(2, 0, end),
                                               cache.tensors[1].narrow(2, 0, end), seen)
                  .reshape({-1, q_heads, tokens, dim})
                  .transpose(1, 2)
                  .reshape({-1, config_.q_size()});
    }
    return project(layer, x, mixed);
  }

  // Keys and values for shape[2] tokens, the first `used` of them kept. Room grows by doubling.
  void make_room(LayerCache& cache, std::vector<std::int64_t> shape, std::int64_t used,
                 const at::TensorOptions& options) const {
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

  // Attention of whole sequences from position 0: qkv as project_in gives it, which may be rotated
  // in place -> [batch * tokens, q]. `rotated`: where to leave q and k after rotation.
  at::Tensor attend_from_start(const at::Tensor& qkv, at::Tensor* rotated = nullptr) {
    const std::int64_t tokens = qkv.size(1);
    const std::int64_t q_heads = config_.heads, kv_heads = config_.kv_heads;
    const at::Tensor in = qkv.narrow(2, 0, q_heads + kv_heads);
    if (has_kernels(qkv) && config_.head_dim % 16 == 0 &&
        tokens * config_.head_dim <= kKernelKeys) {
      return attend_on_cpu(qkv);
    }
    const at::Tensor qk = rotate(in, 0);
    if (rotated != nullptr) *rotated = qk;
    const at::Tensor q = qk.narrow(2, 0, q_heads).transpose(1, 2);
    at::Tensor k = qk.narrow(2, q_heads, kv_heads).transpose(1, 2);
    at::Tensor v = qkv.narrow(2, q_heads + kv_heads, kv_heads).transpose(1, 2);
    // On a device LibTorch's attention in f32 takes heads that share keys only by way of the whole
    // matrix of scores.
    if (on_device(q) && q.scalar_type() == at::kFloat && q_heads != kv_heads) {
      k = k.repeat_interleave(q_heads / kv_heads, 1);
      v = v.repeat_interleave(q_heads / kv_heads, 1);
    }
    const at::Tensor mixed = at::scaled_dot_product_attention(
        q, k, v, {}, 0.0, /*is_causal=*/true, std::nullopt, /*enable_gqa=*/k.size(1) != q_heads);
    return mixed.transpose(1, 2).reshape({-1, config_.q_size()});
  }

  // x + the heads' outputs, [rows, q], through the output projection.
  at::Tensor project(const LlamaLayer& layer, const at::Tensor& x, const at::Tensor& heads) const {
    const at::Tensor rows = x.view({heads.size(0), -1});
    at::Tensor out;
    if (on_device(x)) {
      out = add_product(rows, heads, layer.o);
    } else if (c10::GradMode::is_enabled()) {
      out = at::addmm(rows, heads, layer.o.t());
    } else {
      out = at::empty_like(rows);
      add_product_into(out, rows, heads, layer.o);
    }
    if (layer.o_bias.defined()) out = out + layer.o_bias;
    return out.view(x.sizes());
  }

  // Whether the CUDA kernels apply: nothing to differentiate.
  static bool on_device(const at::Tensor& x) { return on_cuda(x) && !at::GradMode::is_enabled(); }

  // Whether the CPU kernels apply: f32, and nothing to differentiate.
  static bool has_kernels(const at::Tensor& x) {
    return !on_cuda(x) && x.scalar_type() == at::kFloat && !at::GradMode::is_enabled();
  }

  // qkv: [batch, tokens, q + 2 kv heads, head_dim], rotated in place -> [batch * tokens, q]
  at::Tensor attend_on_cpu(const at::Tensor& qkv) {
    const std::int64_t tokens = qkv.size(1), q_size = config_.q_size(), dim = config_.head_dim;
    const std::int64_t kv_heads = config_.kv_heads, group = config_.heads / kv_heads;
    const AttentionShape shape = {.tokens = tokens,
                                  .head_dim = dim,
                                  .group = group,
                                  .stride = qkv.stride(1),
                                  .out_stride = q_size};
    const auto [cos, sin] = rotary(0, tokens, at::kFloat);
    const at::Tensor out = at::empty({qkv.size(0) * tokens, q_size}, qkv.options());
    const float* const angles[] = {cos.const_data_ptr<float>(), sin.const_data_ptr<float>()};
    float* const in = qkv.data_ptr<float>();
    float* const heads = out.data_ptr<float>();
    at::parallel_for(0, qkv.size(0) * kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> work(static_cast<std::size_t>(attention_work(shape)));
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t sequence = i / kv_heads, head = i % kv_heads;
        float* const row = in + sequence * tokens * shape.stride;
        causal_attention(shape, row + head * group * dim, row + q_size + head * dim,
                         row + q_size + (kv_heads + head) * dim, angles[0], angles[1],
                         heads + sequence * tokens * q_size + head * group * dim, work.data());
      }
    });
    return out;
  }

  // Products and activation up to `width`: [rows, width].
  at::Tensor activations(const LlamaLayer& layer, const at::Tensor& rows,
                         std::int64_t width) const {
    const at::Tensor h = norm(rows, layer.ffn_norm);
    at::Tensor gate = product(h, layer.gate.narrow(0, 0, width), prefix(layer.gate_bias, width));
    const at::Tensor up = product(h, layer.up.narrow(0, 0, width), prefix(layer.up_bias, width));
    if (c10::GradMode::is_enabled()) {
      return config_.gate == GateVariant::kActOfProduct ? activate(gate * up, config_.activation)
                                                        : activate(gate, config_.activation) * up;
    }
    if (config_.gate == GateVariant::kActOfProduct) {
      gate.mul_(up);
      activate_(gate, config_.activation);
    } else if (config_.activation == Activation::kSilu && has_kernels(gate)) {
      float* const to = gate.data_ptr<float>();
      const float* const by = up.const_data_ptr<float>();
      at::parallel_for(0, gate.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
        gated_silu(to + begin, by + begin, end - begin);
      });
    } else {
      activate_(gate, config_.activation);
      gate.mul_(up);
    }
    return gate;
  }

  // The differentiable form: every child alone.
  at::Tensor feed_forward(const LlamaLayer& layer, const at::Tensor& x,
                          std::span<const Child> children) const {
    std::vector<at::Tensor> out;
    for (const Child& child : children) {
      const at::Tensor parent = x[child.parent];
      const at::Tensor rows = parent.reshape({-1, config_.hidden_size});
      const at::Tensor act = activations(layer, rows, child.width);
      at::Tensor y = at::addmm(rows, act, layer.down.narrow(1, 0, child.width).t());
      if (layer.down_bias.defined()) y = y + layer.down_bias;
      out.push_back(y.view(parent.sizes()));
    }
    return at::stack(out);
  }

  // All siblings from one pass over the widest, y(w2) = y(w1) + down[:, w1:w2] . act[w1:w2], in
  // blocks of rows that stay in cache: each partial sum is a finished child.
  at::Tensor feed_forward_shared(const LlamaLayer& layer, const at::Tensor& x,
                                 std::span<const Child> children) const {
    const std::int64_t d = config_.hidden_size, rows = x.size(1) * x.size(2);
    const at::Tensor in = x.view({x.size(0), rows, d});
    if (on_device(x)) {
      return nested_ffn(
                 {layer.gate, layer.up, layer.down, layer.gate_bias, layer.up_bias, layer.down_bias,
                  act_of(config_.activation), config_.gate == GateVariant::kActOfProduct},
                 in, norm(in, layer.ffn_norm), children)
          .view({static_cast<std::int64_t>(children.size()), x.size(1), x.size(2), d});
    }
    const at::Tensor out =
        at::empty({static_cast<std::int64_t>(children.size()), rows, d}, x.options());

    std::vector<std::size_t> first = {0};  // of each parent's children, and the end
    for (std::size_t c = 1; c <= children.size(); ++c) {
      if (c == children.size() || children[c].parent != children[c - 1].parent) first.push_back(c);
    }
    const bool cached = layer.gate.size(0) <= kCachedWidth;
    const std::int64_t block = std::min(cached ? kCachedRows : kBlockRows, rows);
    const std::int64_t blocks = (rows + block - 1) / block;
    const auto families = static_cast<std::int64_t>(first.size()) - 1;
    const auto run = [&](std::int64_t begin, std::int64_t end) {
      const c10::AutoGradMode no_grad(false);  // thread-local, and these may be other threads
      for (std::int64_t i = begin; i < end; ++i) {
        const auto f = static_cast<std::size_t>(i / blocks);
        const std::int64_t row = i % blocks * block, count = std::min(block, rows - row);
        const std::span<const Child> siblings = children.subspan(first[f], first[f + 1] - first[f]);
        const at::Tensor parent = in[siblings.front().parent].narrow(0, row, count);
        const at::Tensor act = activations(layer, parent, siblings.back().width);
        at::Tensor sum = layer.down_bias.defined() ? parent + layer.down_bias : parent;
        std::int64_t done = 0;
        for (std::size_t s = 0; s < siblings.size(); ++s) {
          const std::int64_t part = siblings[s].width - done;
          at::Tensor child = out[static_cast<std::int64_t>(first[f] + s)].narrow(0, row, count);
          add_product_into(child, sum, act.narrow(1, done, part), layer.down.narrow(1, done, part));
          sum = child;
          done = siblings[s].width;
        }
      }
    };
    if (cached) {
      at::parallel_for(0, families * blocks, 1, run);
    } else {
      run(0, families * blocks);  // in which each product takes all threads
    }
    return out.view({static_cast<std::int64_t>(children.size()), x.size(1), x.size(2), d});
  }

  LlamaConfig config_;
  WeightSource weight_;
  EndMatrix embedding_, head_;
  at::Tensor final_norm_;
  at::Tensor frequencies_;  // [head_dim / 2]
  at::Tensor cos_, sin_;    // of all positions asked for so far
  std::mutex rotary_mutex_;
  std::vector<LlamaLayer> layers_;
};

}  // namespace

std::unique_ptr<Fold> make_llama_fold(const FoldInputs& inputs) {
  return std::make_unique<LlamaFold>(inputs);
}

}  // namespace mnm
