// Reads the keys of a config.json as hostile input: every value has a type and a range, and an
// Error names the key, what was found and what was expected. A null is an absent key, as Hugging
// Face writes it.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "model/dtype.h"

namespace mnm {

// Sizes that one number of a config may have: what Width holds.
inline constexpr std::int64_t kMaxSize = std::numeric_limits<std::int32_t>::max();
// A config of a few hundred bytes may say any number of layers, and everything that follows takes
// memory and time for each, or for each pair. The deepest published transformers have a thousand.
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
  std::optional<ConfigReader> object(std::string_view key) const;

  // "path.key": how errors name it.
  std::string name(std::string_view key) const { return path_ + std::string(key); }

 private:
  const nlohmann::json* object_;
  std::string path_;
};

// The config's `dtype` (transformers 5) or `torch_dtype` (older); nothing where it has neither.
// Error where they disagree or name what no tensor is stored in here.
std::optional<Dtype> stated_dtype(const nlohmann::json& config);

// A value as an error shows it: JSON, shortened.
std::string shown(const nlohmann::json& value);

}  // namespace mnm
