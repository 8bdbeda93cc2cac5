// The graph is that of fold.cpp. Between attentions, activations are rows [batch * sequence,
// hidden], so that every product is one Gemm with the matrix as the checkpoint has it.
#include "families/llama/onnx.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/error.h"
#include "export/onnx_layers.h"
#include "families/llama/config.h"

namespace mnm {
namespace {

constexpr const char *kBatch = "batch_size", *kSequence = "sequence_length",
                     *kPast = "past_sequence_length", *kTotal = "total_sequence_length";

OnnxValue activate(OnnxBuilder& graph, const OnnxValue& x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return onnx_silu(graph, x);
    case Activation::kGelu:
      return onnx_gelu(graph, x);
    case Activation::kGeluTanh:
      return onnx_gelu_tanh(graph, x);
    case Activation::kRelu:
      return graph.op("Relu", {x});
  }
  fail("activation without an operator");
}

// Cosines and sines, of queries times attention's scale.
struct RotaryTables {
  std::pair<OnnxValue, OnnxValue> key, query;
};

class LlamaGraph {
 public:
  LlamaGraph(const LlamaConfig& config, Dtype stored, bool cached)
      : config_(config), graph_(cached ? "decoder" : "scorer", stored), cached_(cached) {}

  OnnxGraph build() {
    const OnnxValue ids = graph_.input("input_ids", OnnxType::kI64, {kBatch, kSequence});
    positions(ids);
    OnnxValue x = embed(ids);
    for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
      const auto scope = graph_.scope(fmt::format("layers.{}", layer));
      x = attend(x, layer);
      x = feed_forward(x, layer);
    }
    readout(x);
    OnnxGraph graph = graph_.finish();
    std::ranges::rotate(graph.outputs, graph.outputs.end() - 1);  // logits first
    return graph;
  }

 private:
  // What all layers read: the angles' tables, and what attention adds to its scores, for every
  // window that a layer has.
  void positions(const OnnxValue& ids) {
    OnnxValue mask, position;  // [batch, total]; [batch or 1, 1, sequence, 1]
    {
      const auto scope = graph_.scope("positions");
      ids_shape_ = graph_.op("Shape", {ids});
      q_shape_ = with_sizes({config_.heads, config_.head_dim});
      kv_shape_ = with_sizes({config_.kv_heads, config_.head_dim});
      const OnnxValue sequence = graph_.dimension(ids_shape_, 1), one = graph_.integer(1);
      total_ = sequence;
      OnnxValue past = graph_.integer(0);
      if (cached_) {
        mask = graph_.input("attention_mask", OnnxType::kI64, {kBatch, kTotal});
        total_ = graph_.dimension(graph_.op("Shape", {mask}), 1);
        past = graph_.sub(total_, sequence);
        position = graph_.unsqueeze(
            graph_.input("position_ids", OnnxType::kI64, {kBatch, kSequence}), {1, 3});
      }
      const OnnxValue query =
          graph_.reshape(graph_.op("Range", {past, total_, one}), {1, 1, -1, 1});
      const OnnxValue key = graph_.reshape(
          cached_ ? graph_.op("Range", {graph_.integer(0), total_, one}) : query, {1, 1, 1, -1});
      if (!cached_) position = query;
      OnnxValue seen = graph_.op("LessOrEqual", {key, query});
      if (cached_) {
        const OnnxValue there =
            graph_.unsqueeze(graph_.op("Cast", {mask}, {{"to", OnnxType::kBool}}), {1, 2});
        seen = graph_.op("And", {seen, there});
      }
      for (const std::int64_t window : config_.windows) {
        if (biases_.contains(window)) continue;
        OnnxValue near = seen;
        if (window > 0) {
          const OnnxValue distance = graph_.sub(query, key);
          near = graph_.op("And", {seen, graph_.op("Less", {distance, graph_.integer(window)})});
        }
        // Finite, so that rows of padding, which see nothing, stay numbers.
        biases_[window] = graph_.op(
            "Where", {near, graph_.number(0, OnnxType::kF32),
                      graph_.number(std::numeric_limits<float>::lowest(), OnnxType::kF32)});
      }
      if (groups() > 1) {
        // [batch, heads, sequence, total] and [batch, kv heads, group * sequence, total]
        scores_shape_ = graph_.concat({graph_.integers({0, config_.heads}),
                                       graph_.reshape(sequence, {1}), graph_.integers({-1})},
                                      0);
        grouped_shape_ = graph_.concat(
            {graph_.integers({0, config_.kv_heads, -1}), graph_.reshape(total_, {1})}, 0);
      }
    }
    tables_.push_back(rotary(position, false));
    if (config_.local_theta != 0) tables_.push_back(rotary(position, true));
  }

