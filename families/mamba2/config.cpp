#include "families/mamba2/config.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "families/config_reader.h"

namespace mnm {
namespace {

constexpr double kMaxParameters = 9007199254740992.0;  // 2^53: every sum of sizes stays exact

// A whole number of a config whose absence means `absent`.
std::int64_t size_or(const ConfigReader& keys, std::string_view key, std::int64_t absent) {
  return keys.optional_size(key).value_or(absent);
}

// `key` must say nothing but `only`, what `why` explains.
void refuse_unless(const ConfigReader& keys, std::string_view key, const nlohmann::json& only,
                   std::string_view why) {
  const nlohmann::json* value = keys.find(key);
  if (value == nullptr || *value == only) return;
  fail("{} is {}, expected {}: {}", keys.name(key), shown(*value), shown(only), why);
}

// Infinity is null (as read_json reads Python's bare Infinity), or transformers'
// {"__float__": "Infinity"}.
TimeStepLimit read_limit(const ConfigReader& keys, std::string_view key) {
  TimeStepLimit limit;
  const nlohmann::json* value = keys.find(key);
  if (value == nullptr) return limit;
  const nlohmann::json infinity = {{"__float__", "Infinity"}};
  const bool pair = value->is_array() && value->size() == 2;
  if (pair && value->front().is_number()) limit.low = value->front().get<double>();
  const bool endless = pair && (value->back() == infinity || value->back().is_null());
  if (pair && value->back().is_number()) limit.high = value->back().get<double>();
  if (!pair || !value->front().is_number() || !(endless || value->back().is_number()) ||
      !(limit.low >= 0) || !std::isfinite(limit.low) || !(limit.high > 0) ||
      !(limit.high >= limit.low)) {
    fail("{} is {}, expected [low, high] with 0 <= low <= high, and high above 0 or Infinity",
         keys.name(key), shown(*value));
  }
  return limit;
}

// matformer_widths: one width for each layer, at most `uniform`, which is `what`.
std::vector<Width> read_widths(const nlohmann::json& list, std::size_t layers, std::int64_t uniform,
                               std::string_view what) {
  if (!list.is_array() || list.size() != layers) {
    fail("{} is {}, expected one width for each of the {} layers", kWidthsKey, shown(list), layers);
  }
  std::vector<Width> widths;
  for (const nlohmann::json& value : list) {
    const std::int64_t width = value.is_number_integer() ? value.get<std::int64_t>() : 0;
    if (width < 1 || width > uniform) {
      fail("{} holds {}, expected widths from 1 to {}, {}", kWidthsKey, shown(value), what,
           uniform);
    }
    widths.push_back(static_cast<Width>(width));
  }
  return widths;
}

// Full width of every layer: `uniform`, or matformer_widths, whose widest is `uniform` too.
std::vector<Width> read_full_widths(const ConfigReader& keys, std::int64_t layers,
                                    std::int64_t uniform) {
  const auto count = static_cast<std::size_t>(layers);
  const nlohmann::json* list = keys.find(kWidthsKey);
  if (list == nullptr) return std::vector<Width>(count, static_cast<Width>(uniform));
  const std::vector<Width> widths = read_widths(*list, count, uniform, "num_heads * head_dim / 2");
  if (std::ranges::max(widths) != uniform) {
    fail("{} has {} as its widest, expected num_heads * head_dim / 2, {}", kWidthsKey,
         std::ranges::max(widths), uniform);
  }
  return widths;
}

void check_size(const Mamba2Config& config, std::span<const Width> full) {
  const auto hidden = static_cast<double>(config.hidden_size);
  double parameters = 2 * static_cast<double>(config.vocab_size) * hidden;
  for (const Width width : full) {
    const auto inner = static_cast<double>(config.inner(width));
    const double mixed =
        inner + 2 * static_cast<double>(config.groups) * static_cast<double>(config.state_size);
    parameters += hidden * (3 * inner + mixed + 2) +
                  mixed * static_cast<double>(config.conv_kernel) + 8 * inner;
  }
  if (!(parameters <= kMaxParameters)) {
    fail(
        "hidden_size {}, {} layers, state_size {}, conv_kernel {} and vocab_size {} together make "
        "{:.3g} parameters, more than 2^53",
        config.hidden_size, config.layers, config.state_size, config.conv_kernel, config.vocab_size,
        parameters);
  }
}

// Checks that hold for both layouts, and the granularities. `full`: each layer's full width.
void finish(Mamba2Config& config, const nlohmann::json* stated, std::string_view said,
            std::span<const Width> full) {
  check_size(config, full);
  const Width step = config.step();
  for (std::size_t layer = 0; layer < full.size(); ++layer) {
    if (full[layer] % step != 0) {
      fail("layer {} has full width {}, expected a multiple of {}: heads have {} channels", layer,
           full[layer], step, config.head_dim);
    }
    if (config.heads(full[layer]) % config.groups != 0) {
      fail("layer {} has {} heads, expected a multiple of n_groups, {}", layer,
           config.heads(full[layer]), config.groups);
    }
  }
  config.granularities = resolve_granularities(stated, kGranularitiesKey, said, full);
  for (std::size_t layer = 0; layer < full.size(); ++layer) {
    for (const Width width : config.granularities[layer]) {
      const bool whole = width % step == 0;
      if (whole && (config.groups == 1 || width == full[layer])) continue;
      const std::string why =
          whole ? fmt::format(
                      "with {} groups of B and C a head's group moves with the width, so "
                      "only the full width {} is a model",
                      config.groups, full[layer])
                : fmt::format("widths are multiples of half a head, {}", step);
      if (stated == nullptr && !said.empty()) {
        fail_usage("granularities '{}': {} in layer {} is no width: {}", said, width, layer, why);
      }
      fail("{} has {} in layer {}, which is no width: {}", kGranularitiesKey, width, layer, why);
    }
  }
}

// `inner` channels as heads of head_dim; widths are half of them.
std::int64_t width_of_inner(const Mamba2Config& config, std::int64_t inner, std::string_view what) {
  if (inner % config.head_dim != 0) {
    fail("{} is {}, expected a multiple of the head's size, {}", what, inner, config.head_dim);
  }
  if (inner % kInnerPerWidth != 0) {
    fail("{} is {}, expected an even number: width m stands for 2m channels", what, inner);
  }
  return inner / kInnerPerWidth;
}

void refuse_activation(const ConfigReader& keys) {
  const std::string name = keys.text("hidden_act").value_or("silu");
  if (name != "silu" && name != "swish") {
    fail("hidden_act is '{}', expected silu: it is what Mamba-2 computes here", name);
  }
}

// ---- Hugging Face

Mamba2Config parse_huggingface(const nlohmann::json& json, const Nesting& nesting) {
  const ConfigReader keys(json);
  if (const nlohmann::json* list = keys.find("architectures")) {
    const nlohmann::json expected[] = {"Mamba2ForCausalLM", "MixNMatchMamba2ForCausalLM"};
    if (!list->is_array() || list->size() != 1 ||
        std::ranges::find(expected, list->front()) == std::end(expected)) {
      fail("architectures is {}, expected Mamba2ForCausalLM", shown(*list));
    }
  }
  if (keys.find("quantization_config") != nullptr) {
    fail("quantization_config is set, which is not computed here: expected plain f32, f16 or bf16");
  }
  refuse_activation(keys);

  // Absent keys mean what transformers' Mamba2Config means by them.
  Mamba2Config config;
  config.layers = keys.size("num_hidden_layers", kMaxLayers);
  config.hidden_size = keys.size("hidden_size");
  config.vocab_size = keys.size("vocab_size");
  config.head_dim = size_or(keys, "head_dim", 64);
  config.state_size = size_or(keys, "state_size", 128);
  config.groups = size_or(keys, "n_groups", 8);
  config.conv_kernel = size_or(keys, "conv_kernel", 4);
  config.chunk_size = size_or(keys, "chunk_size", 256);
  config.bias = keys.flag("use_bias", false);
  config.conv_bias = keys.flag("use_conv_bias", true);
  config.tied = keys.flag("tie_word_embeddings", false);
  config.residual_in_fp32 = keys.flag("residual_in_fp32", true);
  config.norm_eps = keys.positive("layer_norm_epsilon").value_or(1e-5);
  config.initializer_range = keys.positive("initializer_range").value_or(0.1);
  config.rescale_prenorm_residual = keys.flag("rescale_prenorm_residual", false);
  config.time_step_min = keys.positive("time_step_min").value_or(0.001);
  config.time_step_max = keys.positive("time_step_max").value_or(0.1);
  config.time_step_floor = keys.positive("time_step_floor").value_or(1e-4);
  config.time_step_limit = read_limit(keys, "time_step_limit");
  if (config.time_step_max < config.time_step_min) {
    fail("time_step_max is {}, expected at least time_step_min, {}", config.time_step_max,
         config.time_step_min);
  }
  config.dtype = stated_dtype(json).value_or(Dtype::kF32);

  const std::int64_t heads = size_or(keys, "num_heads", 128);
  if (heads > kMaxSize / config.head_dim) {
    fail("num_heads is {} and head_dim {}: their product is past {}", heads, config.head_dim,
         kMaxSize);
  }
  const std::int64_t inner = heads * config.head_dim;
  const std::int64_t expand = size_or(keys, "expand", 2);
  if (keys.find(kWidthsKey) == nullptr && inner != config.hidden_size * expand) {
    fail("num_heads * head_dim is {}, expected hidden_size * expand, {}", inner,
         config.hidden_size * expand);
  }
  const std::int64_t width = width_of_inner(config, inner, "num_heads * head_dim");
  finish(config, keys.find(kGranularitiesKey), nesting.granularities,
         read_full_widths(keys, config.layers, width));
  return config;
}

// ---- mamba_ssm

void refuse_unknown(const ConfigReader& keys, const nlohmann::json& object,
                    std::span<const std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(known, key) == known.end()) {
      fail("{} is not a setting of a Mamba-2 block in mamba_ssm", keys.name(key));
    }
  }
}

