#include "kernels/activation.h"

namespace mnm {

void activate(const FfnActivation& f) {
  with_element(f.element, [&](auto element) {
    for (std::int64_t i = 0; i < groups_of(f); ++i) {
      activate_group<decltype(element)>(f, /*vectors=*/false, i);
    }
  });
}

}  // namespace mnm
