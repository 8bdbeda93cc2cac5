// SwiGLU: the gated activation of a feed-forward layer, in one pass.
#pragma once

#include <cstdint>

namespace mnm {

// gate[i] = gate[i] * sigmoid(gate[i]) * up[i], for n elements that do not overlap. Within a few
// units in the last place; NaN where either is.
void gated_silu(float* gate, const float* up, std::int64_t n);

}  // namespace mnm