void parse_block(const ConfigReader& keys, const nlohmann::json& object, Mamba2Config& config,
                 bool matmamba) {
  static constexpr std::string_view kKnown[] = {"layer",
                                                "d_state",
                                                "d_conv",
                                                "conv_init",
                                                "expand",
                                                "headdim",
                                                "d_ssm",
                                                "ngroups",
                                                "rmsnorm",
                                                "A_init_range",
                                                "norm_before_gate",
                                                "D_has_hdim",
                                                "dt_min",
                                                "dt_max",
                                                "dt_init_floor",
                                                "dt_limit",
                                                "bias",
                                                "conv_bias",
                                                "chunk_size",
                                                "use_mem_eff_path",
                                                "proj_drop_rate",
                                                "sequence_parallel"};
  refuse_unknown(keys, object, kKnown);
  refuse_unless(keys, "rmsnorm", true, "blocks without a gated norm are not computed here");
  refuse_unless(keys, "norm_before_gate", false, "the norm is taken after the gate here");
  refuse_unless(keys, "D_has_hdim", false, "D is one number per head here");

  config.state_size = size_or(keys, "d_state", 128);
  config.groups = size_or(keys, "ngroups", 1);
  config.conv_kernel = size_or(keys, "d_conv", 4);
  config.chunk_size = size_or(keys, "chunk_size", 256);
  config.bias = keys.flag("bias", false);
  config.conv_bias = keys.flag("conv_bias", true);
  config.time_step_min = keys.positive("dt_min").value_or(0.001);
  config.time_step_max = keys.positive("dt_max").value_or(0.1);
  config.time_step_floor = keys.positive("dt_init_floor").value_or(1e-4);
  config.time_step_limit = read_limit(keys, "dt_limit");
  if (config.time_step_max < config.time_step_min) {
    fail("{} is {}, expected at least {}, {}", keys.name("dt_max"), config.time_step_max,
         keys.name("dt_min"), config.time_step_min);
  }
  if (matmamba) {
    config.head_dim = config.hidden_size / 32;  // whatever headdim says
    if (config.head_dim < 1) {
      fail("d_model is {}, expected at least 32: a MatMamba2 head has d_model / 32 channels",
           config.hidden_size);
    }
  } else {
    config.head_dim = size_or(keys, "headdim", 64);
  }
}

