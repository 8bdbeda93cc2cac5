// Gemma 3n (Google, 2025), the published nested model: the tensor table, the width space and the
// costs. A layer's width is its FFN's hidden size; gate and up keep their first rows, down its
// first columns. A skipped layer also takes its columns of embed_tokens_per_layer and its rows of
// per_layer_model_projection. Kudugunta et al., "MatFormer" (arXiv 2310.07707); Baykal et al.,
// "Alternating Updates" (arXiv 2301.13310); transformers 5.23, models/gemma3n.
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/family.h"
#include "families/gemma3n/config.h"
#include "families/gemma3n/gguf.h"
#include "families/gemma3n/huggingface.h"
#include "families/gemma3n/onnx.h"
#include "families/gemma3n/published.h"
#include "families/gemma3n/runtimes.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

constexpr double kProduct = 2;  // FLOPs per token and element of a product's operand
constexpr int kRows = 0, kColumns = 1;

// Appends tensors under one name prefix, for one layer (-1: none).
struct TableWriter {
  TensorTable& table;
  double init_std;
  std::string prefix;
  int layer = -1;

  TensorSpec& add(const std::string& name, std::vector<std::int64_t> shape, Init init) {
    TensorSpec& tensor = table.tensors.emplace_back();
    tensor.name = prefix + name;
    tensor.shape = std::move(shape);
    tensor.layer = layer;
    tensor.init = init;
    tensor.init_std = init_std;
    return tensor;
  }
  void norm(const std::string& name, std::int64_t size) {
    add(name + ".weight", {size}, Init::kOne).norm_groups = 1;
  }
  // `times`: how often it is multiplied with a token.
  TensorSpec& matrix(const std::string& name, std::int64_t rows, std::int64_t columns,
                     double times = 1) {
    TensorSpec& tensor = add(name + ".weight", {rows, columns}, Init::kNormal);
    tensor.flops_per_element = kProduct * times;
    return tensor;
  }
  void linear(const std::string& name, std::int64_t rows, std::int64_t columns, bool bias,
              double times = 1) {
    matrix(name, rows, columns, times);
    if (bias) add(name + ".bias", {rows}, Init::kZero);
  }
};

// The first `width` of that dimension are kept.
void cut(TensorSpec& tensor, int dim) {
  tensor.cut_dim = dim;
  tensor.pieces = {Piece{.begin = 0, .fixed = 0, .num = 1, .den = 1}};
}

// Of that dimension each layer has P, which are absent if it is skipped.
void cut_by_layers(const Gemma3nConfig& config, TensorSpec& tensor, int dim) {
  tensor.cut_dim = dim;
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    tensor.pieces.push_back({.begin = layer * config.layer_inputs,
                             .fixed = config.layer_inputs,
                             .num = 0,
                             .den = 1,
                             .layer = static_cast<int>(layer)});
  }
}

void add_ends(const Gemma3nConfig& config, TensorTable& table) {
  TableWriter to{table, config.initializer_range, config.prefix()};
  const std::int64_t d = config.hidden_size, all = config.layers * config.layer_inputs;
  TensorSpec& words = to.matrix("embed_tokens", config.vocab_size, d, config.tied ? 1 : 0);
  words.role = Role::kEmbedding;
  TensorSpec& inputs = to.matrix("embed_tokens_per_layer", config.layer_vocab, all, 0);
  inputs.role = Role::kEmbedding;
  cut_by_layers(config, inputs, kColumns);
  cut_by_layers(config, to.matrix("per_layer_model_projection", all, d), kRows);
  to.norm("per_layer_projection_norm", config.layer_inputs);
  for (std::int64_t k = 0; k + 1 < config.streams; ++k) {
    to.matrix(fmt::format("altup_projections.{}", k), d, d);
  }
  for (std::int64_t k = 0; k + 1 < config.streams; ++k) {
    to.matrix(fmt::format("altup_unembed_projections.{}", k), d, d);
  }
  to.norm("norm", d);
  if (config.tied) return;
  to.prefix.clear();
  to.matrix("lm_head", config.vocab_size, d).role = Role::kHead;
}

