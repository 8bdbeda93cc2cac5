#include "families/llama/rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <utility>

#include "base/error.h"
#include "families/llama/config.h"

namespace mnm {
namespace {

struct Rope {
  std::optional<double> theta;
  std::optional<RopeScaling> scaling;
};

constexpr RopeType kRopeTypes[] = {RopeType::kLlama3, RopeType::kLinear, RopeType::kYarn,
                                   RopeType::kDynamic, RopeType::kLongrope};

// The rope type under `key`; nothing: the default. Phi-3 has called longrope otherwise.
std::optional<RopeType> parse_rope_type(const std::string& name, const std::string& key,
                                        const LlamaArchitecture& architecture) {
  if (name == "default") return std::nullopt;
  if (architecture.longrope && (name == "su" || name == "yarn")) return RopeType::kLongrope;
  std::string known = "default";
  for (const RopeType type : kRopeTypes) {
    if (architecture.longrope && type != RopeType::kLongrope) continue;
    if (name == to_string(type)) return type;
    known += fmt::format(", {}", to_string(type));
  }
  fail("{} is '{}': the rope types computed here are {}", key, name, known);
}

void read_llama3(const ConfigReader& keys, RopeScaling& scaling) {
  const auto required = [&keys](std::string_view key) {
    const std::optional<double> number = keys.positive(key);
    if (!number) fail("{} is missing: rope type llama3 needs it", keys.name(key));
    return *number;
  };
  scaling.low_freq_factor = required("low_freq_factor");
  scaling.high_freq_factor = required("high_freq_factor");
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    fail("{} is {}, expected more than low_freq_factor, {}", keys.name("high_freq_factor"),
         scaling.high_freq_factor, scaling.low_freq_factor);
  }
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

// Of mscale or mscale_all_dim. 0 is none, as in transformers.
double read_mscale(const ConfigReader& keys, std::string_view key) {
  const nlohmann::json* value = keys.find(key);
  if (value == nullptr) return 0;
  const double number = value->is_number() ? value->get<double>() : -1;
  if (!std::isfinite(number) || number < 0) {
    fail("{} is {}, expected a finite number from 0 on", keys.name(key), shown(*value));
  }
  return number;
}

void read_yarn(const ConfigReader& keys, const LlamaArchitecture& architecture,
               RopeScaling& scaling) {
  scaling.truncates = keys.flag("truncate", true);
  if (!scaling.truncates && architecture.local_rope) {
    fail("{} is false, and {} passes over it: expected true", keys.name("truncate"),
         class_of(architecture));
  }
  scaling.beta_fast = keys.positive("beta_fast").value_or(32);
  scaling.beta_slow = keys.positive("beta_slow").value_or(1);
  if (scaling.beta_fast <= scaling.beta_slow) {
    fail("{} is {}, expected more than beta_slow, {}", keys.name("beta_fast"), scaling.beta_fast,
         scaling.beta_slow);
  }
  const double own = read_mscale(keys, "mscale"), all = read_mscale(keys, "mscale_all_dim");
  const double usual = own > 0 && all > 0
                           ? yarn_mscale(scaling.factor, own) / yarn_mscale(scaling.factor, all)
                           : usual_attention_factor(scaling);
  scaling.attention_factor = keys.positive("attention_factor").value_or(usual);
}

std::vector<double> read_divisors(const ConfigReader& keys, std::string_view key,
                                  std::int64_t count) {
  const nlohmann::json* list = keys.find(key);
  if (list == nullptr || !list->is_array() || std::cmp_not_equal(list->size(), count)) {
    fail("{} is {}, expected {} numbers, one for every pair of a head that is turned",
         keys.name(key), list == nullptr ? "missing" : shown(*list), count);
  }
  std::vector<double> divisors;
  for (const nlohmann::json& value : *list) {
    const double number = value.is_number() ? value.get<double>() : 0;
    if (!std::isfinite(number) || !(number > 0)) {
      fail("{} holds {}, expected finite numbers above 0", keys.name(key), shown(value));
    }
    divisors.push_back(number);
  }
  return divisors;
}

void read_longrope(const ConfigReader& keys, std::int64_t rotary_dim, RopeScaling& scaling) {
  scaling.short_factor = read_divisors(keys, "short_factor", rotary_dim / 2);
  scaling.long_factor = read_divisors(keys, "long_factor", rotary_dim / 2);
  scaling.attention_factor =
      keys.positive("attention_factor").value_or(usual_attention_factor(scaling));
  if (!std::isfinite(scaling.attention_factor)) {
    fail("{} is missing, and none follows from an original_max_position_embeddings of {}",
         keys.name("attention_factor"), scaling.original_max_position_embeddings);
  }
}

// What is said of the length that the model was trained with, inside the object or beside it.
std::int64_t read_original(const ConfigReader& keys, std::optional<std::int64_t> outside,
                           std::int64_t absent) {
  const auto inner = keys.optional_size("original_max_position_embeddings");
  if (inner && outside && *inner != *outside) {
    fail("{} is {} but original_max_position_embeddings is {}: they must agree",
         keys.name("original_max_position_embeddings"), *inner, *outside);
  }
  return inner.value_or(outside.value_or(absent));
}

// The object under rope_parameters or rope_scaling.
Rope read_object(const ConfigReader& keys, std::optional<std::int64_t> original,
                 const LlamaConfig& config) {
  const ConfigReader::Spelled type =
      keys.text("rope_type", "type").value_or(ConfigReader::Spelled{"default", keys.name("type")});
  Rope rope{keys.positive("rope_theta"), std::nullopt};
  const std::optional<RopeType> known = parse_rope_type(type.text, type.name, *config.architecture);
  if (!known) return rope;

  RopeScaling scaling;
  scaling.type = *known;
  if (*known == RopeType::kDynamic) {
    if (config.rotary_dim <= 2) {
      fail("{} is dynamic, and head_dim {}: expected more than one pair to turn", type.name,
           config.head_dim);
    }
    scaling.original_max_position_embeddings = config.max_position_embeddings;
  } else if (*known != RopeType::kLinear) {
    scaling.original_max_position_embeddings =
        read_original(keys, original, config.max_position_embeddings);
  }
  std::optional<double> factor = keys.positive("factor");
  if (!factor && *known == RopeType::kLongrope) {
    factor = static_cast<double>(config.max_position_embeddings) /
             static_cast<double>(scaling.original_max_position_embeddings);
  }
  if (!factor) fail("{} is missing: rope type {} needs it", keys.name("factor"), to_string(*known));
  scaling.factor = *factor;
  if (*known == RopeType::kLlama3) read_llama3(keys, scaling);
  if (*known == RopeType::kYarn) read_yarn(keys, *config.architecture, scaling);
  if (*known == RopeType::kLongrope) read_longrope(keys, config.rotary_dim, scaling);
  if (scaling.factor < 1) {
    fail("{} is {}, expected at least 1", keys.name("factor"), scaling.factor);
  }
  rope.scaling = scaling;
  return rope;
}

// The objects that describe the RoPE of all layers, or of those that are not local: rope_parameters
// (transformers 5) and rope_scaling (older).
std::vector<ConfigReader> rope_objects(const ConfigReader& keys, const LlamaConfig& config) {
  std::vector<ConfigReader> objects;
  for (const std::string_view key : {"rope_parameters", "rope_scaling"}) {
    const std::optional<ConfigReader> object = keys.object(key);
    if (!object || keys.find(key)->empty()) continue;
    const bool by_kind = object->find("full_attention") || object->find("sliding_attention");
    if (by_kind != (config.architecture->local_rope && key == "rope_parameters")) {
      fail("{} is {}, expected {}", key, shown(*keys.find(key)),
           by_kind ? "one RoPE for all layers" : "full_attention and sliding_attention");
    }
    const std::optional<ConfigReader> own = by_kind ? object->object("full_attention") : object;
    if (own && !(by_kind && object->find("full_attention")->empty())) objects.push_back(*own);
  }
  return objects;
}

// The theta of local layers: in rope_parameters, or under a key of its own.
double read_local_theta(const ConfigReader& keys, const LlamaConfig& config) {
  const LlamaArchitecture& architecture = *config.architecture;
  std::optional<double> theta = keys.positive("rope_local_base_freq");
  const std::optional<ConfigReader> kinds = keys.object("rope_parameters");
  const auto local = kinds ? kinds->object("sliding_attention") : std::nullopt;
  if (local) {
    const std::optional<ConfigReader::Spelled> type = local->text("rope_type", "type");
    if (type && type->text != "default") {
      fail("{} is '{}', which is not computed here: expected 'default'", type->name, type->text);
    }
    const std::optional<double> own = local->positive("rope_theta");
    if (own && theta && *own != *theta) {
      fail("rope_local_base_freq is {} but {} is {}: two spellings of one setting must agree",
           *theta, local->name("rope_theta"), *own);
    }
    if (own) theta = own;
  }
  const double absent = architecture.local_theta > 0 ? architecture.local_theta
                        : kinds                      ? architecture.theta
                                                     : config.rope_theta;
  return theta.value_or(absent);
}

// The part of every head that is turned, its first elements.
std::int64_t read_rotary_dim(const ConfigReader& keys, const LlamaConfig& config) {
  std::optional<double> part;
  std::string name = "partial_rotary_factor";
  const auto read = [&](const ConfigReader& reader) {
    const std::optional<double> own = reader.positive("partial_rotary_factor");
    if (!own) return;
    const std::string own_name = reader.name("partial_rotary_factor");
    if (part && *part != *own) {
      fail("{} is {} but {} is {}: two spellings of one setting must agree", name, *part, own_name,
           *own);
    }
    if (*own > 1 || (*own != 1 && !config.architecture->partial_rotary)) {
      fail("{} is {}: {}", own_name, *own,
           config.architecture->partial_rotary ? "expected at most 1, the whole head"
                                               : "only whole heads are turned here, expected 1");
    }
    part = own;
    name = own_name;
  };
  read(keys);
  for (const ConfigReader& object : rope_objects(keys, config)) read(object);
  const double factor = part.value_or(config.architecture->rotary_part);
  const auto turned = static_cast<std::int64_t>(static_cast<double>(config.head_dim) * factor);
  if (factor != 1 && (turned < 2 || turned % 2 != 0)) {
    fail("{} is {}, which makes {} of a head's {} elements: expected an even number of them", name,
         factor, turned, config.head_dim);
  }
  return turned;
}

}  // namespace

std::string_view to_string(RopeType type) {
  switch (type) {
    case RopeType::kLlama3:
      return "llama3";
    case RopeType::kLinear:
      return "linear";
    case RopeType::kYarn:
      return "yarn";
    case RopeType::kDynamic:
      return "dynamic";
    case RopeType::kLongrope:
      return "longrope";
  }
  fail("rope type without a name");
}

double usual_attention_factor(const RopeScaling& scaling) {
  if (scaling.factor <= 1) return 1;
  if (scaling.type == RopeType::kYarn) return yarn_mscale(scaling.factor, 1);
  if (scaling.type != RopeType::kLongrope) return 1;
  const double log = std::log(scaling.factor);
  return std::sqrt(1 +
                   log / std::log(static_cast<double>(scaling.original_max_position_embeddings)));
}

void read_rope(const ConfigReader& keys, LlamaConfig& config) {
  config.rotary_dim = read_rotary_dim(keys, config);
  const bool longrope = config.architecture->longrope;
  std::optional<std::int64_t> original = keys.optional_size("original_max_position_embeddings");
  if (longrope && !original) original = config.architecture->positions;
  std::optional<double> theta = keys.positive("rope_theta");
  std::string theta_name = "rope_theta";
  std::optional<Rope> first;
  for (const ConfigReader& object : rope_objects(keys, config)) {
    const Rope rope = read_object(object, original, config);
    if (rope.theta) {
      if (theta && *theta != *rope.theta) {
        fail("{} is {} but {} is {}: two spellings of one setting must agree", theta_name, *theta,
             object.name("rope_theta"), *rope.theta);
      }
      theta = rope.theta;
      theta_name = object.name("rope_theta");
    }
    if (first && first->scaling != rope.scaling) {
      fail("rope_parameters and rope_scaling describe different scalings: {} and {}",
           shown(*keys.find("rope_parameters")), shown(*keys.find("rope_scaling")));
    }
    first = rope;
  }
  if (config.architecture->states_rope && !first) {
    fail(
        "rope_parameters is missing, and {} takes a scaled RoPE without it: expected that it says "
        "which",
        class_of(*config.architecture));
  }
  config.rope_theta = theta.value_or(config.architecture->theta);
  if (first) config.rope_scaling = first->scaling;
  if (config.architecture->local_rope) config.local_theta = read_local_theta(keys, config);
}

namespace {

// Short waves stay, waves longer than the original context are stretched by `factor`, those in
// between are interpolated.
void stretch_llama3(const RopeScaling& scaling, std::vector<float>& frequencies) {
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
}

// Peng et al., "YaRN" (arXiv 2309.00071): frequencies that turn often within the original context
// stay, those that turn seldom are stretched by `factor`, and between lies a ramp over their index,
// in f32. Its ends are at whole indices, if they are truncated.
void stretch_yarn(const LlamaConfig& config, std::vector<float>& frequencies) {
  const RopeScaling& scaling = *config.rope_scaling;
  const auto dim = static_cast<double>(config.rotary_dim);
  const auto index_of = [&](double turns) {
    const auto context = static_cast<double>(scaling.original_max_position_embeddings);
    return dim * std::log(context / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(config.rope_theta));
  };
  double low = index_of(scaling.beta_fast), high = index_of(scaling.beta_slow);
  if (scaling.truncates) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  const auto from = static_cast<float>(low), length = static_cast<float>(high - low);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float along = (static_cast<float>(i) - from) / length;
    const float stay = 1.0f - std::clamp(along, 0.0f, 1.0f);
    const float stretched = frequencies[i] / static_cast<float>(scaling.factor);
    frequencies[i] = stretched * (1.0f - stay) + frequencies[i] * stay;
  }
}

// "NTK-aware": a base that grows with the length, so that the longest wave is stretched by as much
// as the sequence is longer than the original context, and the shortest stays. With all of it in
// f32, as transformers computes it from a length that is a tensor.
float dynamic_theta(const LlamaConfig& config, std::int64_t length) {
  const RopeScaling& scaling = *config.rope_scaling;
  const auto original = static_cast<float>(scaling.original_max_position_embeddings);
  const float longer = std::max(static_cast<float>(length), original);
  const auto factor = static_cast<float>(scaling.factor);
  const auto dim = static_cast<double>(config.rotary_dim);
  const float grown = factor * longer / original - static_cast<float>(scaling.factor - 1);
  return static_cast<float>(config.rope_theta) *
         std::pow(grown, static_cast<float>(dim / (dim - 2)));
}

}  // namespace

