#include "families/gemma3n/config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/granularities.h"

namespace mnm {
namespace {

constexpr double kMaxParameters = 9007199254740992.0;  // 2^53: every sum of sizes stays exact
constexpr std::int64_t kMostStreams = 64;
constexpr const char *kSliding = "sliding_attention", *kFull = "full_attention";

bool is_multimodal(const nlohmann::json& config) {
  const auto type = config.find("model_type");
  return type != config.end() && *type == kGemma3nModelType;
}

void refuse_other_models(const nlohmann::json& json, const ConfigReader& text) {
  const ConfigReader keys(json);
  const char* const own = is_multimodal(json) ? kGemma3nClass : kGemma3nTextClass;
  if (const nlohmann::json* list = keys.find("architectures")) {
    if (!list->is_array() || list->size() != 1 || list->front() != own) {
      fail("architectures is {}, expected {}", shown(*list), own);
    }
  }
  const std::string type = text.text("model_type").value_or(kGemma3nTextModelType);
  if (type != kGemma3nTextModelType) {
    fail("{} is '{}', expected {}", text.name("model_type"), type, kGemma3nTextModelType);
  }
  for (const ConfigReader& reader : {keys, text}) {
    if (reader.find("quantization_config") != nullptr) {
      fail("{} is set, which is not computed here: expected f32, f16 or bf16",
           reader.name("quantization_config"));
    }
  }
  const std::string act = text.text("hidden_activation").value_or("gelu_pytorch_tanh");
  if (act != "gelu_pytorch_tanh") {
    fail("{} is '{}', expected gelu_pytorch_tanh", text.name("hidden_activation"), act);
  }
}

void refuse_null(const ConfigReader& keys, const nlohmann::json& object, const char* key) {
  const auto value = object.find(key);
  if (value == object.end() || !value->is_null()) return;
  fail("{} is null, expected a value, or no such key", keys.name(key));
}

// transformers takes null for an absent key in others, and refuses it in these.
void refuse_nulls(const ConfigReader& keys, const nlohmann::json& text) {
  constexpr const char* kNeverNull[] = {"altup_active_idx",
                                        "altup_coef_clip",
                                        "altup_correct_scale",
                                        "altup_num_inputs",
                                        "attention_bias",
                                        "final_logit_softcapping",
                                        "head_dim",
                                        "hidden_activation",
                                        "hidden_size",
                                        "hidden_size_per_layer_input",
                                        "initializer_range",
                                        "intermediate_size",
                                        "laurel_rank",
                                        "max_position_embeddings",
                                        "num_attention_heads",
                                        "num_hidden_layers",
                                        "num_key_value_heads",
                                        "num_kv_shared_layers",
                                        "rms_norm_eps",
                                        "sliding_window",
                                        "tie_word_embeddings",
                                        "vocab_size",
                                        "vocab_size_per_layer_input"};
  for (const char* key : kNeverNull) refuse_null(keys, text, key);
}

std::int64_t size_or(const ConfigReader& keys, const char* key, std::int64_t absent) {
  return keys.optional_size(key).value_or(absent);
}

// A whole number from 0 to `most`.
std::int64_t count_or(const ConfigReader& keys, const char* key, std::int64_t most,
                      std::int64_t absent) {
  const nlohmann::json* value = keys.find(key);
  if (value == nullptr) return absent;
  const double number = value->is_number_integer() ? value->get<double>() : -1;
  if (number < 0 || number > static_cast<double>(most)) {
    fail("{} is {}, expected a whole number from 0 to {}", keys.name(key), shown(*value), most);
  }
  return value->get<std::int64_t>();
}

// A list with one entry for each layer; nullptr if there is none.
const nlohmann::json* list_of(const ConfigReader& keys, const char* key, std::int64_t layers) {
  const nlohmann::json* list = keys.find(key);
  if (list == nullptr) return nullptr;
  if (!list->is_array() || std::cmp_not_equal(list->size(), layers)) {
    fail("{} is {}, expected one for each of the {} layers", keys.name(key), shown(*list), layers);
  }
  return list;
}

std::vector<bool> read_types(const ConfigReader& keys, std::int64_t layers) {
  constexpr std::int64_t kFullEvery = 5;
  std::vector<bool> sliding;
  const nlohmann::json* list = list_of(keys, "layer_types", layers);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    if (list == nullptr) {
      sliding.push_back((layer + 1) % kFullEvery != 0);
      continue;
    }
    const nlohmann::json& type = (*list)[static_cast<std::size_t>(layer)];
    if (type != kSliding && type != kFull) {
      fail("{} holds {}, expected {} or {}", keys.name("layer_types"), shown(type), kFull,
           kSliding);
    }
    sliding.push_back(type == kSliding);
  }
  return sliding;
}

std::vector<double> read_sparsity(const ConfigReader& keys, std::int64_t layers) {
  constexpr std::int64_t kSparse = 10;
  constexpr double kUsual = 0.95;
  const char* const key = "activation_sparsity_pattern";
  std::vector<double> sparsity(static_cast<std::size_t>(layers), 0.0);
  const nlohmann::json* list = list_of(keys, key, layers);
  for (std::size_t layer = 0; layer < sparsity.size(); ++layer) {
    if (list == nullptr) {
      if (layers > kSparse && std::cmp_less(layer, kSparse)) sparsity[layer] = kUsual;
      continue;
    }
    const nlohmann::json& value = (*list)[layer];
    const double share = value.is_number() ? value.get<double>() : -1;
    if (!(share >= 0 && share < 1)) {
      fail("{} holds {}, expected shares from 0 to below 1", keys.name(key), shown(value));
    }
    sparsity[layer] = share;
  }
  return sparsity;
}

// [layers]: whose keys and values each reads. The last `shared` layers read those of the last layer
// before them that has the same type and its own.
std::vector<std::int64_t> read_sources(const std::vector<bool>& sliding, std::int64_t shared) {
  const auto layers = static_cast<std::int64_t>(sliding.size()), own = layers - shared;
  std::vector<std::int64_t> source;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    std::int64_t from = std::min(layer, own - 1);
    const bool type = sliding[static_cast<std::size_t>(layer)];
    while (layer >= own && from >= 0 && sliding[static_cast<std::size_t>(from)] != type) --from;
    if (from < 0) {
      fail(
          "num_kv_shared_layers is {}: layer {}, of {}, would read the keys and values of an "
          "earlier layer of its type, and none of the first {} layers is of it",
          shared, layer, type ? kSliding : kFull, own);
    }
    source.push_back(layer < own ? layer : from);
  }
  return source;
}