// Whether the blocks are MatMamba's and not plain Mamba-2's. Error where they are neither.
bool is_matmamba(const ConfigReader& keys, const nlohmann::json& json, const ConfigReader& block,
                 const Nesting& nesting) {
  // The first Mamba's configs name no block, either. Those of code that knows a second one have at
  // least one of these keys (mamba_ssm 2.0's MambaConfig), and so have MatMamba's.
  static constexpr std::string_view kLater[] = {"d_intermediate", "attn_layer_idx", "attn_cfg",
                                                "tie_embeddings", kGranularitiesKey};
  const bool later =
      std::ranges::any_of(kLater, [&](std::string_view key) { return json.contains(key); });
  if (!block.text("layer") && !later && nesting.granularities.empty()) {
    fail(
        "{} names no layer, and the config has no key that mamba_ssm 2 writes: this may be the "
        "first Mamba, whose block is not computed here; if it is a MatMamba2, say so with "
        "\"ssm_cfg\": {{\"layer\": \"MatMamba2\"}}",
        keys.name("ssm_cfg"));
  }
  const std::string layer = block.text("layer").value_or("MatMamba2");
  if (layer != "MatMamba2" && layer != "Mamba2") {
    fail("{} is '{}', expected Mamba2 or MatMamba2: it is the only block computed here",
         block.name("layer"), layer);
  }
  return layer == "MatMamba2";
}

