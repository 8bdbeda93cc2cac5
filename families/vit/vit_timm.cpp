#include "families/vit/vit_timm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/granularities.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

struct Size {
  std::string_view name;
  std::int64_t hidden, layers, heads;
};

constexpr Size kSizes[] = {{"tiny", 192, 12, 3},  {"small", 384, 12, 6},   {"medium", 512, 12, 8},
                           {"base", 768, 12, 12}, {"large", 1024, 24, 16}, {"huge", 1280, 32, 16}};

struct Architecture {
  Size size;
  std::int64_t patch = 0, image = 0;
};

// "vit_small_patch16_224", "deit_base_patch16_384"; what comes after a point says the weights.
Architecture architecture_of(const std::string& name) {
  static const std::regex kForm("(vit|deit)_([a-z]+)_patch([0-9]{1,3})_([0-9]{1,4})(\\..*)?");
  std::smatch parts;
  if (std::regex_match(name, parts, kForm)) {
    for (const Size& size : kSizes) {
      if (parts[2].str() == size.name) return {size, std::stoll(parts[3]), std::stoll(parts[4])};
    }
  }
  fail(
      "architecture is '{}', expected one such as vit_small_patch16_224 or deit_base_patch16_384: "
      "other models of timm are not computed here",
      name);
}

// timm's arguments that may be there, and those that must say nothing but what is computed.
void check_arguments(const ConfigReader& keys, const nlohmann::json& arguments) {
  static const std::set<std::string> kTaken = {"img_size",  "patch_size", "in_chans",
                                               "embed_dim", "depth",      "num_heads",
                                               "mlp_ratio", "qkv_bias",   "num_classes"};
  const std::map<std::string, nlohmann::json> only = {
      {"class_token", true},    {"global_pool", "token"}, {"init_values", nullptr},
      {"pre_norm", false},      {"qk_norm", false},       {"reg_tokens", 0},
      {"no_embed_class", false}};
  for (const auto& [key, value] : arguments.items()) {
    // What training drops, such as drop_path_rate, is all there when a model is run.
    if (kTaken.contains(key) || (key.find("drop") != key.npos && key.ends_with("_rate"))) continue;
    const auto found = only.find(key);
    if (found != only.end() && value == found->second) continue;
    fail("{} is {}: such a model of timm is not computed here", keys.name(key), shown(value));
  }
}

std::string base_of(std::int64_t layer) { return fmt::format("vit.encoder.layer.{}.", layer); }

}  // namespace

bool is_timm_vit(const nlohmann::json& config) {
  const auto name = config.find("architecture");
  if (name == config.end() || !name->is_string()) return false;
  const auto& text = name->get_ref<const std::string&>();
  return text.starts_with("vit_") || text.starts_with("deit_");
}

nlohmann::json vit_config_of_timm(const nlohmann::json& json) {
  const ConfigReader keys(json);
  const Architecture known = architecture_of(json.at("architecture").get<std::string>());
  if (const std::string pool = keys.text("global_pool").value_or("token"); pool != "token") {
    fail("global_pool is '{}', expected token: the classifier reads the class token here", pool);
  }
  const nlohmann::json none = nlohmann::json::object();
  const std::optional<ConfigReader> given = keys.object("model_args");
  const ConfigReader arguments = given.value_or(ConfigReader(none, "model_args."));
  if (given) check_arguments(arguments, json.at("model_args"));
  const auto size = [&](const char* key, std::int64_t absent) {
    return arguments.optional_size(key).value_or(absent);
  };
  nlohmann::json config = {{"model_type", kVitKinds[0].model_type},
                           {"architecture", json.at("architecture")},
                           {"hidden_act", "gelu"},
                           {"layer_norm_eps", 1e-6}};
  const std::int64_t hidden = size("embed_dim", known.size.hidden);
  config["hidden_size"] = hidden;
  config["num_hidden_layers"] = size("depth", known.size.layers);
  config["num_attention_heads"] = size("num_heads", known.size.heads);
  config["patch_size"] = size("patch_size", known.patch);
  config["image_size"] = size("img_size", known.image);
  config["num_channels"] = size("in_chans", 3);
  config["qkv_bias"] = arguments.flag("qkv_bias", true);
  const double ratio = arguments.positive("mlp_ratio").value_or(4);
  const double inner = ratio * static_cast<double>(hidden);
  if (!(inner >= 1 && inner <= static_cast<double>(kMaxSize))) {
    fail("{} is {}, which makes an MLP of {} units, expected 1 to {}", arguments.name("mlp_ratio"),
         ratio, inner, kMaxSize);
  }
  config["intermediate_size"] = static_cast<std::int64_t>(inner);  // cut off, as timm does
  config["num_labels"] = size("num_classes", keys.optional_size("num_classes").value_or(1000));
  for (const char* key : {kGranularitiesKey, kMaySkipKey, "dtype", "torch_dtype"}) {
    if (json.contains(key)) config[key] = json[key];
  }
  return config;
}

std::map<std::string, std::string> timm_names(const VitConfig& config) {
  std::map<std::string, std::string> names = {{"cls_token", "vit.embeddings.cls_token"},
                                              {"pos_embed", "vit.embeddings.position_embeddings"}};
  const auto pair = [&](const std::string& theirs, const std::string& ours) {
    for (const std::string part : {".weight", ".bias"}) names[theirs + part] = ours + part;
  };
  pair("patch_embed.proj", "vit.embeddings.patch_embeddings.projection");
  pair("norm", "vit.layernorm");
  pair("head", "classifier");
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string theirs = fmt::format("blocks.{}.", layer), ours = base_of(layer);
    pair(theirs + "norm1", ours + "layernorm_before");
    pair(theirs + "norm2", ours + "layernorm_after");
    pair(theirs + "attn.proj", ours + "attention.output.dense");
    pair(theirs + "mlp.fc1", ours + "intermediate.dense");
    pair(theirs + "mlp.fc2", ours + "output.dense");
  }
  return names;
}

std::vector<InterleavedRows> timm_rows(const VitConfig& config) {
  std::vector<InterleavedRows> all;
  const std::int64_t d = config.hidden_size;
  const char* const parts[] = {"query", "key", "value"};
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (const std::string end : {".weight", ".bias"}) {
      if (end == ".bias" && !config.qkv_bias) continue;
      for (std::int64_t i = 0; i < 3; ++i) {
        all.push_back(
            {.name = fmt::format("{}attention.attention.{}{}", base_of(layer), parts[i], end),
             .stored = fmt::format("blocks.{}.attn.qkv{}", layer, end),
             .first = i * d,
             .rows = d,
             .period = 3 * d,
             .height = 3 * d});
      }
    }
  }
  return all;
}

}  // namespace mnm
