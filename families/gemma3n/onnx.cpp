// The graph is that of fold.cpp. Between attentions, activations are rows [batch *
// sequence, d] and streams [rows, A, d], so that every product is one Gemm with the matrix as the
// checkpoint has it.
#include "families/gemma3n/onnx.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "export/onnx_layers.h"
#include "families/gemma3n/config.h"

namespace mnm {
namespace {

constexpr const char *kBatch = "batch_size", *kSequence = "sequence_length",
                     *kPast = "past_sequence_length", *kTotal = "total_sequence_length";
constexpr OnnxType kF32 = OnnxType::kF32;

// z with P(standard normal < z) = share: Newton's method on the integral of the density.
double normal_quantile(double share) {
  double z = 0;
  for (int i = 0; i < 100; ++i) {
    const double below = 0.5 * std::erfc(-z / std::sqrt(2.0));
    const double density = std::exp(-z * z / 2) / std::sqrt(2 * 3.14159265358979323846);
    z -= std::clamp((below - share) / density, -0.5, 0.5);
  }
  return z;
}

class Gemma3nGraph {
 public:
  Gemma3nGraph(const Gemma3nConfig& config, Dtype stored, bool cached)
      : config_(config),
        prefix_(config.prefix()),
        graph_(cached ? "decoder" : "scorer", stored),
        cached_(cached) {}

  OnnxGraph build() {
    const OnnxValue ids = graph_.input("input_ids", OnnxType::kI64, {kBatch, kSequence});
    positions(ids);
    const OnnxValue x = embed(ids);
    layer_inputs(ids, x);
    OnnxValue streams = start(x);
    for (std::size_t layer = 0; std::cmp_less(layer, config_.layers); ++layer) {
      const auto scope = graph_.scope(fmt::format("layers.{}", layer));
      streams = step(streams, layer);
    }
    readout(streams);
    OnnxGraph graph = graph_.finish();
    std::ranges::rotate(graph.outputs, graph.outputs.end() - 1);  // logits first
    return graph;
  }

 private:
  using Table = std::pair<OnnxValue, OnnxValue>;  // cos, sin: [batch or 1, 1, sequence, head_dim]

  // What layers of one type read: angles, and what attention adds to its scores.
  void positions(const OnnxValue& ids) {
    const auto scope = graph_.scope("positions");
    ids_shape_ = graph_.op("Shape", {ids});
    const OnnxValue sequence = graph_.dimension(ids_shape_, 1), one = graph_.integer(1);
    OnnxValue total = sequence, past = graph_.integer(0), mask, place;
    if (cached_) {
      mask = graph_.input("attention_mask", OnnxType::kI64, {kBatch, kTotal});
      total = graph_.dimension(graph_.op("Shape", {mask}), 1);
      past = graph_.sub(total, sequence);
      place = graph_.unsqueeze(graph_.input("position_ids", OnnxType::kI64, {kBatch, kSequence}),
                               {1, 3});
    }
    const OnnxValue query = graph_.reshape(graph_.op("Range", {past, total, one}), {1, 1, -1, 1});
    const OnnxValue key = graph_.reshape(
        cached_ ? graph_.op("Range", {graph_.integer(0), total, one}) : query, {1, 1, 1, -1});
    if (!cached_) place = query;
    OnnxValue seen = graph_.op("LessOrEqual", {key, query});
    if (cached_) {
      const OnnxValue there =
          graph_.unsqueeze(graph_.op("Cast", {mask}, {{"to", OnnxType::kBool}}), {1, 2});
      seen = graph_.op("And", {seen, there});
    }
    const OnnxValue near =
        graph_.op("Less", {graph_.sub(query, key), graph_.integer(config_.window)});
    place = graph_.cast(place, OnnxType::kI64, kF32);
    for (const bool sliding : config_.sliding) {
      if (biases_.contains(sliding)) continue;
      // Finite, so that rows of padding, which see nothing, stay numbers.
      biases_[sliding] = graph_.op(
          "Where", {sliding ? graph_.op("And", {seen, near}) : seen, graph_.number(0, kF32),
                    graph_.number(std::numeric_limits<float>::lowest(), kF32)});
      tables_[sliding] = rotary(place, sliding);
    }
    scores_shape_ = graph_.concat(
        {graph_.integers({0, config_.heads}), graph_.reshape(sequence, {1}), graph_.integers({-1})},
        0);
    grouped_shape_ =
        graph_.concat({graph_.integers({0, config_.kv_heads, -1}), graph_.reshape(total, {1})}, 0);
  }