void add_layer(const Gemma3nConfig& config, std::size_t layer, TensorTable& table) {
  TableWriter to{table, config.initializer_range,
                 fmt::format("{}layers.{}.", config.prefix(), layer), static_cast<int>(layer)};
  const std::int64_t d = config.hidden_size, q = config.q_size(), kv = config.kv_size();
  const std::int64_t streams = config.streams, full = config.full_width(layer);
  const bool bias = config.attention_bias, own = config.has_own_kv(layer);
  to.norm("input_layernorm", d);
  to.linear("self_attn.q_proj", q, d, bias);
  if (own || config.unused_kv) {
    to.linear("self_attn.k_proj", kv, d, bias, own ? 1 : 0);
    to.linear("self_attn.v_proj", kv, d, bias, own ? 1 : 0);
    to.norm("self_attn.k_norm", config.head_dim);
  }
  to.linear("self_attn.o_proj", d, q, bias);
  to.norm("self_attn.q_norm", config.head_dim);
  to.norm("post_attention_layernorm", d);
  to.norm("pre_feedforward_layernorm", d);
  cut(to.matrix("mlp.gate_proj", full, d), kRows);
  cut(to.matrix("mlp.up_proj", full, d), kRows);
  cut(to.matrix("mlp.down_proj", d, full), kColumns);
  to.norm("post_feedforward_layernorm", d);
  to.matrix("altup.modality_router", streams, d, 2);  // before the layer and after it
  to.norm("altup.router_norm", d);
  to.matrix("altup.prediction_coefs", streams * streams, streams).largest = config.coef_clip;
  to.matrix("altup.correction_coefs", streams, streams).largest = config.coef_clip;
  // Fresh ones are 1: at 0, as transformers leaves them, the layer's inputs would do nothing.
  to.add("altup.correct_output_scale", {d}, Init::kOne);
  to.matrix("laurel.linear_left", config.laurel_rank, d);
  to.matrix("laurel.linear_right", d, config.laurel_rank);
  to.norm("laurel.post_laurel_norm", d);
  to.matrix("per_layer_input_gate", config.layer_inputs, d);
  to.matrix("per_layer_projection", d, config.layer_inputs);
  to.norm("post_per_layer_input_norm", d);
}

// Elements per token that go on from a layer: the streams, and the keys and values that later
// layers read.
std::int64_t flow_after(const Gemma3nConfig& config, std::size_t layer) {
  std::int64_t flow = config.streams * config.hidden_size;
  for (std::size_t earlier = 0; earlier <= layer; ++earlier) {
    if (config.is_producer(earlier)) flow += 2 * config.kv_size();
  }
  return flow;
}

LayerMixing mixing_of(const Gemma3nConfig& config, std::size_t layer) {
  const auto d = static_cast<double>(config.hidden_size);
  const auto streams = static_cast<double>(config.streams);
  const auto inputs = static_cast<double>(config.layer_inputs);
  const double correction = 2 * streams * d;  // of all streams by the layer's result
  LayerMixing mixing;
  mixing.flops_per_attended = 4.0 * static_cast<double>(config.q_size());
  mixing.flops_per_token = 2 * streams * streams * d + correction;
  // The router after the layer, its coefficients, the correction, and the layer's inputs.
  mixing.flops_per_sibling = 2 * streams * d + 2 * streams * streams + correction + 4 * d * inputs;
  // Where gates are clipped by their own mean and spread, no sum over them can be shared.
  if (config.sparsity[layer] > 0) mixing.flops_per_sibling_width = 2 * d;
  mixing.kv_per_token = config.has_own_kv(layer) ? 2 * config.kv_size() : 0;
  mixing.window = config.sliding[layer] ? config.window : 0;
  mixing.flow_per_token = flow_after(config, layer);
  return mixing;
}

// Why the layer always stays, or nothing.
std::string why_layer_stays(const Gemma3nConfig& config, std::size_t layer) {
  if (!config.is_producer(layer)) return "";
  std::int64_t first = config.own_layers();
  while (config.source[static_cast<std::size_t>(first)] != static_cast<std::int64_t>(layer)) {
    ++first;
  }
  return fmt::format(
      "layer {} and later ones that attend {} read its keys and values, and were trained with no "
      "others",
      first, config.sliding[layer] ? "to a window" : "to all positions");
}

constexpr Exporter kExporters[] = {
    {"huggingface",
     [](const NestedModel& submodel, Dtype) -> FormatModel {
       return HuggingFaceTexts{submodel.config, {}};
     }},
    {"gguf",
     [](const NestedModel& submodel, Dtype) -> FormatModel { return gemma3n_gguf(submodel); }},
    {"onnx",
     [](const NestedModel& submodel, Dtype stored) -> FormatModel {
       return gemma3n_onnx(submodel, stored);
     }},
};

class Gemma3n final : public Family {
 public:
  std::string_view name() const override { return "gemma3n"; }

  bool recognizes(const nlohmann::json& config) const override {
    const auto type = config.find("model_type");
    return type != config.end() && (*type == kGemma3nModelType || *type == kGemma3nTextModelType);
  }

