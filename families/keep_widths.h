// The bounds that a user sets on the layers of a search.
#pragma once

#include <span>
#include <string>

#include "model/width_space.h"

namespace mnm {

// Takes from the space what is outside `bounds`: "0-3=full" and "4,6=256" and "8=1/2" of the full
// width are the least widths, "9=..256" is the largest, "10=64..256" is both, and "11=128..128" is
// the one width. There are several bounds, or one text with semicolons between them. A layer with a
// least width may not be skipped. The layer's granularities and untrained widths outside the bounds
// are gone. UsageError if a bound is not of this form, names a layer that there is not, a layer
// twice, or more than its full width, and if it leaves a layer no granularity.
void keep_widths(std::span<const std::string> bounds, WidthSpace& space);

}  // namespace mnm