  Table rotary(const OnnxValue& place, bool sliding) {
    std::vector<float> frequencies;
    const double theta = sliding ? config_.sliding_theta : config_.full_theta;
    for (std::int64_t i = 0; i < config_.head_dim; i += 2) {
      const auto exponent = static_cast<float>(i) / static_cast<float>(config_.head_dim);
      frequencies.push_back(1.0f / std::pow(static_cast<float>(theta), exponent));
    }
    const OnnxValue angle =
        graph_.mul(place, graph_.vector(sliding ? "sliding_inv_freq" : "full_inv_freq",
                                        std::move(frequencies), kF32));
    const OnnxValue cos = graph_.op("Cos", {angle}), sin = graph_.op("Sin", {angle});
    const auto finished = [&](const OnnxValue& x) { return graph_.cast(x, kF32, graph_.type()); };
    return {finished(graph_.concat({cos, cos}, -1)),
            finished(graph_.concat({graph_.op("Neg", {sin}), sin}, -1))};
  }

  // The shape [batch, sequence, sizes...].
  OnnxValue with_sizes(std::vector<std::int64_t> sizes) {
    return graph_.concat({ids_shape_, graph_.integers(std::move(sizes))}, 0);
  }
  // Rows of a table by token, times a factor.
  OnnxValue looked_up(const std::string& table, const OnnxValue& rows, double factor) {
    const OnnxValue x =
        graph_.op("Gather", {graph_.as_stored(table), rows}, {{"axis", std::int64_t{0}}});
    return times(graph_.cast(x, graph_.stored(), graph_.type()), factor);
  }

  OnnxValue embed(const OnnxValue& ids) {
    const auto scope = graph_.scope("embed_tokens");
    return looked_up(prefix_ + "embed_tokens.weight", graph_.reshape(ids, {-1}),
                     root(config_.hidden_size));
  }

  // Of every layer [rows, P].
  void layer_inputs(const OnnxValue& ids, const OnnxValue& x) {
    const auto scope = graph_.scope("per_layer_inputs");
    const OnnxValue rows = graph_.reshape(ids, {-1});
    const OnnxValue known = graph_.op("Less", {rows, graph_.integer(config_.layer_vocab)});
    const OnnxValue words = graph_.op("Where", {known, rows, graph_.integer(0)});
    const OnnxValue all =
        times(onnx_linear(graph_, x, prefix_ + "per_layer_model_projection", false),
              1 / root(config_.hidden_size));
    const auto layers = static_cast<std::size_t>(config_.layers);
    std::vector<OnnxValue> projected = {all};
    if (layers > 1) {
      projected = graph_.split(all, -1, std::vector<std::int64_t>(layers, config_.layer_inputs));
    }
    const std::string table = prefix_ + "embed_tokens_per_layer.weight";
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const OnnxValue seen = norm(projected[layer], prefix_ + "per_layer_projection_norm");
      const OnnxValue own =
          looked_up(onnx_part_name(table, layer), words, root(config_.layer_inputs));
      inputs_.push_back(times(graph_.add(seen, own), std::sqrt(0.5)));
    }
  }

  OnnxValue start(const OnnxValue& x) {
    const auto scope = graph_.scope("altup_projections");
    const OnnxValue target = mean_square(x);
    std::vector<OnnxValue> streams = {graph_.unsqueeze(x, {1})};
    for (std::int64_t k = 0; k + 1 < config_.streams; ++k) {
      const std::string name = fmt::format("{}altup_projections.{}", prefix_, k);
      streams.push_back(
          graph_.unsqueeze(rescaled(onnx_linear(graph_, x, name, false), target), {1}));
    }
    return graph_.concat(streams, 1);
  }

