// A Gemma 3n as a fold. Its state has the streams [nodes, sequences, tokens, A, d]. From the first
// producer on it holds the keys and values that later layers read, two entries for each producer in
// the order of their layers. They are those of the ancestor that was stepped there, which all nodes
// below it hold by reference: handing them on copies nothing.
#include "fold/fold.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "families/end_matrix.h"
#include "families/gemma3n/attention_fold.h"
#include "families/gemma3n/config.h"
#include "families/gemma3n/ffn_fold.h"
#include "families/gemma3n/streams_fold.h"
#include "families/rms_norm.h"
#include "fold/product.h"

namespace mnm {
namespace {

struct Gemma3nLayer {
  AltUpWeights altup;
  at::Tensor output_scale;                                   // [d] or undefined
  at::Tensor input_norm, attention_norm, pre_ffn, post_ffn;  // [d]
  at::Tensor laurel_left, laurel_right, laurel_norm;         // [R, d], [d, R], [d]
  at::Tensor inputs_gate, inputs_projection, inputs_norm;    // [P, d], [d, P], [d]
  Gemma3nAttentionWeights attention;
  Gemma3nFfnWeights ffn;
};

// What a layer's siblings share, of all rows of all parents.
struct Shared {
  at::Tensor predicted;  // [rows, A, d]
  at::Tensor y;          // [rows, d]: what the FFN is added to
  at::Tensor normed;     // [rows, d]: what the FFN is given
};

class Gemma3nFold final : public Fold {
 public:
  explicit Gemma3nFold(const FoldInputs& inputs)
      : config_(parse_gemma3n_config(inputs.model.config, {})),
        prefix_(config_.prefix()),
        weight_(inputs.weight),
        words_(inputs, prefix_ + "embed_tokens.weight"),
        layer_words_(inputs, prefix_ + "embed_tokens_per_layer.weight"),
        head_(config_.tied ? words_ : EndMatrix(inputs, "lm_head.weight")),
        element_bytes_(weight_(prefix_ + "norm.weight").element_size()),
        inputs_projection_(weight_(prefix_ + "per_layer_model_projection.weight")),
        inputs_norm_(weight_(prefix_ + "per_layer_projection_norm.weight")),
        final_norm_(weight_(prefix_ + "norm.weight")),
        attention_(config_),
        layers_(static_cast<std::size_t>(config_.layers)) {
    for (std::int64_t k = 0; k + 1 < config_.streams; ++k) {
      starts_.push_back(weight_(fmt::format("{}altup_projections.{}.weight", prefix_, k)));
      ends_.push_back(weight_(fmt::format("{}altup_unembed_projections.{}.weight", prefix_, k)));
    }
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      if (config_.is_producer(layer)) place_.emplace(layer, 2 * place_.size());
    }
  }

  void load(std::size_t layer) override { layers_[layer] = load_layer(layer); }
  void unload(std::size_t layer) override { layers_[layer] = {}; }

  Embedded embed(const Batch& batch) override {
    const at::Tensor& tokens = batch.inputs;
    const at::Tensor x = rounded(words_.at(tokens), root(config_.hidden_size));  // [S, T, d]
    const at::Tensor rows = x.flatten(0, 1);
    const at::Tensor streams =
        start_streams(rows, starts_).view({1, x.size(0), x.size(1), config_.streams, x.size(2)});
    return {{{streams}}, {{}, layer_inputs(tokens, rows)}};
  }

  State step(std::size_t index, const Givens& givens, const State& parents,
             const Children& children) override {
    return step(index, givens, parents, children, {});
  }

  State step_shown(std::size_t index, const Givens& givens, const State& state,
                   const ChannelSink& sink) override {
    Children child;
    child.add(0, config_.full_width(index));
    return step(index, givens, state, child, sink);
  }

