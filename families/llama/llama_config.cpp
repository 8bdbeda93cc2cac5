#include "families/llama/llama_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "families/config_reader.h"
#include "model/error.h"

namespace mnm {
namespace {

constexpr double kMaxParameters = 9007199254740992.0;  // 2^53: every sum of sizes stays exact

constexpr std::pair<std::string_view, Activation> kActivations[] = {
    {"silu", Activation::kSilu},         {"swish", Activation::kSilu},
    {"gelu", Activation::kGelu},         {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_new", Activation::kGeluTanh}, {"gelu_fast", Activation::kGeluTanh},
    {"relu", Activation::kRelu},
};

Activation parse_activation(const std::string& text) {
  std::string known;
  for (const auto& [name, activation] : kActivations) {
    if (text == name) return activation;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  fail("hidden_act is '{}', expected one of {}", text, known);
}

GateVariant parse_gate(const ConfigReader& keys) {
  const std::optional<std::string> text = keys.text("matformer_gate");
  if (!text) return GateVariant::kActGateTimesUp;
  for (const GateVariant gate : {GateVariant::kActGateTimesUp, GateVariant::kActOfProduct}) {
    if (*text == to_string(gate)) return gate;
  }
  fail("matformer_gate is '{}', expected '{}' or '{}'", *text,
       to_string(GateVariant::kActGateTimesUp), to_string(GateVariant::kActOfProduct));
}

void refuse_other_models(const ConfigReader& keys) {
  if (const nlohmann::json* list = keys.find("architectures")) {
    const nlohmann::json expected[] = {"LlamaForCausalLM", "MixNMatchLlamaForCausalLM"};
    if (!list->is_array() || list->size() != 1 ||
        std::ranges::find(expected, list->front()) == std::end(expected)) {
      fail("architectures is {}, expected LlamaForCausalLM", shown(*list));
    }
  }
  for (const std::string_view key : {"quantization_config", "per_layer_config"}) {
    if (keys.find(key) != nullptr) {
      fail("{} is set, which is not computed here: expected plain f32, f16 or bf16 layers", key);
    }
  }
}

void refuse_partial_rotary(const ConfigReader& keys) {
  if (const std::optional<double> part = keys.positive("partial_rotary_factor");
      part && *part != 1) {
    fail("{} is {}: only whole heads are turned here, expected 1",
         keys.name("partial_rotary_factor"), *part);
  }
}

struct Rope {
  std::optional<double> theta;
  std::optional<Llama3Scaling> scaling;
};

// The object under rope_parameters or rope_scaling.
Rope read_rope(const ConfigReader& keys, std::optional<std::int64_t> original_positions,
               std::int64_t max_positions) {
  const std::optional<std::string> type = keys.text("rope_type"), old_type = keys.text("type");
  if (type && old_type && *type != *old_type) {
    fail("{} is '{}' but {} is '{}': two spellings of one setting must agree",
         keys.name("rope_type"), *type, keys.name("type"), *old_type);
  }
  refuse_partial_rotary(keys);
  Rope rope{keys.positive("rope_theta"), std::nullopt};
  const std::string name = type.value_or(old_type.value_or("default"));
  if (name == "default") return rope;
  if (name != "llama3") {
    fail("{} is '{}': the rope types computed here are default and llama3",
         keys.name(type ? "rope_type" : "type"), name);
  }

  const auto required = [&keys](std::string_view key) {
    const std::optional<double> number = keys.positive(key);
    if (!number) fail("{} is missing: rope type llama3 needs it", keys.name(key));
    return *number;
  };
  Llama3Scaling scaling{required("factor"), required("low_freq_factor"),
                        required("high_freq_factor"), 0};
  const auto inner = keys.optional_size("original_max_position_embeddings");
  if (inner && original_positions && *inner != *original_positions) {
    fail("{} is {} but original_max_position_embeddings is {}: they must agree",
         keys.name("original_max_position_embeddings"), *inner, *original_positions);
  }
  scaling.original_max_position_embeddings =
      inner.value_or(original_positions.value_or(max_positions));
  if (scaling.factor < 1) {
    fail("{} is {}, expected at least 1", keys.name("factor"), scaling.factor);
  }
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    fail("{} is {}, expected more than low_freq_factor, {}", keys.name("high_freq_factor"),
         scaling.high_freq_factor, scaling.low_freq_factor);
  }
  rope.scaling = scaling;
  return rope;
}

void read_ropes(const ConfigReader& keys, LlamaConfig& config) {
  refuse_partial_rotary(keys);
  const auto original = keys.optional_size("original_max_position_embeddings");
  std::optional<double> theta = keys.positive("rope_theta");
  std::string theta_name = "rope_theta";
  std::optional<Rope> first;
  for (const std::string_view key : {"rope_parameters", "rope_scaling"}) {
    const std::optional<ConfigReader> object = keys.object(key);
    if (!object || keys.find(key)->empty()) continue;
    const Rope rope = read_rope(*object, original, config.max_position_embeddings);
    if (rope.theta) {
      if (theta && *theta != *rope.theta) {
        fail("{} is {} but {} is {}: two spellings of one setting must agree", theta_name, *theta,
             object->name("rope_theta"), *rope.theta);
      }
      theta = rope.theta;
      theta_name = object->name("rope_theta");
    }
    if (first && first->scaling != rope.scaling) {
      fail("rope_parameters and rope_scaling describe different scalings: {} and {}",
           shown(*keys.find("rope_parameters")), shown(*keys.find("rope_scaling")));
    }
    first = rope;
  }
  config.rope_theta = theta.value_or(10000);
  if (first) config.rope_scaling = first->scaling;
}

// Full FFN width of every layer: intermediate_size, or matformer_widths where layers differ.
std::vector<Width> read_full_widths(const ConfigReader& keys, std::int64_t layers) {
  const auto widest = static_cast<Width>(keys.size("intermediate_size"));
  const nlohmann::json* list = keys.find(kWidthsKey);
  if (list == nullptr) return std::vector<Width>(static_cast<std::size_t>(layers), widest);
  if (!list->is_array() || std::cmp_not_equal(list->size(), layers)) {
    fail("matformer_widths is {}, expected one width for each of the {} layers", shown(*list),
         layers);
  }
  std::vector<Width> widths;
  for (const nlohmann::json& value : *list) {
    const std::int64_t width = value.is_number_integer() ? value.get<std::int64_t>() : 0;
    if (width < 1 || width > widest) {
      fail("matformer_widths holds {}, expected widths from 1 to intermediate_size, {}",
           shown(value), widest);
    }
    widths.push_back(static_cast<Width>(width));
  }
  if (std::ranges::max(widths) != widest) {
    fail("matformer_widths has {} as its widest, expected intermediate_size, {}",
         std::ranges::max(widths), widest);
  }
  return widths;
}

void check_sizes(const LlamaConfig& config) {
  if (config.heads % config.kv_heads != 0) {
    fail("num_attention_heads is {}, expected a multiple of num_key_value_heads, {}", config.heads,
         config.kv_heads);
  }
  // transformers' LlamaConfig demands it even where head_dim is given.
  if (config.hidden_size % config.heads != 0) {
    fail("hidden_size is {}, expected a multiple of num_attention_heads, {}", config.hidden_size,
         config.heads);
  }
  if (config.head_dim % 2 != 0) {
    fail("head_dim is {}, expected an even number: rotary positions turn pairs", config.head_dim);
  }
  if (config.head_dim > kMaxSize / config.heads) {
    fail("head_dim is {} and num_attention_heads {}: their product is past {}", config.head_dim,
         config.heads, kMaxSize);
  }
  const auto hidden = static_cast<double>(config.hidden_size);
  double parameters = 2 * static_cast<double>(config.vocab_size) * hidden;
  for (const std::vector<Width>& layer : config.granularities) {
    parameters += hidden * (2.0 * static_cast<double>(config.q_size() + config.kv_size()) +
                            3.0 * layer.back() + 8.0);
  }
  if (parameters > kMaxParameters) {
    fail(
        "hidden_size {}, intermediate_size, num_hidden_layers {} and vocab_size {} together make "
        "{:.3g} parameters, more than 2^53",
        config.hidden_size, config.layers, config.vocab_size, parameters);
  }
}

}  // namespace

std::string_view to_string(GateVariant gate) {
  return gate == GateVariant::kActOfProduct ? "act(gate*up)" : "act(gate)*up";
}

LlamaConfig parse_llama_config(const nlohmann::json& json, const Nesting& nesting) {
  const ConfigReader keys(json);
  refuse_other_models(keys);

  LlamaConfig config;
  config.layers = keys.size("num_hidden_layers", kMaxLayers);
  config.hidden_size = keys.size("hidden_size");
  config.heads = keys.size("num_attention_heads");
  config.kv_heads = keys.optional_size("num_key_value_heads").value_or(config.heads);
  config.head_dim = keys.optional_size("head_dim").value_or(config.hidden_size / config.heads);
  config.vocab_size = keys.size("vocab_size");
  // Absent keys mean what transformers' LlamaConfig means by them.
  config.max_position_embeddings = keys.optional_size("max_position_embeddings").value_or(2048);
  config.rms_norm_eps = keys.positive("rms_norm_eps").value_or(1e-6);
  config.initializer_range = keys.positive("initializer_range").value_or(0.02);
  config.tied = keys.flag("tie_word_embeddings", false);
  config.attention_bias = keys.flag("attention_bias", false);
  config.mlp_bias = keys.flag("mlp_bias", false);
  config.hidden_act = keys.text("hidden_act").value_or("silu");
  config.activation = parse_activation(config.hidden_act);
  config.gate = parse_gate(keys);
  read_ropes(keys, config);
  config.dtype = stated_dtype(json).value_or(Dtype::kF32);
  config.granularities =
      resolve_granularities(keys.find("matformer_granularities"), "matformer_granularities",
                            nesting.granularities, read_full_widths(keys, config.layers));
  check_sizes(config);
  return config;
}

nlohmann::json llama_config_with_layers(const nlohmann::json& config, std::int64_t layers) {
  nlohmann::json shorter = config;
  shorter["num_hidden_layers"] = layers;
  keep_first_layers(shorter, layers);
  const auto widths = shorter.find(kWidthsKey);
  if (widths != shorter.end() && !widths->empty()) {
    shorter["intermediate_size"] = *std::ranges::max_element(*widths);
  }
  return shorter;
}

std::vector<float> rope_inverse_frequencies(const LlamaConfig& config) {
  const auto theta = static_cast<float>(config.rope_theta);
  const auto dim = static_cast<float>(config.head_dim);
  std::vector<float> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = 1.0f / std::pow(theta, static_cast<float>(2 * i) / dim);
  }
  if (!config.rope_scaling) return frequencies;

  // Short waves stay, waves longer than the original context are stretched by `factor`, those in
  // between are interpolated.
  const Llama3Scaling& scaling = *config.rope_scaling;
  const auto context = static_cast<double>(scaling.original_max_position_embeddings);
  const auto longest = static_cast<float>(context / scaling.low_freq_factor);
  const auto shortest = static_cast<float>(context / scaling.high_freq_factor);
  const auto factor = static_cast<float>(scaling.factor);
  const auto low = static_cast<float>(scaling.low_freq_factor);
  const auto span = static_cast<float>(scaling.high_freq_factor - scaling.low_freq_factor);
  for (float& frequency : frequencies) {
    // A scalar over a tensor is the tensor's reciprocal times the scalar in PyTorch.
    const float wave = 1.0f / frequency * (2 * std::numbers::pi_v<float>);
    if (wave > longest) {
      frequency /= factor;
    } else if (wave >= shortest) {
      const float smooth = (1.0f / wave * static_cast<float>(context) - low) / span;
      frequency = (1.0f - smooth) * frequency / factor + smooth * frequency;
    }
  }
  return frequencies;
}

}  // namespace mnm