  // The shape [batch, sequence, sizes...].
  OnnxValue with_sizes(std::vector<std::int64_t> sizes) {
    return graph_.concat({ids_shape_, graph_.integers(std::move(sizes))}, 0);
  }

  // [rotary_dim / 2]: constants, or by the length of the sequence so far.
  OnnxValue frequencies(bool local) {
    constexpr OnnxType kType = OnnxType::kF32;
    if (local) {
      return graph_.vector("rotary_emb.local_inv_freq", rope_inverse_frequencies(config_, 0, true),
                           kType);
    }
    const std::int64_t within = rope_stays_within(config_);
    const auto usual = [&] {
      return graph_.vector("rotary_emb.inv_freq", rope_inverse_frequencies(config_), kType);
    };
    if (within == 0) return usual();
    const RopeScaling& scaling = *config_.rope_scaling;
    if (scaling.type == RopeType::kLongrope) {
      const OnnxValue others = graph_.vector("rotary_emb.long_inv_freq",
                                             rope_inverse_frequencies(config_, within + 1), kType);
      return graph_.op("Where",
                       {graph_.op("Greater", {total_, graph_.integer(within)}), others, usual()});
    }
    // The base grows with the length; up to `within` by a factor of 1.
    const auto number = [this](double value) { return graph_.number(value, kType); };
    const auto dim = static_cast<double>(config_.rotary_dim);
    const OnnxValue length = graph_.op(
        "Max", {graph_.cast(total_, OnnxType::kI64, kType), number(static_cast<double>(within))});
    const OnnxValue times = graph_.op(
        "Div", {graph_.mul(length, number(scaling.factor)), number(static_cast<double>(within))});
    const OnnxValue grown =
        graph_.op("Pow", {graph_.sub(times, number(scaling.factor - 1)), number(dim / (dim - 2))});
    std::vector<float> exponents;
    for (std::int64_t i = 0; i < config_.rotary_dim; i += 2) {
      exponents.push_back(static_cast<float>(i) / static_cast<float>(config_.rotary_dim));
    }
    const OnnxValue base = graph_.mul(grown, number(config_.rope_theta));
    return graph_.op(
        "Reciprocal",
        {graph_.op("Pow", {base, graph_.vector("rotary_emb.exponents", exponents, kType)})});
  }

