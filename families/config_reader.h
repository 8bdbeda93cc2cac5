// Reads the keys of a config.json as hostile input. Every value has a type and a range, and an
// Error names the key, what was found and what was expected. A null counts as an absent key, as
// Hugging Face writes it.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "model/dtype.h"

namespace mnm {

// The largest size that a number of a config may state: the largest Width.
inline constexpr std::int64_t kMaxSize = std::numeric_limits<std::int32_t>::max();
// The largest number of layers. A config of a few hundred bytes can state any number, and later
// steps take memory and time for each layer or each pair of layers. The deepest published
// transformers have a thousand.
inline constexpr std::int64_t kMaxLayers = 1024;

class ConfigReader {
 public:
  // `object` outlives the reader; `path` is put before the keys in errors ("rope_parameters.").
  explicit ConfigReader(const nlohmann::json& object, std::string path = "");

  const nlohmann::json* find(std::string_view key) const;  // nullptr where absent or null

  // A whole number in [1, max].
  std::int64_t size(std::string_view key, std::int64_t max = kMaxSize) const;
  std::optional<std::int64_t> optional_size(std::string_view key,
                                            std::int64_t max = kMaxSize) const;
  std::optional<double> positive(std::string_view key) const;  // finite, > 0
  bool flag(std::string_view key, bool absent) const;
  std::optional<std::string> text(std::string_view key) const;  // without control characters
  // Under a key or its older spelling. Error if both are there and differ.
  struct Spelled {
    std::string text;
    std::string name;  // of the key that has it, as errors name it
  };
  std::optional<Spelled> text(std::string_view key, std::string_view older) const;
  std::optional<ConfigReader> object(std::string_view key) const;

  // "path.key": how errors name it.
  std::string name(std::string_view key) const { return path_ + std::string(key); }

 private:
  const nlohmann::json* object_;
  std::string path_;
};

// The config's `dtype` (transformers 5) or `torch_dtype` (older). Nothing if it has neither. Error
// if the two disagree, or name a type in which no tensor is stored here.
std::optional<Dtype> stated_dtype(const nlohmann::json& config);

// A value as an error shows it: JSON, shortened.
std::string shown(const nlohmann::json& value);

}  // namespace mnm
