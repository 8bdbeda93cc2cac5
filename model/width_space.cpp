#include "model/width_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <iterator>
#include <map>

#include "base/error.h"

namespace mnm {
namespace {

constexpr std::int64_t kMostUntrained = 1 << 16;  // of a layer: costs are kept of each

std::size_t choice_count(const LayerChoices& layer) {
  return layer.granularities.size() + layer.untrained.size() + (layer.may_skip ? 1 : 0);
}

// The allowed widths just below and just above one that is not allowed: "128 and 256", "512".
std::string nearest_widths(const LayerChoices& layer, Width width) {
  Width below = 0, above = 0;  // 0: there is none
  const auto consider = [&](Width allowed) {
    if (allowed <= 0 || allowed > layer.full()) return;
    if (allowed < width) below = std::max(below, allowed);
    if (allowed > width && (above == 0 || allowed < above)) above = allowed;
  };
  for (const Width granularity : layer.granularities) consider(granularity);
  if (layer.step > 0) {
    const Width clamped = std::clamp(width, Width{0}, layer.full());
    const Width multiple = clamped / layer.step * layer.step;
    consider(multiple);
    if (multiple <= layer.full() - layer.step) consider(multiple + layer.step);
  }
  if (below == 0 || above == 0) return fmt::format("{}", std::max(below, above));
  return fmt::format("{} and {}", below, above);
}

// The layers that may be skipped: "2-6,8".
std::string skippable_text(const WidthSpace& space) {
  std::string text;
  const auto& layers = space.layers;
  for (std::size_t first = 0, end = 0; first < layers.size(); first = end) {
    end = first + 1;
    if (!layers[first].may_skip) continue;
    while (end < layers.size() && layers[end].may_skip) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", first);
    if (end - first > 1) text += fmt::format("-{}", end - 1);
  }
  return text;
}

}  // namespace

bool LayerChoices::allows(Width width) const {
  if (width == kSkip) return may_skip;
  if (width < 0) return false;
  if (std::ranges::binary_search(granularities, width)) return true;
  return step > 0 && width % step == 0 && width <= full();
}

std::optional<std::string> WidthSpace::refusal(const Widths& widths) const {
  if (widths.size() != layers.size()) {
    return fmt::format("widths '{}' name {} layers, the model has {}", to_string(widths),
                       widths.size(), layers.size());
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerChoices& layer = layers[i];
    if (layer.allows(widths[i])) continue;
    if (widths[i] == kSkip) {
      const std::string others = skippable_text(*this);
      const std::string reason = layer.why_not.empty() ? "" : fmt::format(" ({})", layer.why_not);
      return fmt::format("layer {} may not be skipped{}; {}", i, reason,
                         others.empty() ? "none of the model's may" : "those that may: " + others);
    }
    const std::string reason = layer.why_not.empty() ? "" : fmt::format(" ({})", layer.why_not);
    return fmt::format("layer {} may not have width {}{}; nearest allowed: {}", i, widths[i],
                       reason, nearest_widths(layer, widths[i]));
  }
  return std::nullopt;
}

void WidthSpace::require(const Widths& widths) const {
  if (const auto why = refusal(widths)) fail_usage("{}", *why);
}

double WidthSpace::submodels() const {
  double count = 1;
  for (const LayerChoices& layer : layers) count *= static_cast<double>(choice_count(layer));
  return count;
}

std::string WidthSpace::submodels_text() const {
  const double count = submodels();
  if (count < 1e12) return fmt::format("{:.0f}", count);
  std::map<std::size_t, std::size_t> powers;  // number of choices -> layers that have it
  double digits = 0;                          // log10 of the count, which may be past a double
  for (const LayerChoices& layer : layers) {
    ++powers[choice_count(layer)];
    digits += std::log10(static_cast<double>(choice_count(layer)));
  }
  std::string text;
  for (const auto& [choices, times] : powers) {
    if (choices == 1) continue;
    if (!text.empty()) text += " * ";
    text += fmt::format("{}^{}", choices, times);
  }
  if (std::isfinite(count)) return fmt::format("{} = {:.2e}", text, count);
  const double exponent = std::floor(digits);
  return fmt::format("{} = {:.2f}e+{:.0f}", text, std::pow(10.0, digits - exponent), exponent);
}

Widths WidthSpace::full() const {
  Widths widths;
  for (const LayerChoices& layer : layers) widths.push_back(layer.full());
  return widths;
}

Widths WidthSpace::uniform(std::size_t level) const {
  assert(level < levels());
  Widths widths;
  const std::size_t count = levels();
  for (const LayerChoices& layer : layers) {
    const std::vector<Width>& own = layer.granularities;
    widths.push_back(own.at(rank_of_level(level, count, own.size())));
  }
  return widths;
}

std::size_t WidthSpace::levels() const {
  std::size_t most = 0;
  for (const LayerChoices& layer : layers) most = std::max(most, layer.granularities.size());
  return most;
}

std::vector<Width> WidthSpace::choices(std::size_t layer) const {
  const LayerChoices& from = layers.at(layer);
  std::vector<Width> widths;
  if (from.may_skip) widths.push_back(kSkip);
  std::ranges::merge(from.granularities, from.untrained, std::back_inserter(widths));
  return widths;
}

WidthSpace WidthSpace::with_untrained(Width step) const {
  WidthSpace wider = *this;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    LayerChoices& layer = wider.layers[i];
    if (layer.step == 0 || step < 1 || step % layer.step != 0) {
      const std::string reason = layer.why_not.empty() ? "" : fmt::format(" ({})", layer.why_not);
      fail_usage("layer {} may not have widths in steps of {}{}: {}", i, step, reason,
                 layer.step == 0 ? "only its granularities are allowed"
                                 : fmt::format("choose a multiple of {}", layer.step));
    }
    layer.untrained.clear();
    const std::int64_t first = std::int64_t{layer.granularities.front()} / step + 1;
    if (layer.full() / step - first >= kMostUntrained) {
      fail_usage("layer {} has more than {} widths in steps of {}: choose a larger step", i,
                 kMostUntrained, step);
    }
    for (std::int64_t width = first * step; width < layer.full(); width += step) {
      if (!std::ranges::binary_search(layer.granularities, static_cast<Width>(width))) {
        layer.untrained.push_back(static_cast<Width>(width));
      }
    }
  }
  return wider;
}

}  // namespace mnm