// Its blocks and their widths. What a model has around them, the caller has read.
void read_mamba_ssm_blocks(const ConfigReader& keys, const nlohmann::json& json,
                           const Nesting& nesting, Mamba2Config& config) {
  const nlohmann::json none = nlohmann::json::object();
  const std::optional<ConfigReader> given = keys.object("ssm_cfg");
  const ConfigReader block = given.value_or(ConfigReader(none, "ssm_cfg."));
  const bool matmamba = is_matmamba(keys, json, block, nesting);
  parse_block(block, given ? *keys.find("ssm_cfg") : none, config, matmamba);

  const std::int64_t expand = size_or(block, "expand", 2);
  if (expand > kMaxSize / config.hidden_size) {
    fail("d_model is {} and {} {}: their product is past {}", config.hidden_size,
         block.name("expand"), expand, kMaxSize);
  }
  const std::int64_t inner = expand * config.hidden_size;
  if (const auto part = block.optional_size("d_ssm"); part && *part != inner) {
    fail("{} is {}, expected expand * d_model, {}: blocks that are an MLP in part are not computed",
         block.name("d_ssm"), *part, inner);
  }
  const auto layers = static_cast<std::size_t>(config.layers);
  const Width uniform = static_cast<Width>(width_of_inner(config, inner, "expand * d_model"));
  std::vector<Width> full(layers, uniform);
  const nlohmann::json* const widths = keys.find(kWidthsKey);
  if (widths != nullptr) full = read_widths(*widths, layers, uniform, "expand * d_model / 2");
  const nlohmann::json* stated = keys.find(kGranularitiesKey);
  std::string_view said = nesting.granularities;
  if (matmamba && widths == nullptr && stated == nullptr && said.empty() && config.groups == 1 &&
      uniform % (8 * config.step()) == 0) {
    said = "1/8,1/4,1/2,1";
  }
  finish(config, stated, said, full);
}