  std::vector<ModelKind> kinds() const override {
    return {{kGemma3nModelType, kGemma3nClass, "Gemma 3n E4B and E2B",
             "four streams (AltUp), Laurel, inputs per layer, clipped gates, keys and values that "
             "layers share; the towers for images and sound are carried, and not run",
             "gemma3n", ""},
            {kGemma3nTextModelType, kGemma3nTextClass, "their text models",
             "the same without towers", "gemma3n", ""}};
  }

  NestedModel describe(const nlohmann::json& json, const Nesting& nesting) const override {
    const Gemma3nConfig config = parse_gemma3n_config(json, nesting);
    NestedModel model;
    model.family = name();
    model.config = json;
    model.dtype = config.dtype;
    model.vocab_size = config.vocab_size;
    model.hidden_size = config.hidden_size;
    model.max_context = config.max_position_embeddings;
    model.tied_head = config.tied;
    model.flow_per_token = config.streams * config.hidden_size;
    add_ends(config, model.table);
    std::vector<std::string> why_kept;
    for (std::size_t layer = 0; layer < config.granularities.size(); ++layer) {
      add_layer(config, layer, model.table);
      LayerChoices& choices = model.space.layers.emplace_back();
      choices.granularities = config.granularities[layer];
      choices.step = 1;
      choices.why_not = fmt::format("a layer keeps the first 1 to {} of its FFN neurons",
                                    config.full_width(layer));
      why_kept.push_back(why_layer_stays(config, layer));
      if (!why_kept.back().empty()) choices.why_not += ", and " + why_kept.back();
      model.mixing.push_back(mixing_of(config, layer));
    }
    const nlohmann::json& text = gemma3n_text_keys(json);
    const bool silent = nesting.may_skip.empty() && !text.contains(kMaySkipKey);
    allow_skips(text, silent ? usual_skips(config) : nesting.may_skip, model.space, why_kept);
    return model;
  }

  nlohmann::json completed(const nlohmann::json& config,
                           const Checkpoint& checkpoint) const override {
    return gemma3n_completed(config, checkpoint);
  }

  // A multimodal directory, a text-only one, and those of converters, by the beginnings of names.
  std::map<std::string, std::string> other_names(const NestedModel& model) const override {
    std::map<std::string, std::string> names;
    const std::string own = parse_gemma3n_config(model.config, {}).prefix();
    for (const std::string other : {"model.language_model.", "model.", "language_model.model."}) {
      if (other == own) continue;
      for (const TensorSpec& spec : model.table.tensors) {
        if (!spec.name.starts_with(own)) continue;
        names[other + spec.name.substr(own.size())] = spec.name;
      }
    }
    return names;
  }

  std::map<std::string, std::string> copies(const NestedModel& model) const override {
    if (!model.tied_head) return {};
    return {{"lm_head.weight",
             parse_gemma3n_config(model.config, {}).prefix() + "embed_tokens.weight"}};
  }

  std::vector<std::string> other_parts(const NestedModel& model) const override {
    if (!parse_gemma3n_config(model.config, {}).multimodal) return {};
    return {"model.vision_tower.", "model.audio_tower.", "model.embed_vision.",
            "model.embed_audio."};
  }
  nlohmann::json text_config(const NestedModel& model) const override {
    return gemma3n_text_config(model);
  }

  nlohmann::json with_layers(const nlohmann::json& config, std::int64_t layers) const override {
    return gemma3n_config_with_layers(config, layers);
  }
  nlohmann::json huggingface_config(const NestedModel& model, const Widths& widths,
                                    Dtype dtype) const override {
    return gemma3n_huggingface_config(model, widths, dtype);
  }
  // transformers holds one width for each layer.
  std::map<std::string, std::string> huggingface_bridge(const NestedModel&,
                                                        const Widths&) const override {
    return {};
  }
  std::string why_not_padded(const NestedModel& model, const Widths& widths) const override {
    return gemma3n_why_not_padded(model, widths);
  }
  bool pads_by_repeating(const NestedModel& model, const TensorSpec& spec) const override {
    return gemma3n_pads_by_repeating(model, spec);
  }
  std::span<const Exporter> exporters() const override { return kExporters; }
  std::vector<RuntimeRule> runtimes(const NestedModel& model) const override {
    return gemma3n_runtimes(model);
  }
  std::vector<NamedWidths> published(const NestedModel& model) const override {
    return gemma3n_published(model);
  }
};

}  // namespace

const Family& gemma3n_family() {
  static const Gemma3n family;
  return family;
}

}  // namespace mnm