  // cos and sin of every position's angles, in f32 as transformers takes them: [batch or 1, 1,
  // sequence, head_dim], such that x turned is x * cos + (x with its halves swapped) * sin; what is
  // not turned has a cos of 1 and a sin of 0. Those of queries also hold attention's scale.
  RotaryTables rotary(const OnnxValue& position, bool local) {
    const auto scope = graph_.scope(local ? "local_rotary_emb" : "rotary_emb");
    constexpr OnnxType kType = OnnxType::kF32;
    const OnnxValue place = graph_.cast(position, OnnxType::kI64, kType);
    const OnnxValue angle = graph_.mul(place, frequencies(local));
    OnnxValue cos = graph_.op("Cos", {angle}), sin = graph_.op("Sin", {angle});
    if (config_.rope_scaling && !local && config_.rope_scaling->attention_factor != 1) {
      const OnnxValue factor = graph_.number(config_.rope_scaling->attention_factor, kType);
      cos = graph_.mul(cos, factor);
      sin = graph_.mul(sin, factor);
    }
    std::vector<OnnxValue> cosines = {cos, cos}, sines = {graph_.op("Neg", {sin}), sin};
    if (const std::int64_t rest = config_.head_dim - config_.rotary_dim; rest > 0) {
      const std::vector<float> still(static_cast<std::size_t>(rest), 0);
      const OnnxValue none = graph_.mul(place, graph_.vector("rotary_emb.still", still, kType));
      cosines.push_back(graph_.op("Cos", {none}));
      sines.push_back(none);
    }
    const OnnxValue whole_cos = graph_.concat(cosines, -1), whole_sin = graph_.concat(sines, -1);
    const OnnxValue scale = graph_.number(config_.attention_scale, kType);
    const auto finished = [&](const OnnxValue& x) { return graph_.cast(x, kType, graph_.type()); };
    return {
        .key = {finished(whole_cos), finished(whole_sin)},
        .query = {finished(graph_.mul(whole_cos, scale)), finished(graph_.mul(whole_sin, scale))}};
  }

  // x: [batch, heads, sequence, head_dim]
  OnnxValue rotate(const OnnxValue& x, const std::pair<OnnxValue, OnnxValue>& table) {
    const std::int64_t half = config_.rotary_dim / 2, rest = config_.head_dim - 2 * half;
    std::vector<std::int64_t> sizes = {half, half};
    if (rest > 0) sizes.push_back(rest);
    auto parts = graph_.split(x, -1, sizes);
    std::swap(parts[0], parts[1]);
    const OnnxValue swapped = graph_.concat(parts, -1);
    return graph_.add(graph_.mul(x, table.first), graph_.mul(swapped, table.second));
  }

  // The elements of a head in the order that rotate() expects.
  OnnxValue in_halves(const OnnxValue& x) {
    std::vector<std::int64_t> order;
    for (std::int64_t first : {0, 1}) {
      for (std::int64_t i = first; i < config_.rotary_dim; i += 2) order.push_back(i);
    }
    for (std::int64_t i = config_.rotary_dim; i < config_.head_dim; ++i) order.push_back(i);
    return graph_.op("Gather", {x, graph_.integers(order)}, {{"axis", std::int64_t{-1}}});
  }

  OnnxValue embed(const OnnxValue& ids) {
    const auto scope = graph_.scope("embed_tokens");
    const OnnxValue rows = graph_.reshape(ids, {-1});
    const OnnxValue x = graph_.op("Gather", {graph_.as_stored("model.embed_tokens.weight"), rows},
                                  {{"axis", std::int64_t{0}}});
    return times(graph_.cast(x, graph_.stored(), graph_.type()), config_.embedding_multiplier);
  }

  OnnxValue times(const OnnxValue& x, double factor) {
    return factor == 1 ? x : graph_.mul(x, graph_.number(factor));
  }

  OnnxValue norm(const OnnxValue& x, const std::string& scope, const std::string& weight) {
    const auto guard = graph_.scope(scope);
    return onnx_rms_norm(graph_, x, weight + ".weight", config_.rms_norm_eps, config_.norm_offset);
  }

  OnnxValue product(const OnnxValue& x, const std::string& scope, const std::string& base,
                    bool bias) {
    const auto guard = graph_.scope(scope);
    return onnx_linear(graph_, x, base + scope, bias);
  }