  State extend(std::size_t index, const Givens& givens, const State& state,
               std::span<const Run> runs) override {
    const Gemma3nLayer& layer = layers_[index];
    const at::Tensor& streams = state.tensors.front();
    const Shared shared = before_ffn(index, streams, [&](const at::Tensor& normed) {
      return attend_cached(index, normed, runs);
    });
    const at::Tensor ffn = gemma3n_ffn(layer.ffn, shared.normed, runs).unsqueeze(0);
    return {{after_ffn(index, givens, shared, 0, ffn).view(streams.sizes())}};
  }

  std::uint64_t element_bytes() const override { return element_bytes_; }
  std::int64_t given_per_token() const override { return config_.layers * config_.layer_inputs; }

  at::Tensor readout(const State& state) override {
    const at::Tensor& streams = state.tensors.front();
    const at::Tensor x = end_streams(streams.flatten(0, 2), ends_);
    std::vector<std::int64_t> shape = streams.sizes().vec();
    shape.erase(shape.begin() + 3);
    return rms_norm(x, final_norm_, config_.rms_norm_eps).view(shape);
  }

  at::Tensor logits(const at::Tensor& rows) override { return capped(head_.product(rows)); }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return capped(head_.product(rows, first, count));
  }

 private:
  static double root(std::int64_t size) { return std::sqrt(static_cast<double>(size)); }

