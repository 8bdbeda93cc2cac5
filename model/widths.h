// Widths: one width per layer, the name of a submodel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

using Width = std::int32_t;        // inner size kept in one layer, in the family's own unit
inline constexpr Width kSkip = 0;  // the layer is left out

using Widths = std::vector<Width>;  // [layers]

// "512x4,-,256x8": value x count, `-` for a skipped layer, runs merged, a count of one left out.
// The canonical form: equal widths have equal text. It is what the store keeps.
std::string to_string(const Widths& widths);

// The inverse, also of unmerged forms ("512,512,256x2"). A single value without a count ("256")
// means that width in every layer. UsageError unless it names exactly `layers` widths, all
// positive or `-`.
Widths parse_widths(std::string_view text, std::size_t layers);

// Whether all layers have one width.
bool is_uniform(const Widths& widths);

// The widths of the layers that are not skipped: a submodel's own, layer by layer.
Widths kept_widths(const Widths& widths);

}  // namespace mnm