// Of one layer type in rope_parameters. What that does not say is of an older file's key.
double read_theta(const ConfigReader& keys, const char* type, const char* old_key, double absent) {
  const double old = keys.positive(old_key).value_or(absent);
  const std::optional<ConfigReader> all = keys.object("rope_parameters");
  const std::optional<ConfigReader> own = all ? all->object(type) : std::nullopt;
  if (!own) return old;
  const std::optional<ConfigReader::Spelled> kind = own->text("rope_type", "type");
  if (kind && kind->text != "default") fail("{} is '{}', expected default", kind->name, kind->text);
  return own->positive("rope_theta").value_or(old);
}

void read_rope(const ConfigReader& keys, Gemma3nConfig& config) {
  config.full_theta = read_theta(keys, kFull, "rope_theta", config.full_theta);
  config.sliding_theta = read_theta(keys, kSliding, "rope_local_base_freq", config.sliding_theta);
  // transformers adds it to what rope_parameters says of layers that attend to all positions.
  if (const nlohmann::json* scaling = keys.find("rope_scaling")) {
    fail("{} is {}, expected null: Gemma 3n turns by plain angles", keys.name("rope_scaling"),
         shown(*scaling));
  }
}

std::vector<Width> read_full_widths(const ConfigReader& keys, std::int64_t layers) {
  constexpr Width kUsual = 16384;
  const char* const key = "intermediate_size";
  const nlohmann::json* value = keys.find(key);
  if (value == nullptr || !value->is_array()) {
    return std::vector<Width>(static_cast<std::size_t>(layers),
                              static_cast<Width>(size_or(keys, key, kUsual)));
  }
  std::vector<Width> widths;
  for (const nlohmann::json& item : *list_of(keys, key, layers)) {
    const double width = item.is_number_integer() ? item.get<double>() : 0;
    if (width < 1 || width > static_cast<double>(kMaxSize)) {
      fail("{} holds {}, expected widths from 1 to {}", keys.name(key), shown(item), kMaxSize);
    }
    widths.push_back(item.get<Width>());
  }
  return widths;
}

