#include "families/llama/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <utility>

#include "base/error.h"
#include "families/compensation.h"
#include "families/config_reader.h"
#include "families/gelu_names.h"
#include "families/granularities.h"

namespace mnm {
namespace {

constexpr double kMaxParameters = 9007199254740992.0;  // 2^53: every sum of sizes stays exact

struct ActivationNames {
  Activation activation = Activation::kSilu;
  std::span<const std::string_view> names;
};
constexpr std::string_view kSiluNames[] = {"silu", "swish"};
constexpr std::string_view kReluNames[] = {"relu"};
constexpr ActivationNames kActivations[] = {{Activation::kSilu, kSiluNames},
                                            {Activation::kGelu, kGeluNames},
                                            {Activation::kGeluTanh, kGeluTanhNames},
                                            {Activation::kRelu, kReluNames}};

Activation parse_activation(const std::string& text, std::string_view key) {
  std::string known;
  for (const auto& [activation, names] : kActivations) {
    for (const std::string_view name : names) {
      if (text == name) return activation;
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
  }
  fail("{} is '{}', expected one of {}", key, text, known);
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

void refuse_other_models(const ConfigReader& keys, const LlamaArchitecture& architecture) {
  if (const nlohmann::json* list = keys.find("architectures")) {
    const std::string own = class_of(architecture);
    const nlohmann::json expected[] = {own, bridge_class_of(architecture),
                                       std::string(architecture.spellings)};
    if (!list->is_array() || list->size() != 1 ||
        std::ranges::find(expected, list->front()) == std::end(expected)) {
      const auto other =
          std::ranges::find_if(llama_architectures(), [&](const LlamaArchitecture& a) {
            return list->is_array() && list->size() == 1 && list->front() == class_of(a);
          });
      if (other != llama_architectures().end()) {
        fail(
            "architectures is {}, whose model_type is '{}' and not '{}'; the two compute otherwise",
            shown(*list), other->model_type, architecture.model_type);
      }
      fail("architectures is {}, expected [\"{}\"]", shown(*list), own);
    }
  }
  if (keys.flag("use_bidirectional_attention", false)) {
    fail("use_bidirectional_attention is true: only attention to earlier tokens is computed here");
  }
  for (const char* key :
       {"attention_multiplier", "embedding_multiplier", "residual_multiplier", "logits_scaling"}) {
    const nlohmann::json* value = keys.find(key);
    if (!architecture.multipliers && value != nullptr && !value->is_null() && *value != 1) {
      fail("{} is {}, and a model of type '{}' has none", key, shown(*value),
           architecture.model_type);
    }
  }
  if (keys.find("quantization_config") != nullptr) {
    fail(
        "quantization_config is set, which is not computed here: expected plain f32, f16 or bf16 "
        "layers");
  }
}

// [layers]: which ones turn their heads by position.
std::vector<bool> read_turns(const ConfigReader& keys, const LlamaConfig& config) {
  std::vector<bool> turns(static_cast<std::size_t>(config.layers), true);
  if (config.architecture->turns != TurnRule::kListed) return turns;
  const nlohmann::json* list = keys.find("no_rope_layers");
  const std::int64_t interval = keys.optional_size("no_rope_layer_interval").value_or(4);
  if (list != nullptr && (!list->is_array() || list->size() < turns.size())) {
    fail("no_rope_layers is {}, expected a 1 or a 0 for each of the {} layers", shown(*list),
         config.layers);
  }
  for (std::size_t layer = 0; layer < turns.size(); ++layer) {
    if (list == nullptr) {
      turns[layer] = (static_cast<std::int64_t>(layer) + 1) % interval != 0;
      continue;
    }
    const nlohmann::json& value = (*list)[layer];
    if (!value.is_number_integer() || (value != 0 && value != 1)) {
      fail("no_rope_layers holds {}, expected a 1 or a 0 for each of the {} layers", shown(value),
           config.layers);
    }
    turns[layer] = value == 1;
  }
  return turns;
}

// Every which layer has no window, where layer_types does not say so; 0: none of them.
std::int64_t full_every(const ConfigReader& keys, const LlamaArchitecture& architecture) {
  constexpr const char* kKey = "sliding_window_pattern";
  const nlohmann::json* pattern = architecture.window_pattern ? keys.find(kKey) : nullptr;
  if (pattern == nullptr) return architecture.full_every;
  if (!pattern->is_string()) return keys.size(kKey);
  const auto& text = pattern->get_ref<const std::string&>();  // EXAONE's "LLLG": local, global
  if (text.empty() || text.find('G') + 1 != text.size() ||
      text.find_first_not_of('L') + 1 != text.size()) {
    fail("{} is {}, expected a number, or L's and a G at their end", kKey, shown(*pattern));
  }
  return static_cast<std::int64_t>(text.size());
}

// Whether each layer has the window, where layer_types does not say so.
bool has_window(const ConfigReader& keys, const LlamaConfig& config, std::size_t layer) {
  constexpr std::int64_t kDefaultFull = 28;
  switch (config.architecture->window) {
    case WindowRule::kNone:
      return false;
    case WindowRule::kAll:
      return true;
    case WindowRule::kFlagged: {
      const nlohmann::json* full = keys.find("max_window_layers");
      if (full == nullptr) return std::cmp_greater_equal(layer, kDefaultFull);
      if (!full->is_number_integer() || *full < 0) {
        fail("max_window_layers is {}, expected a whole number from 0 on", shown(*full));
      }
      return std::cmp_greater_equal(layer, full->get<std::int64_t>());
    }
    case WindowRule::kNoRope:
      return !config.turns[layer];
    case WindowRule::kTyped: {
      const std::int64_t step = full_every(keys, *config.architecture);
      const std::int64_t full = config.architecture->full_first ? 0 : step - 1;
      return step == 0 || static_cast<std::int64_t>(layer) % step != full;
    }
  }
  return false;
}

// Fills in windows and local, and turns where they follow from these.
void read_windows(const ConfigReader& keys, const nlohmann::json& json, LlamaConfig& config) {
  const LlamaArchitecture& architecture = *config.architecture;
  std::vector<std::int64_t>& windows = config.windows;
  windows.assign(static_cast<std::size_t>(config.layers), 0);
  config.local.assign(windows.size(), false);
  if (architecture.window == WindowRule::kNone) return;
  const bool flagged =
      architecture.window == WindowRule::kFlagged || architecture.window == WindowRule::kNoRope;
  const bool asked = !flagged || keys.flag("use_sliding_window", false);
  const bool said = json.contains("sliding_window");  // a null is none, not the default
  const std::int64_t window =
      said ? keys.optional_size("sliding_window").value_or(0) : architecture.default_window;
  const nlohmann::json* types =
      architecture.window == WindowRule::kAll ? nullptr : keys.find("layer_types");
  if (types != nullptr && (!types->is_array() || types->size() != windows.size())) {
    fail("layer_types is {}, expected one for each of the {} layers", shown(*types), config.layers);
  }
  for (std::size_t layer = 0; layer < windows.size(); ++layer) {
    bool has = has_window(keys, config, layer);
    if (types != nullptr) {
      const nlohmann::json& type = (*types)[layer];
      if (type != "full_attention" && type != "sliding_attention") {
        fail("layer_types holds {}, expected full_attention or sliding_attention", shown(type));
      }
      has = type == "sliding_attention";
      if (has && (!asked || window == 0)) {
        fail("layer_types holds sliding_attention, but {} is {}",
             asked ? "sliding_window" : "use_sliding_window", asked ? "null" : "false");
      }
    }
    config.local[layer] = asked && has && window > 0;
    const bool reaches = window < config.context();  // else it hides nothing
    if (config.local[layer] && reaches) windows[layer] = window;
  }
  if (architecture.turns == TurnRule::kWindowed && window > 0) config.turns = config.local;
}

void read_multipliers(const ConfigReader& keys, LlamaConfig& config) {
  const LlamaArchitecture& architecture = *config.architecture;
  config.attention_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  if (architecture.multipliers) {
    config.attention_scale = keys.positive("attention_multiplier").value_or(1);
    config.embedding_multiplier = keys.positive("embedding_multiplier").value_or(1);
    config.residual_multiplier = keys.positive("residual_multiplier").value_or(1);
    config.logits_divisor = keys.positive("logits_scaling").value_or(1);
  }
  if (architecture.mup_scales) {
    const auto layers = static_cast<double>(config.layers);
    config.embedding_multiplier = keys.positive("scale_emb").value_or(1);
    config.residual_multiplier = keys.positive("scale_depth").value_or(1) / std::sqrt(layers);
    config.logits_divisor = static_cast<double>(config.hidden_size) /
                            static_cast<double>(keys.optional_size("dim_model_base").value_or(1));
  }
  if (architecture.query_scalar) {
    constexpr std::int64_t kDefault = 256;
    config.query_scalar = keys.optional_size("query_pre_attn_scalar").value_or(kDefault);
    config.attention_scale = 1 / std::sqrt(static_cast<double>(config.query_scalar));
  }
  if (architecture.unit_norms) {
    config.norm_offset = 1;
    config.embedding_multiplier = std::sqrt(static_cast<double>(config.hidden_size));
  }
}

// A cap that is null is none, and not the default.
void read_soft_caps(const ConfigReader& keys, const nlohmann::json& json, LlamaConfig& config) {
  constexpr const char *kScores = "attn_logit_softcapping", *kLogits = "final_logit_softcapping";
  const CapRule rule = config.architecture->caps;
  if (rule == CapRule::kNone) return;
  const bool both = rule == CapRule::kBoth;
  const auto cap = [&](const char* key, double absent) {
    return json.contains(key) ? keys.positive(key).value_or(0) : absent;
  };
  config.attention_cap = cap(kScores, both ? 50 : 0);
  config.logits_cap = cap(kLogits, both ? 30 : 0);
  if (!both && config.attention_cap != 0) {
    fail("{} is {}, which {} does not compute: expected null", kScores, config.attention_cap,
         class_of(*config.architecture));
  }
}

// Why a model of the architecture cannot be given biases in its FFN alone; empty: it can.
std::string_view no_ffn_bias(const LlamaArchitecture& architecture) {
  const std::string_view key = architecture.mlp_bias;
  if (key.empty()) return "has no place for a bias of down_proj";
  if (key == architecture.qkv_bias || key == architecture.o_bias) {
    return "has biases of down_proj only together with those of its attention";
  }
  return {};
}

// What the keys that the architecture has say of biases.
void read_biases(const ConfigReader& keys, LlamaConfig& config) {
  const LlamaArchitecture& architecture = *config.architecture;
  const auto stated = [&keys](std::string_view key, bool absent) {
    return key.empty() ? absent : keys.flag(key, absent);
  };
  config.qkv_bias = stated(architecture.qkv_bias, architecture.has_qkv_bias);
  const bool one_key = architecture.o_bias == architecture.qkv_bias && !architecture.o_bias.empty();
  config.o_bias = one_key ? config.qkv_bias : stated(architecture.o_bias, false);
  config.mlp_bias = stated(architecture.mlp_bias, false);
  config.compensated = keys.flag(kCompensatedKey, false);
  if (config.compensated && !config.mlp_bias) {
    if (const std::string_view why = no_ffn_bias(architecture); !why.empty()) {
      fail("{} is true, and {} {}", kCompensatedKey, class_of(architecture), why);
    }
    config.mlp_bias = true;
  }
  const LlamaArchitecture& written = written_as(architecture);
  if (written.qkv_bias == written.o_bias && !written.has_qkv_bias &&
      config.qkv_bias != config.o_bias) {
    fail("{} is {} and {} is {}: expected the same, since submodels are written as {}",
         architecture.qkv_bias, config.qkv_bias, architecture.o_bias, config.o_bias,
         class_of(written));
  }
}

// Of the key that transformers has for layers that differ: from the layers' numbers, as text, to
// what is otherwise in them. The FFN's width may be.
std::vector<Width> read_per_layer_config(const ConfigReader& keys, std::int64_t layers) {
  const ConfigReader map = *keys.object("per_layer_config");
  const auto usual = keys.optional_size("intermediate_size");
  std::vector<Width> widths(static_cast<std::size_t>(layers),
                            static_cast<Width>(usual.value_or(0)));
  for (const auto& [number, own] : keys.find("per_layer_config")->items()) {
    std::size_t layer = widths.size();
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), layer);
    if (error != std::errc() || end != number.data() + number.size() || layer >= widths.size()) {
      fail("per_layer_config has the key '{}', expected a layer's number from 0 to {}", number,
           layers - 1);
    }
    const std::optional<ConfigReader> object = map.object(number);
    if (!object) continue;
    for (const auto& [key, value] : own.items()) {
      if (key != "intermediate_size") {
        fail("{} is {}, which is not computed here: expected intermediate_size alone",
             object->name(key), shown(value));
      }
    }
    if (const auto width = object->optional_size("intermediate_size")) {
      widths[layer] = static_cast<Width>(*width);
    }
  }
  if (std::ranges::find(widths, 0) != widths.end()) {
    fail("intermediate_size is missing, and per_layer_config does not say it of every layer");
  }
  return widths;
}

// Full FFN width of every layer: intermediate_size, or per_layer_config or matformer_widths where
// layers differ.
std::vector<Width> read_full_widths(const ConfigReader& keys, std::int64_t layers) {
  if (keys.object("per_layer_config")) {
    if (keys.find(kWidthsKey) != nullptr) {
      fail("per_layer_config and {} are both there: expected one of them", kWidthsKey);
    }
    return read_per_layer_config(keys, layers);
  }
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
  if (config.architecture == &llama_architectures().front() &&
      config.hidden_size % config.heads != 0) {
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
                            3.0 * layer.back() + 8.0) +
                  static_cast<double>(config.q_norm_size() + config.k_norm_size());
  }
  if (parameters > kMaxParameters) {
    fail(
        "hidden_size {}, intermediate_size, num_hidden_layers {} and vocab_size {} together make "
        "{:.3g} parameters, more than 2^53",
        config.hidden_size, config.layers, config.vocab_size, parameters);
  }
}

}  // namespace

