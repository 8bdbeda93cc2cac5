// Which widths each layer may take.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/widths.h"

namespace mnm {

struct LayerChoices {
  std::vector<Width> granularities;  // trained explicitly; ascending, positive, not empty
  Width step = 0;         // untrained widths are allowed at multiples of it (0: none are)
  bool may_skip = false;  // whether kSkip is a choice
  std::string why_not;    // the reason given when a width outside the choices is asked for
  std::vector<Width> untrained = {};  // that searches draw from beside the granularities; ascending

  Width full() const { return granularities.back(); }
  bool allows(Width width) const;
};

// Which of a layer's `count` granularities its level is where there are `levels` of them: counted
// from the widest, and the narrowest for all below. 0 <= level < levels, 1 <= count <= levels.
constexpr std::size_t rank_of_level(std::size_t level, std::size_t levels, std::size_t count) {
  return level + count < levels ? 0 : level + count - levels;
}

struct WidthSpace {
  std::vector<LayerChoices> layers;

  // Why these widths are refused, naming the layer and the nearest allowed widths; nothing if
  // they are allowed.
  std::optional<std::string> refusal(const Widths& widths) const;
  void require(const Widths& widths) const;  // UsageError with the refusal

  // How many submodels the choices make; exact below 2^53, else rounded.
  double submodels() const;
  // "65536", or "4^80 = 1.46e+48" where the number is long.
  std::string submodels_text() const;

  Widths full() const;  // every layer at its full width
  // Level k of every layer's granularities. k runs from 0, the narrowest, to levels() - 1, the
  // widest; there are as many levels as the layer with the most granularities has. A layer with
  // fewer is counted from its widest down, so the last level is full() and every granularity is of
  // some level; below its narrowest it stays there.
  Widths uniform(std::size_t level) const;
  std::size_t levels() const;
  // The choices that searches draw from: granularities and `untrained`, ascending, preceded by
  // kSkip where allowed.
  std::vector<Width> choices(std::size_t layer) const;

  // The same space, whose searches also draw from the multiples of `step` between each layer's
  // narrowest granularity and its full width. UsageError where a layer does not allow those.
  WidthSpace with_untrained(Width step) const;
};

}  // namespace mnm
