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

// A width of a layer with this full width, as the text says it, with what is below one taken off
// or, if `up`, filled up.
std::optional<std::int64_t> width_of(std::string_view text, Width full, bool up) {
  if (text == "full") return full;
  const std::size_t slash = text.find('/');
  const auto value = number(text.substr(0, slash));
  if (slash == text.npos || !value) return value;
  const auto parts = number(text.substr(slash + 1));
  if (!parts) return std::nullopt;
  return (*value * full + (up ? *parts - 1 : 0)) / *parts;
}

struct Bounds {
  std::optional<std::int64_t> least, most;
};

// Nothing if the text is none.
std::optional<Bounds> bounds_of(std::string_view text, Width full) {
  constexpr std::string_view kTo = "..";
  const std::size_t to = text.find(kTo);
  const std::string_view first = text.substr(0, to);
  const std::string_view last = to == text.npos ? "" : text.substr(to + kTo.size());
  if (first.empty() && last.empty()) return std::nullopt;
  Bounds bounds;
  if (!first.empty()) bounds.least = width_of(first, full, true);
  if (!last.empty()) bounds.most = width_of(last, full, false);
  const bool sound = (first.empty() || (bounds.least && *bounds.least <= full)) &&
                     (last.empty() || (bounds.most && *bounds.most <= full && *bounds.most > 0));
  return sound ? std::optional(bounds) : std::nullopt;
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
    const auto bounds = bounds_of(bound.substr(equals + 1), choices.full());
    if (!bounds) {
      fail_usage("--keep '{}': expected 'full', a fraction, a width of 1 to {}, or two with '..'",
                 bound, choices.full());
    }
    const auto outside = [&](Width width) {
      return (bounds->least && width < *bounds->least) || (bounds->most && width > *bounds->most);
    };
    std::erase_if(choices.granularities, outside);
    std::erase_if(choices.untrained, outside);
    if (bounds->least) choices.may_skip = false;
    if (choices.granularities.empty()) {
      fail_usage("--keep '{}': layer {} has no granularity within it", bound, layer);
    }
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