std::int64_t rope_stays_within(const LlamaConfig& config) {
  if (!config.rope_scaling || (config.rope_scaling->type != RopeType::kDynamic &&
                               config.rope_scaling->type != RopeType::kLongrope)) {
    return 0;
  }
  return config.rope_scaling->original_max_position_embeddings;
}

std::vector<float> rope_inverse_frequencies(const LlamaConfig& config, std::int64_t length,
                                            bool local) {
  const bool own = local && config.local_theta != 0;
  const std::optional<RopeScaling> scaling = own ? std::nullopt : config.rope_scaling;
  const bool is_long = length > rope_stays_within(config);
  auto theta = static_cast<float>(own ? config.local_theta : config.rope_theta);
  if (scaling && scaling->type == RopeType::kDynamic && is_long) {
    theta = dynamic_theta(config, length);
  }
  const auto dim = static_cast<float>(config.rotary_dim);
  std::vector<float> frequencies(static_cast<std::size_t>(config.rotary_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    float power = std::pow(theta, static_cast<float>(2 * i) / dim);
    if (scaling && scaling->type == RopeType::kLongrope) {
      power *= static_cast<float>((is_long ? scaling->long_factor : scaling->short_factor)[i]);
    }
    frequencies[i] = 1.0f / power;
  }
  if (!scaling) return frequencies;
  switch (scaling->type) {
    case RopeType::kLlama3:
      stretch_llama3(*scaling, frequencies);
      break;
    case RopeType::kLinear:
      for (float& frequency : frequencies) frequency /= static_cast<float>(scaling->factor);
      break;
    case RopeType::kYarn:
      stretch_yarn(config, frequencies);
      break;
    case RopeType::kDynamic:
    case RopeType::kLongrope:
      break;  // above
  }
  return frequencies;
}

}  // namespace mnm
