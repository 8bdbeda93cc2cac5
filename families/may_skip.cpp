#include "families/may_skip.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/error.h"
#include "families/config_reader.h"

namespace mnm {
namespace {

constexpr std::int64_t kMostLayers = 1 << 16;

std::vector<std::size_t> read_list(const nlohmann::json& list) {
  if (!list.is_array()) {
    fail("{} is {}, expected a list of layers such as [2, 3, 4]", kMaySkipKey, shown(list));
  }
  std::vector<std::size_t> layers;
  for (const nlohmann::json& value : list) {
    const std::int64_t layer = value.is_number_integer() ? value.get<std::int64_t>() : -1;
    if (layer < 0 || layer >= kMostLayers) {
      fail("{} holds {}, expected the number of a layer, from 0 on", kMaySkipKey, shown(value));
    }
    layers.push_back(static_cast<std::size_t>(layer));
  }
  return layers;
}

// Why these layers cannot be the ones that may be skipped, or nothing.
std::string flaw(const std::vector<std::size_t>& layers, const WidthSpace& space,
                 std::span<const std::string> why_kept) {
  std::vector<bool> skipped(space.layers.size(), false);
  for (const std::size_t layer : layers) {
    if (layer >= skipped.size()) {
      return fmt::format("there is no layer {}: the model has {}, counted from 0", layer,
                         skipped.size());
    }
    if (layer < why_kept.size() && !why_kept[layer].empty()) {
      return fmt::format("layer {} always stays: {}", layer, why_kept[layer]);
    }
    skipped[layer] = true;
  }
  if (std::ranges::find(skipped, false) == skipped.end()) {
    return fmt::format("that is all of the model's {} layers: one at least must stay",
                       skipped.size());
  }
  return "";
}

}  // namespace

std::vector<std::size_t> parse_layers(std::string_view text) {
  const auto refuse = [text] {
    fail_usage("layers '{}': expected numbers and ranges of layers, such as 2-6,8", text);
  };
  const auto number = [&](std::string_view digits) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 0 ||
        value >= kMostLayers) {
      refuse();
    }
    return static_cast<std::size_t>(value);
  };
  std::vector<std::size_t> layers;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view item = text.substr(begin, end - begin);
    const std::size_t dash = item.find('-');
    const std::size_t first = number(item.substr(0, dash));
    const std::size_t last = dash == item.npos ? first : number(item.substr(dash + 1));
    if (last < first) refuse();
    for (std::size_t layer = first; layer <= last; ++layer) layers.push_back(layer);
    begin = end + 1;
  }
  std::ranges::sort(layers);
  layers.erase(std::ranges::unique(layers).begin(), layers.end());
  return layers;
}

void allow_skips(const nlohmann::json& config, std::string_view said, WidthSpace& space,
                 std::span<const std::string> why_kept) {
  std::vector<std::size_t> layers;
  if (!said.empty()) {
    layers = parse_layers(said);
    if (const std::string why = flaw(layers, space, why_kept); !why.empty()) {
      fail_usage("layers '{}' cannot be the ones that may be skipped: {}", said, why);
    }
  } else if (const nlohmann::json* stated = ConfigReader(config).find(kMaySkipKey)) {
    layers = read_list(*stated);
    if (const std::string why = flaw(layers, space, why_kept); !why.empty()) {
      fail("{} is {}: {}", kMaySkipKey, shown(*stated), why);
    }
  }
  for (const std::size_t layer : layers) space.layers[layer].may_skip = true;
}

void write_may_skip(const WidthSpace& space, const Widths& widths, nlohmann::json& config) {
  nlohmann::json layers = nlohmann::json::array();
  std::size_t number = 0;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip) continue;
    if (space.layers[layer].may_skip) layers.push_back(number);
    ++number;
  }
  config.erase(kMaySkipKey);
  if (!layers.empty()) config[kMaySkipKey] = std::move(layers);
}

}  // namespace mnm