  // x times a factor that is rounded to the type of x before, as transformers has it.
  static at::Tensor rounded(const at::Tensor& x, double factor) {
    return x * at::full({}, factor, x.options());
  }

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    return rms_norm(x, weight, config_.rms_norm_eps);
  }

  // Of every layer [sequences, tokens, P]: what the tokens' own rows and their embeddings, rows [n,
  // d], give it. The checkpoint may have more layers than are run, and its tables their parts.
  std::vector<std::vector<at::Tensor>> layer_inputs(const at::Tensor& tokens,
                                                    const at::Tensor& rows) const {
    const std::int64_t inputs = config_.layer_inputs;
    // Words past the table take its row 0.
    const at::Tensor known =
        at::where(tokens < config_.layer_vocab, tokens, at::zeros_like(tokens));
    const at::Tensor read = layer_words_.at(known).narrow(-1, 0, given_per_token());
    const at::Tensor own =
        rounded(read, root(inputs)).view({tokens.size(0), tokens.size(1), config_.layers, inputs});
    const at::Tensor scaled = product(rows, inputs_projection_.narrow(0, 0, given_per_token())) *
                              (1 / root(config_.hidden_size));
    const at::Tensor seen = norm(scaled.view(own.sizes()), inputs_norm_);
    const at::Tensor all = rounded(seen + own, 1 / std::sqrt(2.0));
    std::vector<std::vector<at::Tensor>> layers;
    for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
      layers.push_back({all.select(2, layer).contiguous()});
    }
    return layers;
  }

  State step(std::size_t index, const Givens& givens, const State& parents,
             const Children& children, const ChannelSink& sink) {
    const Gemma3nLayer& layer = layers_[index];
    const at::Tensor& streams = parents.tensors.front();
    std::vector<Held> added;
    const Shared shared = before_ffn(index, streams, [&](const at::Tensor& normed) {
      const Gemma3nHeads heads = attention_.heads(layer.attention, normed);
      const auto of_sequences = [&](const at::Tensor& rows) {
        return rows.view({-1, streams.size(2), rows.size(1), rows.size(2)});
      };
      const at::Tensor queries = of_sequences(heads.q);
      if (!config_.has_own_kv(index)) {
        const std::size_t place = place_.at(static_cast<std::size_t>(config_.source[index]));
        const KeysValues held = {for_nodes(parents.held[place]),
                                 for_nodes(parents.held[place + 1])};
        return attention_.attend(index, queries, held, 0);
      }
      const KeysValues own = {attention_.turned_keys(index, of_sequences(heads.k), 0),
                              of_sequences(heads.v)};
      if (place_.contains(index)) added = held_by(children, own);
      return attention_.attend(index, queries, own, 0);
    });
    std::vector<at::Tensor> parts;
    const std::int64_t rows = streams.size(1) * streams.size(2);
    for (std::int64_t parent = 0; parent < children.parents(); ++parent) {
      const at::Tensor normed = shared.normed.narrow(0, parent * rows, rows);
      const at::Tensor ffn = gemma3n_ffn(layer.ffn, normed, children.of(parent), sink);
      parts.push_back(after_ffn(index, givens, shared, parent, ffn));
    }
    std::vector<std::int64_t> shape = streams.sizes().vec();
    shape.front() = children.nodes();
    State state;
    state.tensors.push_back((parts.size() == 1 ? parts.front() : at::cat(parts)).view(shape));
    state.held = std::move(added);
    return state;
  }

  // What the children hold of their parents, whose keys and values are [parents * sequences, ..].
  static std::vector<Held> held_by(const Children& children, const KeysValues& own) {
    const auto of = [&](const at::Tensor& all) {
      return of_children(all.chunk(children.parents()), children);
    };
    return {of(own.keys), of(own.values)};
  }

  // Attention of the next tokens of some sequences, [rows, q]. Their keys and values are kept.
  at::Tensor attend_cached(std::size_t index, const at::Tensor& normed, std::span<const Run> runs) {
    const Gemma3nHeads heads = attention_.heads(layers_[index].attention, normed);
    const auto source = static_cast<std::size_t>(config_.source[index]);
    std::vector<at::Tensor> mixed;
    std::int64_t row = 0;
    for (const Run& run : runs) {
      const auto of_run = [&](const at::Tensor& rows) {
        return rows.narrow(0, row, run.rows())
            .view({run.sequences, run.tokens, rows.size(1), rows.size(2)});
      };
      if (source == index) {
        keep(run.caches[index],
             {attention_.turned_keys(index, of_run(heads.k), run.position), of_run(heads.v)},
             run.position);
      }
      const LayerCache& cache = run.caches[source];
      mixed.push_back(attention_.attend(index, of_run(heads.q),
                                        kept(cache, run.position + run.tokens), run.position,
                                        cache.skipped));
      row += run.rows();
    }
    return mixed.size() == 1 ? mixed.front() : at::cat(mixed);
  }

  // streams [nodes, sequences, tokens, A, d]. attend(normed [rows, d]) gives attention's heads of
  // all rows, [rows, q].
  template <typename Attend>
  Shared before_ffn(std::size_t index, const at::Tensor& streams, const Attend& attend) {
    const Gemma3nLayer& layer = layers_[index];
    Shared shared;
    shared.predicted = predict(layer.altup, streams.flatten(0, 2));
    const at::Tensor active = shared.predicted.select(1, layer.altup.active).contiguous();
    const at::Tensor normed = norm(active, layer.input_norm);
    const at::Tensor low = product(product(normed, layer.laurel_left), layer.laurel_right);
    const at::Tensor laurel = normed + norm(low, layer.laurel_norm);
    const at::Tensor out = product(attend(normed), layer.attention.o, layer.attention.o_bias);
    const at::Tensor attended = norm(out, layer.attention_norm);
    shared.y = (active + attended + laurel) / std::sqrt(2.0);
    shared.normed = norm(shared.y, layer.pre_ffn);
    return shared;
  }

  // The children of one parent, [children, rows, A, d], by what the FFN gives each, [children,
  // rows, d].
  at::Tensor after_ffn(std::size_t index, const Givens& givens, const Shared& shared,
                       std::int64_t parent, const at::Tensor& ffn) const {
    const Gemma3nLayer& layer = layers_[index];
    const at::Tensor& given = givens.layers[index].front();
    const std::int64_t rows = given.size(0) * given.size(1);
    const auto of_parent = [&](const at::Tensor& all) {
      return all.narrow(0, parent * rows, rows);
    };
    const at::Tensor results = of_parent(shared.y) + norm(ffn, layer.post_ffn);
    const at::Tensor streams = correct(layer.altup, of_parent(shared.predicted), results);
    at::Tensor first = streams.select(2, layer.altup.active);
    if (layer.output_scale.defined()) first = first * layer.output_scale;
    const at::Tensor gate = at::gelu(product(first.flatten(0, 1), layer.inputs_gate), "tanh")
                                .view({streams.size(0), rows, config_.layer_inputs});
    const at::Tensor gated = gate * given.reshape({rows, config_.layer_inputs});
    const at::Tensor more =
        norm(product(gated.flatten(0, 1), layer.inputs_projection), layer.inputs_norm)
            .view({streams.size(0), rows, 1, config_.hidden_size});
    return with_more(streams, more);
  }

  // Adds to all streams but the first, whichever is the active one.
  static at::Tensor with_more(const at::Tensor& streams, const at::Tensor& more) {
    const std::int64_t others = streams.size(2) - 1;
    if (at::GradMode::is_enabled()) {
      return at::cat({streams.narrow(2, 0, 1), streams.narrow(2, 1, others) + more}, 2);
    }
    streams.narrow(2, 1, others).add_(more);
    return streams;
  }

  // In their place where nothing is to be differentiated.
  at::Tensor capped(const at::Tensor& logits) const {
    const double cap = config_.soft_cap;
    if (at::GradMode::is_enabled()) return at::tanh(logits / cap) * cap;
    at::Tensor in_place = logits;
    return in_place.div_(cap).tanh_().mul_(cap);
  }

  Gemma3nLayer load_layer(std::size_t index) const {
    const std::string base = fmt::format("{}layers.{}.", prefix_, index);
    const auto w = [&](const char* name) { return weight_(base + name + ".weight"); };
    const auto b = [&](const char* name) {
      return config_.attention_bias ? weight_(base + name + ".bias") : at::Tensor();
    };
    Gemma3nLayer layer;
    layer.altup = {w("altup.modality_router"),  w("altup.router_norm"), w("altup.prediction_coefs"),
                   w("altup.correction_coefs"), config_.rms_norm_eps,   config_.active_stream};
    if (config_.correct_scale) layer.output_scale = weight_(base + "altup.correct_output_scale");
    layer.input_norm = w("input_layernorm");
    layer.attention_norm = w("post_attention_layernorm");
    layer.pre_ffn = w("pre_feedforward_layernorm");
    layer.post_ffn = w("post_feedforward_layernorm");
    layer.laurel_left = w("laurel.linear_left");
    layer.laurel_right = w("laurel.linear_right");
    layer.laurel_norm = w("laurel.post_laurel_norm");
    layer.inputs_gate = w("per_layer_input_gate");
    layer.inputs_projection = w("per_layer_projection");
    layer.inputs_norm = w("post_per_layer_input_norm");
    Gemma3nAttentionWeights& attention = layer.attention;
    attention.q = w("self_attn.q_proj");
    attention.q_bias = b("self_attn.q_proj");
    attention.o = w("self_attn.o_proj");
    attention.o_bias = b("self_attn.o_proj");
    attention.q_norm = w("self_attn.q_norm");
    if (config_.has_own_kv(index)) {
      attention.k = w("self_attn.k_proj");
      attention.k_bias = b("self_attn.k_proj");
      attention.v = w("self_attn.v_proj");
      attention.v_bias = b("self_attn.v_proj");
      attention.k_norm = w("self_attn.k_norm");
    }
    layer.ffn = {w("mlp.gate_proj"), w("mlp.up_proj"), w("mlp.down_proj"), config_.sparsity[index],
                 config_.sample_deviation};
    return layer;
  }

  Gemma3nConfig config_;
  std::string prefix_;
  WeightSource weight_;
  EndMatrix words_, layer_words_, head_;
  std::uint64_t element_bytes_;
  at::Tensor inputs_projection_, inputs_norm_, final_norm_;
  std::vector<at::Tensor> starts_, ends_;  // [d, d] each
  Gemma3nAttention attention_;
  std::map<std::size_t, std::size_t> place_;  // of a producer's keys in State::held
  std::vector<Gemma3nLayer> layers_;
};

}  // namespace

std::unique_ptr<Fold> make_gemma3n_fold(const FoldInputs& inputs) {
  return std::make_unique<Gemma3nFold>(inputs);
}

}  // namespace mnm
