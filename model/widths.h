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

// The text "512x4,-,256x8": value x count, and `-` for a skipped layer. Runs are merged, and a
// count of one is left out. This form is canonical: equal widths have equal text. The store keeps
// it.
std::string to_string(const Widths& widths);

// The inverse. It also reads forms that are not merged ("512,512,256x2"). A single value without a
// count ("256") is the width of every layer. UsageError unless the text names exactly `layers`
// widths, each positive or `-`.
Widths parse_widths(std::string_view text, std::size_t layers);

// Whether all layers have one width.
bool is_uniform(const Widths& widths);

// The widths of the layers that are not skipped, in order. These are the widths of the submodel's
// own layers.
Widths kept_widths(const Widths& widths);

}  // namespace mnm
