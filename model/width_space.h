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
  // Level k of every layer's granularities, counted from the narrowest. Layers may have different
  // granularities; k runs to levels() - 1, the fewest granularities that any layer has.
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