std::int64_t LlamaConfig::context() const {
  if (!rope_scaling || rope_scaling->type != RopeType::kDynamic) return max_position_embeddings;
  const double longer = static_cast<double>(max_position_embeddings) * rope_scaling->factor;
  return static_cast<std::int64_t>(std::min(longer, static_cast<double>(kMaxSize)));
}

std::string LlamaConfig::differs_from_llama() const {
  if (qkv_bias != o_bias) return "it has biases on q, k and v alone";
  if (architecture->fused_qkv || architecture->fused_ffn) return "its matrices are fused";
  if (architecture->turns_pairs) return "positions turn neighbours of its heads";
  if (architecture->norms_after()) return "it norms what blocks give";
  if (attention_cap != 0 || logits_cap != 0) return "it caps scores or logits";
  if (head_norms != HeadNorms::kNone) return "it norms the heads of q and k";
  if (attention_scale != 1 / std::sqrt(static_cast<double>(head_dim)) ||
      embedding_multiplier != 1 || residual_multiplier != 1 || logits_divisor != 1) {
    return "it has multipliers";
  }
  if (rotary_dim != head_dim) return "it turns a part of every head";
  if (local_theta != 0) return "some of its layers have another RoPE";
  if (norm_offset != 0) return "its norms multiply by 1 + weight";
  if (std::ranges::find(turns, false) != turns.end()) return "some of its layers do not turn heads";
  if (std::ranges::any_of(windows, [](std::int64_t window) { return window != 0; })) {
    return "it attends to a window of positions";
  }
  return "";
}

