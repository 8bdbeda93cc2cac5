#include "model/flops.h"

namespace mnm {

double attended_positions(const LayerMixing& mixing, std::int64_t context) {
  const auto tokens = static_cast<double>(context);
  const bool bound = mixing.window > 0 && mixing.window < context;
  const double window = bound ? static_cast<double>(mixing.window) : tokens;
  if (!mixing.causal) return window;
  // The first `window` tokens see 1, 2, ... window positions, all others `window`.
  return bound ? window - window * (window - 1) / (2 * tokens) : (tokens + 1) / 2;
}

double mixing_flops(const LayerMixing& mixing, Width width, std::int64_t context) {
  if (width == kSkip) return 0;
  return mixing.flops_per_attended * attended_positions(mixing, context) +
         mixing.flops_per_width * width + mixing.flops_per_token;
}

double sibling_flops(const LayerMixing& mixing, Width width) {
  if (width == kSkip) return 0;
  return mixing.flops_per_sibling + mixing.flops_per_sibling_width * width;
}

}  // namespace mnm