  OnnxValue mean(const OnnxValue& x) {
    return graph_.op("ReduceMean", {x},
                     {{"axes", std::vector<std::int64_t>{-1}}, {"keepdims", std::int64_t{1}}});
  }
  // In f32.
  OnnxValue mean_square(const OnnxValue& x) {
    const OnnxValue in = graph_.cast(x, graph_.type(), kF32);
    return mean(graph_.mul(in, in));
  }
  OnnxValue rescaled(const OnnxValue& x, const OnnxValue& target) {
    constexpr double kLeast = 1e-5;
    const OnnxValue own = graph_.op("Max", {mean_square(x), graph_.number(kLeast, kF32)});
    const OnnxValue in = graph_.cast(x, graph_.type(), kF32);
    const OnnxValue to = graph_.mul(in, graph_.op("Sqrt", {target}));
    return graph_.cast(graph_.op("Div", {to, graph_.op("Sqrt", {own})}), kF32, graph_.type());
  }

  OnnxValue norm(const OnnxValue& x, const std::string& name) {
    return onnx_rms_norm(graph_, x, name + ".weight", config_.rms_norm_eps);
  }
  OnnxValue unit_norm(const OnnxValue& x) {
    const OnnxValue root_of =
        graph_.op("Sqrt", {graph_.add(mean_square(x), graph_.number(config_.rms_norm_eps, kF32))});
    const OnnxValue in = graph_.cast(x, graph_.type(), kF32);
    return graph_.cast(graph_.op("Div", {in, root_of}), kF32, graph_.type());
  }
  OnnxValue times(const OnnxValue& x, double factor) {
    return graph_.mul(x, graph_.number(factor));
  }
  static double root(std::int64_t size) { return std::sqrt(static_cast<double>(size)); }

  // streams [rows, A, d] -> [rows, d]
  OnnxValue stream(const OnnxValue& streams, std::int64_t index) {
    return graph_.op("Gather", {streams, graph_.integer(index)}, {{"axis", std::int64_t{1}}});
  }

  OnnxValue route(const OnnxValue& x, const std::string& base) {
    const double share = 1 / static_cast<double>(config_.hidden_size);
    const OnnxValue normed = times(norm(x, base + "altup.router_norm"), share);
    return graph_.op("Tanh", {onnx_linear(graph_, normed, base + "altup.modality_router", false)});
  }

  OnnxValue step(const OnnxValue& streams, std::size_t layer) {
    const std::string base = fmt::format("{}layers.{}.", prefix_, layer);
    const std::int64_t count = config_.streams;
    const OnnxValue routed = route(stream(streams, config_.active_stream), base);
    const OnnxValue coefficients = graph_.reshape(
        onnx_linear(graph_, routed, base + "altup.prediction_coefs", false), {-1, count, count});
    const OnnxValue predicted = graph_.add(streams, graph_.op("MatMul", {coefficients, streams}));
    const OnnxValue active = stream(predicted, config_.active_stream);
    const OnnxValue normed = norm(active, base + "input_layernorm");
    const OnnxValue low = onnx_linear(graph_, normed, base + "laurel.linear_left", false);
    const OnnxValue laurel =
        graph_.add(normed, norm(onnx_linear(graph_, low, base + "laurel.linear_right", false),
                                base + "laurel.post_laurel_norm"));
    const OnnxValue attended = norm(attend(normed, layer, base), base + "post_attention_layernorm");
    const OnnxValue y = times(graph_.add(graph_.add(active, attended), laurel), std::sqrt(0.5));
    const OnnxValue ffn = feed_forward(norm(y, base + "pre_feedforward_layernorm"), layer, base);
    const OnnxValue result = graph_.add(y, norm(ffn, base + "post_feedforward_layernorm"));
    return corrected(predicted, active, result, layer, base);
  }

  OnnxValue corrected(const OnnxValue& predicted, const OnnxValue& active, const OnnxValue& result,
                      std::size_t layer, const std::string& base) {
    const OnnxValue shares =
        graph_.add(onnx_linear(graph_, route(result, base), base + "altup.correction_coefs", false),
                   graph_.number(1));
    const OnnxValue missed = graph_.unsqueeze(graph_.sub(result, active), {1});
    const OnnxValue streams =
        graph_.add(predicted, graph_.mul(graph_.unsqueeze(shares, {2}), missed));
    OnnxValue first = stream(streams, config_.active_stream);
    const OnnxValue scale = graph_.weight(base + "altup.correct_output_scale");
    if (config_.correct_scale) first = graph_.mul(first, scale);
    const OnnxValue gate =
        onnx_gelu_tanh(graph_, onnx_linear(graph_, first, base + "per_layer_input_gate", false));
    const OnnxValue more = norm(
        onnx_linear(graph_, graph_.mul(gate, inputs_[layer]), base + "per_layer_projection", false),
        base + "post_per_layer_input_norm");
    if (config_.streams == 1) return streams;
    const auto parts = graph_.split(streams, 1, {1, config_.streams - 1});
    return graph_.concat({parts[0], graph_.add(parts[1], graph_.unsqueeze(more, {1}))}, 1);
  }