std::string_view to_string(GateVariant gate) {
  return gate == GateVariant::kActOfProduct ? "act(gate*up)" : "act(gate)*up";
}

LlamaConfig parse_llama_config(const nlohmann::json& json, const Nesting& nesting) {
  const ConfigReader keys(json);
  const LlamaArchitecture* const architecture = find_llama_architecture(json);
  if (architecture == nullptr) fail("model_type is {}", shown(json["model_type"]));
  refuse_other_models(keys, *architecture);

  LlamaConfig config;
  config.architecture = architecture;
  config.layers = keys.size("num_hidden_layers", kMaxLayers);
  config.hidden_size = keys.size("hidden_size");
  config.heads = keys.size("num_attention_heads");
  const std::int64_t kv_heads = architecture->kv_heads;
  config.kv_heads =
      keys.optional_size("num_key_value_heads")
          .value_or(kv_heads > 0 && !json.contains("num_key_value_heads") ? kv_heads
                                                                          : config.heads);
  config.head_dim = keys.optional_size("head_dim")
                        .value_or(architecture->head_dim > 0 ? architecture->head_dim
                                                             : config.hidden_size / config.heads);
  config.vocab_size = keys.size("vocab_size");
  // Absent keys mean what transformers' configuration of the architecture means by them.
  config.max_position_embeddings =
      keys.optional_size("max_position_embeddings").value_or(architecture->positions);
  config.rms_norm_eps = keys.positive("rms_norm_eps").value_or(architecture->epsilon);
  config.initializer_range = keys.positive("initializer_range").value_or(0.02);
  config.tied = keys.flag("tie_word_embeddings", architecture->tied);
  read_biases(keys, config);
  config.head_norms = architecture->head_norms;
  config.hidden_act = keys.text(architecture->act_key).value_or(std::string(architecture->act));
  if (architecture->gelu_is_tanh && config.hidden_act == "gelu") {
    config.hidden_act = "gelu_pytorch_tanh";
  }
  config.activation = parse_activation(config.hidden_act, architecture->act_key);
  config.gate = parse_gate(keys);
  read_rope(keys, config);
  read_multipliers(keys, config);
  read_soft_caps(keys, json, config);
  config.turns = read_turns(keys, config);
  read_windows(keys, json, config);
  config.dtype = stated_dtype(json).value_or(Dtype::kF32);
  config.granularities =
      resolve_granularities(keys.find(kGranularitiesKey), kGranularitiesKey, nesting.granularities,
                            read_full_widths(keys, config.layers));
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
  const auto map = shorter.find("per_layer_config");
  if (map != shorter.end() && map->is_object() && !map->empty()) {
    const std::vector<Width> all = read_full_widths(
        ConfigReader(config), ConfigReader(config).size("num_hidden_layers", kMaxLayers));
    if (std::cmp_less(all.size(), layers)) {
      fail_usage("per_layer_config says what {} layers are: more of them cannot be made up",
                 all.size());
    }
    for (std::size_t layer = static_cast<std::size_t>(layers); layer < all.size(); ++layer) {
      map->erase(fmt::format("{}", layer));
    }
  }
  for (const char* key : {"layer_types", "no_rope_layers"}) {
    const auto list = shorter.find(key);
    if (list == shorter.end() || !list->is_array()) continue;
    if (std::cmp_less(list->size(), layers)) {
      fail_usage("{} says what {} layers are: more of them cannot be made up", key, list->size());
    }
    list->erase(list->begin() + layers, list->end());
  }
  return shorter;
}

}  // namespace mnm
