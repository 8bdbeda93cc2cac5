#include "kernels/gated_activation.h"

namespace mnm {

void gated_activation(const GatedActivation& g) {
  const std::int64_t groups = g.rows * groups_of(g.width);
  with_element(g.element, [&](auto element) {
    for (std::int64_t block = 0; block * kGateThreads < groups; ++block) {
      for (int thread = 0; thread < kGateThreads; ++thread) {
        const std::int64_t i = block * kGateThreads + thread;
        if (i < groups) activate_group<decltype(element)>(g, /*vectors=*/false, i);
      }
    }
  });
}

}  // namespace mnm