  // x: [batch, heads, sequence, head_dim]
  OnnxValue rotate(const OnnxValue& x, bool sliding) {
    auto halves = graph_.split(x, -1, {config_.head_dim / 2, config_.head_dim / 2});
    std::swap(halves[0], halves[1]);
    const Table& table = tables_.at(sliding);
    return graph_.add(graph_.mul(x, table.first),
                      graph_.mul(graph_.concat(halves, -1), table.second));
  }

  // [batch, sequence, heads, head_dim]
  OnnxValue heads_of(const OnnxValue& normed, const std::string& name, std::int64_t heads) {
    return graph_.reshape(onnx_linear(graph_, normed, name, config_.attention_bias),
                          with_sizes({heads, config_.head_dim}));
  }

  // The layer's own keys and values of all positions, [batch, kv heads, total, head_dim].
  std::pair<OnnxValue, OnnxValue> keys_values(const OnnxValue& normed, std::size_t layer,
                                              const std::string& base) {
    const std::string of = base + "self_attn.";
    const OnnxValue k = norm(heads_of(normed, of + "k_proj", config_.kv_heads), of + "k_norm");
    const OnnxValue v = unit_norm(heads_of(normed, of + "v_proj", config_.kv_heads));
    OnnxValue keys = rotate(graph_.transpose(k, {0, 2, 1, 3}), config_.sliding[layer]);
    OnnxValue values = graph_.transpose(v, {0, 2, 1, 3});
    if (cached_) {
      keys = with_past(keys, layer, "key");
      values = with_past(values, layer, "value");
    }
    return {keys, values};
  }

  OnnxValue with_past(const OnnxValue& now, std::size_t layer, const char* what) {
    const std::int64_t kv = config_.kv_heads, dim = config_.head_dim;
    const OnnxValue past = graph_.input(fmt::format("past_key_values.{}.{}", layer, what),
                                        graph_.type(), {kBatch, kv, kPast, dim});
    const OnnxValue all = graph_.concat({past, now}, 2);
    graph_.output(fmt::format("present.{}.{}", layer, what), all, graph_.type(),
                  {kBatch, kv, kTotal, dim});
    return all;
  }

  OnnxValue attend(const OnnxValue& normed, std::size_t layer, const std::string& base) {
    const auto scope = graph_.scope("self_attn");
    const std::int64_t kv = config_.kv_heads, dim = config_.head_dim;
    const bool sliding = config_.sliding[layer], grouped = config_.heads != kv;
    const std::string of = base + "self_attn.";
    if (config_.has_own_kv(layer)) {
      own_[static_cast<std::int64_t>(layer)] = keys_values(normed, layer, base);
    } else if (config_.unused_kv) {
      // Nothing reads them, and whoever changes the file again finds them.
      std::vector<std::string> unused = {"k_proj.weight", "v_proj.weight", "k_norm.weight"};
      if (config_.attention_bias) unused.insert(unused.end(), {"k_proj.bias", "v_proj.bias"});
      for (const std::string& name : unused) graph_.as_stored(of + name);
    }
    const auto& [keys, values] = own_.at(config_.source[layer]);
    const OnnxValue heads = norm(heads_of(normed, of + "q_proj", config_.heads), of + "q_norm");
    OnnxValue q = rotate(graph_.transpose(heads, {0, 2, 1, 3}), sliding);
    // The heads of a group share keys and values: they are rows of one product.
    if (grouped) q = graph_.reshape(q, {0, kv, -1, dim});
    OnnxValue scores = graph_.op("MatMul", {q, graph_.transpose(keys, {0, 1, 3, 2})});
    if (grouped) scores = graph_.reshape(scores, scores_shape_);
    scores = graph_.add(graph_.cast(scores, graph_.type(), kF32), biases_.at(sliding));
    OnnxValue weights = graph_.op("Softmax", {scores}, {{"axis", std::int64_t{-1}}});
    weights = graph_.cast(weights, kF32, graph_.type());
    if (grouped) weights = graph_.reshape(weights, grouped_shape_);
    OnnxValue mixed = graph_.op("MatMul", {weights, values});
    if (grouped) mixed = graph_.reshape(mixed, {0, config_.heads, -1, dim});
    mixed = graph_.reshape(graph_.transpose(mixed, {0, 2, 1, 3}), {-1, config_.q_size()});
    return onnx_linear(graph_, mixed, of + "o_proj", config_.attention_bias);
  }

