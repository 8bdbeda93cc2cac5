#include "families/keep_widths.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "families/may_skip.h"

namespace mnm {
namespace {

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || value < 1 || value > std::numeric_limits<Width>::max()) return std::nullopt;
  return value;
}

// The least width of a layer with this full width: the smallest whole number that is no less than
// what the text says.
std::optional<std::int64_t> least_width(std::string_view text, Width full) {
  if (text == "full") return full;
  const std::size_t slash = text.find('/');
  const auto value = number(text.substr(0, slash));
  if (slash == text.npos || !value) return value;
  const auto parts = number(text.substr(slash + 1));
  if (!parts) return std::nullopt;
  return (*value * full + *parts - 1) / *parts;
}

void keep(std::string_view bound, WidthSpace& space, std::vector<bool>& bounded) {
  const std::size_t equals = bound.find('=');
  if (equals == bound.npos) {
    fail_usage("--keep '{}': expected layers and a width, such as 0-3=full or 4,6=1/2", bound);
  }
  for (const std::size_t layer : parse_layers(bound.substr(0, equals))) {
    if (layer >= space.layers.size()) {
      fail_usage("--keep '{}': there is no layer {}: the model has {}, counted from 0", bound,
                 layer, space.layers.size());
    }
    if (bounded[layer]) fail_usage("--keep '{}': layer {} has a bound already", bound, layer);
    bounded[layer] = true;
    LayerChoices& choices = space.layers[layer];
    const auto least = least_width(bound.substr(equals + 1), choices.full());
    if (!least || *least > choices.full()) {
      fail_usage("--keep '{}': expected 'full', a fraction, or a width of 1 to {}", bound,
                 choices.full());
    }
    std::erase_if(choices.granularities, [&](Width width) { return width < *least; });
    std::erase_if(choices.untrained, [&](Width width) { return width < *least; });
    choices.may_skip = false;
  }
}

}  // namespace

void keep_widths(std::span<const std::string> bounds, WidthSpace& space) {
  std::vector<bool> bounded(space.layers.size(), false);
  for (const std::string& text : bounds) {
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(';', begin), text.size());
      keep(std::string_view(text).substr(begin, end - begin), space, bounded);
      begin = end + 1;
    }
  }
}

}  // namespace mnm