// What every model of mamba_ssm's layout states of its layers.
Mamba2Config read_mamba_ssm_sizes(const ConfigReader& keys, const nlohmann::json& json) {
  Mamba2Config config;
  config.layers = keys.size("n_layer", kMaxLayers);
  config.hidden_size = keys.size("d_model");
  refuse_unless(keys, "d_intermediate", 0, "MLPs between the blocks are not computed here");
  refuse_unless(keys, "attn_layer_idx", nlohmann::json::array(),
                "attention layers are not computed here");
  // Absent keys mean what mamba_ssm's MambaConfig means by them.
  config.residual_in_fp32 = keys.flag("residual_in_fp32", true);
  config.initializer_range = 0.02;
  config.rescale_prenorm_residual = true;
  config.dtype = stated_dtype(json).value_or(Dtype::kF32);
  return config;
}

Mamba2Config parse_mamba_ssm(const nlohmann::json& json, const Nesting& nesting) {
  const ConfigReader keys(json);
  Mamba2Config config = read_mamba_ssm_sizes(keys, json);
  refuse_unless(keys, "rms_norm", true, "LayerNorm is not computed here");
  config.tied = keys.flag("tie_embeddings", true);
  const std::int64_t multiple = size_or(keys, "pad_vocab_size_multiple", 8);
  const std::int64_t words = size_or(keys, "vocab_size", 50277);
  config.vocab_size = (words + multiple - 1) / multiple * multiple;
  if (config.vocab_size > kMaxSize) {
    fail("vocab_size is {}, which pad_vocab_size_multiple {} takes past {}", words, multiple,
         kMaxSize);
  }
  read_mamba_ssm_blocks(keys, json, nesting, config);
  return config;
}

}  // namespace

Width Mamba2Config::step() const {
  return static_cast<Width>(head_dim / std::gcd(head_dim, kInnerPerWidth));
}

bool is_mamba_ssm_config(const nlohmann::json& config) {
  return !config.contains("model_type") && config.contains("d_model") &&
         config.contains("n_layer") && !is_image_config(config);
}

bool is_image_config(const nlohmann::json& config) {
  return !config.contains("vocab_size") &&
         (config.contains("n_classes") || config.contains("patch_size"));
}

Mamba2Config parse_mamba_ssm_blocks(const nlohmann::json& json, const Nesting& nesting,
                                    std::int64_t outputs) {
  const ConfigReader keys(json);
  Mamba2Config config = read_mamba_ssm_sizes(keys, json);
  config.vocab_size = outputs;
  read_mamba_ssm_blocks(keys, json, nesting, config);
  return config;
}

Mamba2Config parse_mamba2_config(const nlohmann::json& config, const Nesting& nesting) {
  return is_mamba_ssm_config(config) ? parse_mamba_ssm(config, nesting)
                                     : parse_huggingface(config, nesting);
}

nlohmann::json mamba2_config_with_layers(const nlohmann::json& config, std::int64_t layers) {
  nlohmann::json shorter = config;
  shorter[is_mamba_ssm_config(config) ? "n_layer" : "num_hidden_layers"] = layers;
  keep_first_layers(shorter, layers);
  const auto widths = shorter.find(kWidthsKey);
  if (widths != shorter.end() && widths->is_array() && !widths->empty()) {
    // Reads whole numbers: describe() has refused anything else.
    const std::int64_t widest = std::ranges::max_element(*widths)->get<std::int64_t>();
    shorter["num_heads"] = widest * kInnerPerWidth / size_or(ConfigReader(shorter), "head_dim", 64);
  }
  return shorter;
}

}  // namespace mnm