  // What attention in this layer takes from `v`: [tokens, q_size]. `q` is [batch, heads, sequence,
  // head_dim]; `k` and `v` have the heads of keys and values.
  OnnxValue mix(OnnxValue q, const OnnxValue& k, const OnnxValue& v, std::size_t layer) {
    const std::int64_t dim = config_.head_dim;
    // The heads of a group share keys and values: they are rows of one product.
    if (groups() > 1) q = graph_.reshape(q, {0, config_.kv_heads, -1, dim});
    OnnxValue scores = graph_.op("MatMul", {q, graph_.transpose(k, {0, 1, 3, 2})});
    if (groups() > 1) scores = graph_.reshape(scores, scores_shape_);
    scores = graph_.cast(scores, graph_.type(), OnnxType::kF32);
    scores = graph_.add(capped(scores, config_.attention_cap), biases_.at(config_.windows[layer]));
    OnnxValue weights = graph_.op("Softmax", {scores}, {{"axis", std::int64_t{-1}}});
    weights = graph_.cast(weights, OnnxType::kF32, graph_.type());
    if (groups() > 1) weights = graph_.reshape(weights, grouped_shape_);
    OnnxValue mixed = graph_.op("MatMul", {weights, v});
    if (groups() > 1) mixed = graph_.reshape(mixed, {0, config_.heads, -1, dim});
    return graph_.reshape(graph_.transpose(mixed, {0, 2, 1, 3}), {-1, config_.q_size()});
  }

  OnnxValue attend(const OnnxValue& x, std::int64_t layer) {
    const std::string base = fmt::format("model.layers.{}.", layer);
    const LlamaArchitecture& architecture = *config_.architecture;
    const OnnxValue h =
        architecture.norms_before() ? norm(x, "input_layernorm", base + "input_layernorm") : x;
    const auto scope = graph_.scope("self_attn");
    std::map<std::string, OnnxValue> parts;  // of the one product, where they are fused
    if (architecture.fused_qkv) {
      const auto split = graph_.split(product(h, "qkv_proj", base + "self_attn.", config_.qkv_bias),
                                      -1, {config_.q_size(), config_.kv_size(), config_.kv_size()});
      parts = {{"q_proj", split[0]}, {"k_proj", split[1]}, {"v_proj", split[2]}};
    }
    const auto projected = [&](const char* name, const OnnxValue& shape, const char* normed) {
      const OnnxValue rows = architecture.fused_qkv
                                 ? parts.at(name)
                                 : product(h, name, base + "self_attn.", config_.qkv_bias);
      const bool has_norm = normed != nullptr && config_.head_norms != HeadNorms::kNone;
      const bool whole = config_.head_norms == HeadNorms::kWhole;
      const auto normal = [&](const OnnxValue& in) {
        return norm(in, normed, base + "self_attn." + normed);
      };
      OnnxValue heads_of = graph_.reshape(has_norm && whole ? normal(rows) : rows, shape);
      if (has_norm && !whole) heads_of = normal(heads_of);
      return graph_.transpose(heads_of, {0, 2, 1, 3});
    };
    // [batch, heads, sequence, head_dim]
    OnnxValue q = projected("q_proj", q_shape_, "q_norm");
    OnnxValue k = projected("k_proj", kv_shape_, "k_norm");
    OnnxValue v = projected("v_proj", kv_shape_, nullptr);
    const auto index = static_cast<std::size_t>(layer);
    if (architecture.turns_pairs) {
      q = in_halves(q);
      k = in_halves(k);
    }
    if (config_.turns[index]) {
      const RotaryTables& tables = config_.local[index] ? tables_.back() : tables_.front();
      q = rotate(q, tables.query);
      k = rotate(k, tables.key);
    } else {
      q = times(q, config_.attention_scale);
    }
    if (cached_) {
      k = with_past(k, layer, "key");
      v = with_past(v, layer, "value");
    }
    const OnnxValue mixed = mix(q, k, v, index);
    const OnnxValue out = product(mixed, "o_proj", base + "self_attn.", config_.o_bias);
    const std::string name(architecture.attention_norm_after);
    return add_to(x, architecture.norms_after() ? norm(out, name, base + name) : out);
  }

  // cap * tanh(x / cap), in f32; x itself where there is no cap.
  OnnxValue capped(const OnnxValue& x, double cap) {
    if (cap == 0) return x;
    const OnnxValue inner = graph_.op("Div", {x, graph_.number(cap, OnnxType::kF32)});
    return graph_.mul(graph_.op("Tanh", {inner}), graph_.number(cap, OnnxType::kF32));
  }