// The released E4B was trained at half of its FFNs' width too, and that is 8 times hidden_size.
std::string usual_granularities(const std::vector<Width>& full, std::int64_t hidden_size) {
  const bool released = std::ranges::all_of(
      full, [&](Width width) { return std::int64_t{width} == 8 * hidden_size; });
  return released ? "1/2,1" : "";
}

void read_sizes(const ConfigReader& keys, Gemma3nConfig& config) {
  config.layers = keys.optional_size("num_hidden_layers", kMaxLayers).value_or(35);
  config.hidden_size = size_or(keys, "hidden_size", 2048);
  config.heads = size_or(keys, "num_attention_heads", 8);
  config.kv_heads = size_or(keys, "num_key_value_heads", 2);
  config.head_dim = size_or(keys, "head_dim", 256);
  config.vocab_size = size_or(keys, "vocab_size", 262400);
  config.layer_vocab = size_or(keys, "vocab_size_per_layer_input", 262144);
  config.layer_inputs = size_or(keys, "hidden_size_per_layer_input", 256);
  config.streams = keys.optional_size("altup_num_inputs", kMostStreams).value_or(4);
  config.active_stream = count_or(keys, "altup_active_idx", config.streams - 1, 0);
  config.laurel_rank = size_or(keys, "laurel_rank", 64);
  config.max_position_embeddings = size_or(keys, "max_position_embeddings", 32768);
  config.window = size_or(keys, "sliding_window", 512);
  if (config.heads % config.kv_heads != 0) {
    fail("num_attention_heads is {}, expected a multiple of num_key_value_heads, {}", config.heads,
         config.kv_heads);
  }
  if (config.hidden_size % config.heads != 0) {
    fail("hidden_size is {}, expected a multiple of num_attention_heads, {}", config.hidden_size,
         config.heads);
  }
  if (config.head_dim % 2 != 0) {
    fail("head_dim is {}, expected an even number: rotary positions turn pairs", config.head_dim);
  }
}

// Whether head and embedding are one matrix. transformers' class with towers reads the outer key,
// and its text class, which loads the same directory, the inner one.
bool read_tied(const nlohmann::json& json, const ConfigReader& keys, bool multimodal) {
  const char* const key = "tie_word_embeddings";
  const bool tied = keys.flag(key, true);
  if (!multimodal) return tied;
  const ConfigReader outer(json);
  refuse_null(outer, json, key);  // transformers takes it for false
  if (outer.flag(key, true) != tied) {
    fail(
        "{} is {}, and {} is {}, where an absent one is true: two classes of transformers read one "
        "each, so the two must agree",
        key, !tied, keys.name(key), tied);
  }
  return tied;
}

void check_number(const Gemma3nConfig& config) {
  const auto d = static_cast<double>(config.hidden_size), l = static_cast<double>(config.layers),
             inputs = static_cast<double>(config.layer_inputs),
             streams = static_cast<double>(config.streams);
  const double heads = static_cast<double>(config.heads) * static_cast<double>(config.head_dim);
  const double layer =
      d * (4 * heads + 2 * static_cast<double>(config.laurel_rank) + 2 * inputs + 2 * streams + 16);
  double parameters = 2 * static_cast<double>(config.vocab_size) * d +
                      static_cast<double>(config.layer_vocab) * l * inputs + l * inputs * d +
                      2 * streams * d * d + l * layer;
  for (const std::vector<Width>& list : config.granularities) parameters += 3 * d * list.back();
  if (parameters > kMaxParameters || heads > static_cast<double>(kMaxSize) ||
      l * inputs > static_cast<double>(kMaxSize)) {
    fail("the sizes of the config make {:.3g} parameters, more than 2^53, or a matrix past {} rows",
         parameters, kMaxSize);
  }
}

}  // namespace

