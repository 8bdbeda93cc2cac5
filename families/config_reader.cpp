#include "families/config_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace mnm {

ConfigReader::ConfigReader(const nlohmann::json& object, std::string path)
    : object_(&object), path_(std::move(path)) {
  if (!object.is_object()) {
    fail("{} is {}, expected a JSON object", path_.empty() ? "the config" : path_, shown(object));
  }
}

const nlohmann::json* ConfigReader::find(std::string_view key) const {
  const auto it = object_->find(std::string(key));
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

std::optional<std::int64_t> ConfigReader::optional_size(std::string_view key,
                                                        std::int64_t max) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return std::nullopt;
  // An unsigned value past int64 would come out negative, which is refused all the same.
  const std::int64_t number = value->is_number_integer() ? value->get<std::int64_t>() : 0;
  if (number < 1 || number > max) {
    fail("{} is {}, expected a whole number from 1 to {}", name(key), shown(*value), max);
  }
  return number;
}

std::int64_t ConfigReader::size(std::string_view key, std::int64_t max) const {
  const std::optional<std::int64_t> number = optional_size(key, max);
  if (!number) fail("{} is missing, expected a whole number from 1 to {}", name(key), max);
  return *number;
}

std::optional<double> ConfigReader::positive(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : 0;
  if (!std::isfinite(number) || !(number > 0)) {
    fail("{} is {}, expected a finite number above 0", name(key), shown(*value));
  }
  return number;
}

bool ConfigReader::flag(std::string_view key, bool absent) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) fail("{} is {}, expected true or false", name(key), shown(*value));
  return value->get<bool>();
}

std::optional<std::string> ConfigReader::text(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail("{} is {}, expected a string", name(key), shown(*value));
  const auto& text = value->get_ref<const std::string&>();
  if (std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    fail("{} is {}, expected a string without control characters", name(key), shown(*value));
  }
  return text;
}

std::optional<ConfigReader::Spelled> ConfigReader::text(std::string_view key,
                                                        std::string_view older) const {
  const std::optional<std::string> now = text(key), before = text(older);
  if (now && before && *now != *before) {
    fail("{} is '{}' but {} is '{}': two spellings of one setting must agree", name(key), *now,
         name(older), *before);
  }
  if (now) return Spelled{*now, name(key)};
  if (before) return Spelled{*before, name(older)};
  return std::nullopt;
}

std::optional<ConfigReader> ConfigReader::object(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) fail("{} is {}, expected an object", name(key), shown(*value));
  return ConfigReader(*value, name(key) + ".");
}

namespace {

// A type as PyTorch spells it, with or without its module. What is stored in double is computed in
// f32.
std::optional<Dtype> torch_dtype(std::string_view name) {
  constexpr std::string_view kModule = "torch.";
  if (name.starts_with(kModule)) name.remove_prefix(kModule.size());
  if (name == "float" || name == "float64" || name == "double") return Dtype::kF32;
  if (name == "half") return Dtype::kF16;
  for (const Dtype known : kComputed) {
    if (name == torch_name(known)) return known;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Dtype> stated_dtype(const nlohmann::json& config) {
  const ConfigReader keys(config);
  std::optional<Dtype> stated;
  std::string_view stated_by;
  for (const std::string_view key : {"dtype", "torch_dtype"}) {
    const std::optional<std::string> text = keys.text(key);
    if (!text || *text == "auto") continue;  // auto: as the tensors are stored
    const std::optional<Dtype> dtype = torch_dtype(*text);
    if (!dtype) fail("{} is {}, expected float32, float16 or bfloat16", key, shown(*text));
    if (stated && *stated != *dtype) {
      fail("{} is {} but {} is {}: two spellings of one setting must agree", stated_by,
           torch_name(*stated), key, torch_name(*dtype));
    }
    stated = dtype;
    stated_by = key;
  }
  return stated;
}

std::string shown(const nlohmann::json& value) {
  constexpr std::size_t kLongest = 80;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

}  // namespace mnm