  OnnxValue add_to(const OnnxValue& x, const OnnxValue& block) {
    return graph_.add(x, times(block, config_.residual_multiplier));
  }

  OnnxValue with_past(const OnnxValue& now, std::int64_t layer, const char* what) {
    const std::int64_t kv = config_.kv_heads, dim = config_.head_dim;
    const OnnxValue past = graph_.input(fmt::format("past_key_values.{}.{}", layer, what),
                                        graph_.type(), {kBatch, kv, kPast, dim});
    const OnnxValue all = graph_.concat({past, now}, 2);
    graph_.output(fmt::format("present.{}.{}", layer, what), all, graph_.type(),
                  {kBatch, kv, kTotal, dim});
    return all;
  }

  OnnxValue feed_forward(const OnnxValue& x, std::int64_t layer) {
    const std::string base = fmt::format("model.layers.{}.", layer);
    const LlamaArchitecture& architecture = *config_.architecture;
    const std::string before(architecture.ffn_norm());
    const OnnxValue h = architecture.norms_before() ? norm(x, before, base + before) : x;
    const auto scope = graph_.scope("mlp");
    const auto projected = [&](const OnnxValue& in, const char* name) {
      return product(in, name, base + "mlp.", config_.mlp_bias);
    };
    OnnxValue gate, up;
    if (architecture.fused_ffn) {
      const std::int64_t width = config_.full_width(static_cast<std::size_t>(layer));
      const auto both = graph_.split(projected(h, "gate_up_proj"), -1, {width, width});
      gate = both[0];
      up = both[1];
    } else {
      gate = projected(h, "gate_proj");
      up = projected(h, "up_proj");
    }
    const OnnxValue inner = config_.gate == GateVariant::kActOfProduct
                                ? activate(graph_, graph_.mul(gate, up), config_.activation)
                                : graph_.mul(activate(graph_, gate, config_.activation), up);
    const OnnxValue out = projected(inner, "down_proj");
    const std::string name(architecture.ffn_norm_after);
    return add_to(x, architecture.norms_after() ? norm(out, name, base + name) : out);
  }

  void readout(const OnnxValue& x) {
    const OnnxValue h = times(norm(x, "norm", "model.norm"), 1 / config_.logits_divisor);
    const auto scope = graph_.scope("lm_head");
    const OnnxValue rows =
        onnx_linear(graph_, h, config_.tied ? "model.embed_tokens" : "lm_head", false);
    const OnnxValue logits = graph_.cast(graph_.reshape(rows, with_sizes({config_.vocab_size})),
                                         graph_.type(), OnnxType::kF32);
    graph_.output("logits", capped(logits, config_.logits_cap), OnnxType::kF32,
                  {kBatch, kSequence, config_.vocab_size});
  }

  std::int64_t groups() const { return config_.heads / config_.kv_heads; }

  const LlamaConfig& config_;
  OnnxBuilder graph_;
  bool cached_;
  OnnxValue ids_shape_;  // [2]: batch, sequence
  OnnxValue total_;      // tokens so far, these included
  // Window -> [batch or 1, 1, sequence, total] f32: 0 where a query sees a key.
  std::map<std::int64_t, OnnxValue> biases_;
  OnnxValue q_shape_, kv_shape_, scores_shape_, grouped_shape_;
  std::vector<RotaryTables> tables_;  // the last one of local layers
};

}  // namespace

OnnxModel llama_onnx(const NestedModel& submodel, Dtype stored) {
  const LlamaConfig config = parse_llama_config(submodel.config, {});
  OnnxModel onnx;
  onnx.scorer = LlamaGraph(config, stored, false).build();
  onnx.decoder = OnnxDecoder{.graph = LlamaGraph(config, stored, true).build(),
                             .genai_type = "llama",
                             .heads = config.heads,
                             .kv_heads = config.kv_heads,
                             .head_size = config.head_dim};
  return onnx;
}

}  // namespace mnm
