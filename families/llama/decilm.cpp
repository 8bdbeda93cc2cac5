#include "families/llama/decilm.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/granularities.h"
#include "families/llama/config.h"
#include "families/llama/huggingface.h"

namespace mnm {

extern const std::string_view modeling_mixnmatch_decilm;  // the bridge file's text

namespace {

constexpr std::string_view kBridge = "modeling_mixnmatch_decilm";

double six_decimals(double value) { return std::round(value * 1e6) / 1e6; }

// What a block may hold besides, if it says nothing with it: Llama's own attention and FFN.
void refuse_other_blocks(const ConfigReader& part) {
  for (const char* key :
       {"no_op", "replace_with_linear", "unshifted_sink", "use_prefill_window_in_sink_attention"}) {
    if (part.flag(key, false)) {
      fail("{} is true: every layer here has its attention and its FFN", part.name(key));
    }
  }
  for (const char* key :
       {"sparsify", "window_length", "num_sink_tokens", "moe", "mamba", "llama4"}) {
    if (const nlohmann::json* value = part.find(key)) {
      fail("{} is {}, which is not computed here: expected null", part.name(key), shown(*value));
    }
  }
}

ConfigReader part_of(const ConfigReader& block, const char* key) {
  const auto part = block.object(key);
  if (!part) fail("{} is missing, expected an object", block.name(key));
  refuse_other_blocks(*part);
  return *part;
}

Width width_of(const ConfigReader& ffn, std::int64_t hidden_size) {
  const std::optional<double> mult = ffn.positive("ffn_mult");
  if (!mult) return static_cast<Width>(ffn.size("intermediate_size"));  // as later ones spell it
  return width_of_ffn_mult(*mult, hidden_size);
}

}  // namespace

Width width_of_ffn_mult(double ffn_mult, std::int64_t hidden_size) {
  const double size = std::trunc(2 * six_decimals(ffn_mult) * static_cast<double>(hidden_size) / 3);
  constexpr double kMultiple = kDeciLmMultiple;
  const double rounded = std::ceil(size / kMultiple) * kMultiple;
  if (!(rounded >= 1 && rounded <= std::numeric_limits<Width>::max())) {
    fail("ffn_mult is {}, which makes an FFN of {} neurons", ffn_mult, rounded);
  }
  return static_cast<Width>(rounded);
}

double ffn_mult_of_width(Width width, std::int64_t hidden_size) {
  const double mult = six_decimals(1.5 * width / static_cast<double>(hidden_size));
  // Six decimals are too few for hidden sizes of millions, which no width comes near.
  if (width % kDeciLmMultiple == 0 && width_of_ffn_mult(mult, hidden_size) == width) return mult;
  const Width below = width / kDeciLmMultiple * kDeciLmMultiple;
  fail(
      "block_configs cannot say the width {}: its ffn_mult makes multiples of {}, the nearest are "
      "{}",
      width, kDeciLmMultiple,
      below > 0 ? fmt::format("{} and {}", below, below + kDeciLmMultiple)
                : fmt::format("{}", kDeciLmMultiple));
}

nlohmann::json llama_spelling(const nlohmann::json& config) {
  const ConfigReader keys(config);
  const std::int64_t hidden = keys.size("hidden_size"), heads = keys.size("num_attention_heads");
  const std::int64_t layers = keys.size("num_hidden_layers", kMaxLayers);
  const nlohmann::json* blocks = keys.find("block_configs");
  if (blocks == nullptr || !blocks->is_array() ||
      blocks->size() != static_cast<std::size_t>(layers)) {
    fail("block_configs is {}, expected one for each of the {} layers",
         blocks == nullptr ? "missing" : shown(*blocks), layers);
  }
  if (const auto positions = keys.text("position_embedding_type");
      positions && *positions != "rope") {
    fail("position_embedding_type is '{}', expected 'rope'", *positions);
  }
  std::vector<Width> widths;
  std::int64_t group = 0;
  for (std::size_t layer = 0; layer < blocks->size(); ++layer) {
    const ConfigReader block((*blocks)[layer], fmt::format("block_configs[{}].", layer));
    const ConfigReader attention = part_of(block, "attention"), ffn = part_of(block, "ffn");
    const std::int64_t own = attention.size("n_heads_in_group", heads);
    if (group == 0) group = own;
    if (own != group || heads % own != 0) {
      fail("{} is {}, expected {} as in the first layer, and a divisor of the {} heads",
           attention.name("n_heads_in_group"), own, group, heads);
    }
    const auto act = ffn.text("hidden_act");
    if (act && *act != keys.text("hidden_act").value_or("silu")) {
      fail("{} is '{}', expected the same in all layers", ffn.name("hidden_act"), *act);
    }
    widths.push_back(width_of(ffn, hidden));
  }
  nlohmann::json llama = config;
  for (const char* key : {"auto_map", "block_configs", kWidthsKey, "position_embedding_type"}) {
    llama.erase(key);
  }
  llama["architectures"] = {"LlamaForCausalLM"};
  llama["model_type"] = "llama";
  llama["num_key_value_heads"] = heads / group;
  llama["intermediate_size"] = std::ranges::max(widths);
  if (!is_uniform(widths)) llama[kWidthsKey] = widths;
  return llama;
}

HuggingFaceTexts llama_block_configs(const NestedModel& submodel) {
  const LlamaConfig config = parse_llama_config(submodel.config, {});
  const Widths widths = submodel.space.full();
  if (config.gate != GateVariant::kActGateTimesUp) {
    fail("block_configs cannot hold this model: its FFN computes {}, and DeciLM computes {}",
         to_string(config.gate), to_string(GateVariant::kActGateTimesUp));
  }
  if (const std::string why = config.differs_from_llama(); !why.empty()) {
    fail("block_configs cannot hold this model: DeciLM computes what Llama does, and {}", why);
  }
  nlohmann::json json = submodel.config;
  for (const char* key : {"matformer_gate", kWidthsKey}) json.erase(key);
  json["architectures"] = {kDeciLmArchitecture};
  json["model_type"] = kDeciLmModelType;
  json["auto_map"] = {{"AutoConfig", fmt::format("{}.DeciLMConfig", kBridge)},
                      {"AutoModelForCausalLM", fmt::format("{}.{}", kBridge, kDeciLmArchitecture)}};
  // Every layer has its own, as NVIDIA's configs say.
  json["intermediate_size"] = json["num_key_value_heads"] = nullptr;
  json["block_configs"] = nlohmann::json::array();
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    double mult = 0;
    try {
      mult = ffn_mult_of_width(widths[layer], config.hidden_size);
    } catch (const Error& error) {
      fail("layer {}: {}", layer, error.what());
    }
    json["block_configs"].push_back({{"attention",
                                      {{"n_heads_in_group", config.heads / config.kv_heads},
                                       {"no_op", false},
                                       {"num_sink_tokens", nullptr},
                                       {"replace_with_linear", false},
                                       {"sparsify", nullptr},
                                       {"unshifted_sink", false},
                                       {"use_prefill_window_in_sink_attention", false},
                                       {"window_length", nullptr}}},
                                     {"ffn",
                                      {{"ffn_mult", mult},
                                       {"no_op", false},
                                       {"replace_with_linear", false},
                                       {"sparsify", nullptr}}}});
  }
  return {std::move(json),
          {{fmt::format("{}.py", kBridge), std::string(modeling_mixnmatch_decilm)}}};
}

}  // namespace mnm
