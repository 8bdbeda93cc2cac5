// Which widths each layer may take.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/widths.h"

namespace mnm {

struct LayerChoices {
  std::vector<Width> granularities;  // the trained widths; ascending, positive, not empty
  Width step = 0;         // untrained widths are allowed at multiples of it (0: none are)
  bool may_skip = false;  // whether kSkip is a choice
  std::string why_not;    // the reason given when a width outside the choices is asked for
  std::vector<Width> untrained = {};  // which searches also draw from; ascending

  Width full() const { return granularities.back(); }
  bool allows(Width width) const;
};

// The index of a level among a layer's `count` granularities, in a space with `levels` levels. A
// layer with fewer granularities than levels is counted from its widest; its narrowest stands for
// all levels below. 0 <= level < levels, 1 <= count <= levels.
constexpr std::size_t rank_of_level(std::size_t level, std::size_t levels, std::size_t count) {
  return level + count < levels ? 0 : level + count - levels;
}

struct WidthSpace {
  std::vector<LayerChoices> layers;

  // The reason why these widths are refused, with the layer and the nearest allowed widths. Nothing
  // if they are allowed.
  std::optional<std::string> refusal(const Widths& widths) const;
  void require(const Widths& widths) const;  // UsageError with the refusal

  // How many submodels the choices make. Exact below 2^53, else rounded.
  double submodels() const;
  // "65536", or "4^80 = 1.46e+48" where the number is long.
  std::string submodels_text() const;

  Widths full() const;  // every layer at its full width
  // The uniform submodel of level k. Level 0 is the narrowest, and levels() - 1 is full(). There
  // are as many levels as the layer with the most granularities has. A layer with fewer is counted
  // from its widest down, so every granularity is at some level. At the levels below, such a layer
  // stays at its narrowest.
  Widths uniform(std::size_t level) const;
  std::size_t levels() const;
  // The widths that searches draw from, ascending: kSkip if it is allowed, the granularities, and
  // `untrained`.
  std::vector<Width> choices(std::size_t layer) const;

  // The same space, but searches also draw from the multiples of `step` between the narrowest
  // granularity and the full width of each layer. UsageError if a layer does not allow these.
  WidthSpace with_untrained(Width step) const;
};

}  // namespace mnm
