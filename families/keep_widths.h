// What a user keeps of layers while a search narrows the others.
#pragma once

#include <span>
#include <string>

#include "model/width_space.h"

namespace mnm {

// Takes from the space what is narrower than `bounds` say: "0-3=full", "4,6=256", "8=1/2" of the
// full width; several of them, or one text with semicolons between them. A layer that is bounded
// may not be skipped. Its granularities and untrained widths below the bound are gone; any width
// that the space allowed is still allowed, but searches do not draw it. UsageError if a bound is
// not of this form, names a layer that there is not, a layer twice, or more than its full width.
void keep_widths(std::span<const std::string> bounds, WidthSpace& space);

}  // namespace mnm