  // Gates below their own mean and spread become 0: opset 17 has no deviation of its own.
  OnnxValue clipped(const OnnxValue& gate, double share) {
    const OnnxValue in = graph_.cast(gate, graph_.type(), kF32);
    const OnnxValue centre = mean(in);
    const OnnxValue apart = graph_.sub(in, centre);
    const OnnxValue deviation = graph_.op("Sqrt", {mean(graph_.mul(apart, apart))});
    const OnnxValue cutoff = graph_.mul(deviation, graph_.number(normal_quantile(share), kF32));
    return graph_.cast(graph_.op("Relu", {graph_.sub(apart, cutoff)}), kF32, graph_.type());
  }

  OnnxValue feed_forward(const OnnxValue& x, std::size_t layer, const std::string& base) {
    const auto scope = graph_.scope("mlp");
    OnnxValue gate = onnx_linear(graph_, x, base + "mlp.gate_proj", false);
    if (config_.sparsity[layer] > 0) gate = clipped(gate, config_.sparsity[layer]);
    const OnnxValue up = onnx_linear(graph_, x, base + "mlp.up_proj", false);
    return onnx_linear(graph_, graph_.mul(onnx_gelu_tanh(graph_, gate), up), base + "mlp.down_proj",
                       false);
  }

  void readout(const OnnxValue& streams) {
    const auto scope = graph_.scope("lm_head");
    OnnxValue sum = stream(streams, 0);
    const OnnxValue target = mean_square(sum);
    for (std::int64_t k = 0; k + 1 < config_.streams; ++k) {
      const std::string name = fmt::format("{}altup_unembed_projections.{}", prefix_, k);
      const OnnxValue x = onnx_linear(graph_, stream(streams, k + 1), name, false);
      sum = graph_.add(sum, rescaled(x, target));
    }
    const OnnxValue h =
        norm(times(sum, 1 / static_cast<double>(config_.streams)), prefix_ + "norm");
    const std::string head = config_.tied ? prefix_ + "embed_tokens" : "lm_head";
    const OnnxValue rows = onnx_linear(graph_, h, head, false);
    const OnnxValue logits =
        graph_.cast(graph_.reshape(rows, with_sizes({config_.vocab_size})), graph_.type(), kF32);
    const OnnxValue cap = graph_.number(config_.soft_cap, kF32);
    const OnnxValue capped = graph_.mul(graph_.op("Tanh", {graph_.op("Div", {logits, cap})}), cap);
    graph_.output("logits", capped, kF32, {kBatch, kSequence, config_.vocab_size});
  }

  const Gemma3nConfig& config_;
  std::string prefix_;
  OnnxBuilder graph_;
  bool cached_;
  OnnxValue ids_shape_;                     // [2]: batch, sequence
  std::map<bool, OnnxValue> biases_;        // sliding -> [batch or 1, 1, sequence, total] f32
  std::map<bool, Table> tables_;            // sliding -> of its layers
  OnnxValue scores_shape_, grouped_shape_;  // of scores by head, and by group of heads
  std::vector<OnnxValue> inputs_;           // [layers]: [rows, P]
  std::map<std::int64_t, std::pair<OnnxValue, OnnxValue>> own_;  // layer -> keys, values
};

}  // namespace

OnnxModel gemma3n_onnx(const NestedModel& submodel, Dtype stored) {
  const Gemma3nConfig config = parse_gemma3n_config(submodel.config, {});
  OnnxModel onnx;
  onnx.scorer = Gemma3nGraph(config, stored, false).build();
  onnx.decoder = OnnxDecoder{.graph = Gemma3nGraph(config, stored, true).build(),
                             .genai_type = "gemma",
                             .heads = config.heads,
                             .kv_heads = config.kv_heads,
                             .head_size = config.head_dim,
                             .cached_layers = config.own_layers()};
  onnx.columns[config.prefix() + "embed_tokens_per_layer.weight"] = config.layer_inputs;
  return onnx;
}

}  // namespace mnm
