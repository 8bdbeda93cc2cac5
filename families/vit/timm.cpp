#include "families/vit/timm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "families/compensation.h"
#include "families/config_reader.h"
#include "families/granularities.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

struct Size {
  std::string_view name;
  std::int64_t hidden, layers, heads;
  // What timm has of the size at patch 16 and image 224.
  bool plain = false, distilled = false;
};

constexpr Size kSizes[] = {
    {"tiny", 192, 12, 3, true, true},     {"small", 384, 12, 6, true, true},
    {"medium", 512, 12, 8, false, false}, {"base", 768, 12, 12, true, true},
    {"large", 1024, 24, 16, true, false}, {"huge", 1280, 32, 16, false, false}};

struct Architecture {
  Size size;
  std::int64_t patch = 0, image = 0;
  bool distilled = false;
};

// "vit_small_patch16_224", "deit_base_distilled_patch16_384"; what comes after a point says the
// weights.
Architecture architecture_of(const std::string& name) {
  static const std::regex kForm(
      "(?:vit|(deit))_([a-z]+)_(distilled_)?patch([0-9]{1,3})_([0-9]{1,4})(\\..*)?");
  std::smatch parts;
  if (std::regex_match(name, parts, kForm) && (parts[1].matched || !parts[3].matched)) {
    for (const Size& size : kSizes) {
      if (parts[2].str() != size.name) continue;
      return {size, std::stoll(parts[4]), std::stoll(parts[5]), parts[3].matched};
    }
  }
  fail(
      "architecture is '{}', expected one such as vit_small_patch16_224 or deit_base_patch16_384: "
      "other models of timm are not computed here",
      name);
}

// timm's arguments that may be there, and those that must say nothing but what is computed.
void check_arguments(const ConfigReader& keys, const nlohmann::json& arguments) {
  static const std::set<std::string> kTaken = {
      "img_size",  "patch_size", "in_chans", "embed_dim",   "depth",
      "num_heads", "mlp_ratio",  "qkv_bias", "num_classes", "act_layer"};
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

std::string hidden_act_of(const ConfigReader& arguments) {
  const std::string act = arguments.text("act_layer").value_or("gelu");
  if (act == "gelu") return act;
  if (act == kTimmGeluTanh) return "gelu_pytorch_tanh";
  fail("{} is '{}', expected gelu or {}", arguments.name("act_layer"), act, kTimmGeluTanh);
}

// Hugging Face's id2label; null if the names of the classes are not given as a list.
nlohmann::json names_of_classes(const nlohmann::json& config, std::int64_t classes) {
  const auto found = config.find("label_names");
  if (found == config.end() || !found->is_array()) return nullptr;
  if (found->size() != static_cast<std::size_t>(classes)) {
    fail("label_names has {} names, expected one for each of {} classes", found->size(), classes);
  }
  nlohmann::json names;
  for (std::size_t i = 0; i < found->size(); ++i) names[std::to_string(i)] = found->at(i);
  return names;
}

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
  // A number of pixels, or height and width.
  const auto sides = [&](const char* key, std::int64_t absent) {
    const nlohmann::json* const stated = arguments.find(key);
    return stated != nullptr && stated->is_array() ? *stated : nlohmann::json(size(key, absent));
  };
  const VitKind& kind = kVitKinds[known.distilled ? 1 : 0];
  nlohmann::json config = {{"model_type", kind.model_type},
                           {"architecture", json.at("architecture")},
                           {"hidden_act", hidden_act_of(arguments)},
                           {"layer_norm_eps", kTimmEpsilon}};
  const std::int64_t hidden = size("embed_dim", known.size.hidden);
  config["hidden_size"] = hidden;
  config["num_hidden_layers"] = size("depth", known.size.layers);
  config["num_attention_heads"] = size("num_heads", known.size.heads);
  config["patch_size"] = sides("patch_size", known.patch);
  config["image_size"] = sides("img_size", known.image);
  config["num_channels"] = size("in_chans", 3);
  config["qkv_bias"] = arguments.flag("qkv_bias", true);
  const double ratio = arguments.positive("mlp_ratio").value_or(4);
  const double inner = ratio * static_cast<double>(hidden);
  if (!(inner >= 1 && inner <= static_cast<double>(kMaxSize))) {
    fail("{} is {}, which makes an MLP of {} units, expected 1 to {}", arguments.name("mlp_ratio"),
         ratio, inner, kMaxSize);
  }
  config["intermediate_size"] = static_cast<std::int64_t>(inner);  // cut off, as timm does
  const std::int64_t classes =
      size("num_classes", keys.optional_size("num_classes").value_or(1000));
  config["num_labels"] = classes;
  if (nlohmann::json names = names_of_classes(json, classes); !names.is_null()) {
    config["id2label"] = std::move(names);
  }
  for (const char* key :
       {kCompensatedKey, kGranularitiesKey, kMaySkipKey, "dtype", "torch_dtype"}) {
    if (json.contains(key)) config[key] = json[key];
  }
  return config;
}

std::string timm_architecture(const VitConfig& config) {
  std::string_view name = "base";
  for (const Size& size : kSizes) {
    if (size.hidden == config.hidden_size && size.layers == config.layers &&
        size.heads == config.heads && (config.kind->distilled ? size.distilled : size.plain)) {
      name = size.name;
    }
  }
  return fmt::format("{}_{}_{}patch16_224", config.kind->distilled ? "deit" : "vit", name,
                     config.kind->distilled ? "distilled_" : "");
}

std::map<std::string, std::string> timm_names(const VitConfig& config) {
  std::map<std::string, std::string> names = {
      {"cls_token", config.name("embeddings.cls_token")},
      {"pos_embed", config.name("embeddings.position_embeddings")}};
  if (config.kind->distilled) {
    names["dist_token"] = config.name("embeddings.distillation_token");
  }
  const auto pair = [&](const std::string& theirs, const std::string& ours) {
    for (const std::string part : {".weight", ".bias"}) names[theirs + part] = ours + part;
  };
  pair("patch_embed.proj", config.name("embeddings.patch_embeddings.projection"));
  pair("norm", config.name("layernorm"));
  const std::vector<std::string> heads = config.heads_of_classes();
  constexpr const char* kHeads[] = {"head", "head_dist"};
  for (std::size_t i = 0; i < heads.size(); ++i) pair(kHeads[i], heads[i]);
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string theirs = fmt::format("blocks.{}.", layer), ours = config.layer_name(layer);
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
        all.push_back({.name = fmt::format("{}attention.attention.{}{}", config.layer_name(layer),
                                           parts[i], end),
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