std::int64_t Gemma3nConfig::own_layers() const {
  std::int64_t own = 0;
  while (own < layers && has_own_kv(static_cast<std::size_t>(own))) ++own;
  return own;
}

bool Gemma3nConfig::is_producer(std::size_t layer) const {
  return std::ranges::find(source.begin() + own_layers(), source.end(),
                           static_cast<std::int64_t>(layer)) != source.end();
}

const nlohmann::json& gemma3n_text_keys(const nlohmann::json& config) {
  if (!is_multimodal(config)) return config;
  const auto text = config.find("text_config");
  if (text == config.end() || !text->is_object()) {
    fail("text_config is {}, expected an object",
         text == config.end() ? std::string("missing") : shown(*text));
  }
  return *text;
}

std::string usual_skips(const Gemma3nConfig& config) {
  constexpr std::int64_t kLayers = 35, kOwn = 20;
  const bool released = config.layers == kLayers && config.own_layers() == kOwn &&
                        config.full_width(0) == 8 * config.hidden_size;
  return released ? "20-24" : "";
}

Gemma3nConfig parse_gemma3n_config(const nlohmann::json& json, const Nesting& nesting) {
  Gemma3nConfig config;
  config.multimodal = is_multimodal(json);
  const nlohmann::json& text = gemma3n_text_keys(json);
  const ConfigReader keys(text, config.multimodal ? "text_config." : "");
  refuse_other_models(json, keys);
  refuse_nulls(keys, text);
  read_sizes(keys, config);
  config.rms_norm_eps = keys.positive("rms_norm_eps").value_or(1e-6);
  config.initializer_range = keys.positive("initializer_range").value_or(0.02);
  config.soft_cap = keys.positive("final_logit_softcapping").value_or(30);
  config.coef_clip = keys.positive("altup_coef_clip").value_or(120);
  config.attention_bias = keys.flag("attention_bias", false);
  config.correct_scale = keys.flag("altup_correct_scale", true);
  config.unused_kv = keys.flag(kUnusedKvKey, true);
  config.sample_deviation = keys.flag(kSampleDeviationKey, false);
  config.tied = read_tied(json, keys, config.multimodal);
  config.dtype = stated_dtype(json).value_or(stated_dtype(text).value_or(Dtype::kF32));
  read_rope(keys, config);
  config.sliding = read_types(keys, config.layers);
  config.sparsity = read_sparsity(keys, config.layers);
  config.source =
      read_sources(config.sliding, count_or(keys, "num_kv_shared_layers", config.layers, 15));
  const std::vector<Width> full = read_full_widths(keys, config.layers);
  const nlohmann::json* stated = keys.find(kGranularitiesKey);
  std::string said = nesting.granularities;
  if (said.empty() && stated == nullptr) said = usual_granularities(full, config.hidden_size);
  config.granularities = resolve_granularities(stated, kGranularitiesKey, said, full);
  check_number(config);
  return config;
}

nlohmann::json gemma3n_config_with_layers(const nlohmann::json& given, std::int64_t layers) {
  const Gemma3nConfig config = parse_gemma3n_config(given, {});
  if (layers > config.layers) {
    fail_usage("the config says what each of {} layers is: more of them cannot be made up",
               config.layers);
  }
  nlohmann::json json = given;
  nlohmann::json& text = config.multimodal ? json["text_config"] : json;
  keep_first_layers(text, layers);
  text["num_hidden_layers"] = layers;
  text["num_kv_shared_layers"] = std::max<std::int64_t>(0, layers - config.own_layers());
  text["layer_types"] = nlohmann::json::array();
  text["activation_sparsity_pattern"] = nlohmann::json::array();
  text["intermediate_size"] = nlohmann::json::array();
  for (std::size_t layer = 0; std::cmp_less(layer, layers); ++layer) {
    text["layer_types"].push_back(config.sliding[layer] ? kSliding : kFull);
    text["activation_sparsity_pattern"].push_back(config.sparsity[layer]);
    text["intermediate_size"].push_back(config.full_width(layer));
  }
  return json;
}

}  // namespace mnm
