#include "kernels/rope.h"

namespace mnm {

void rotate(const Rotary& r) {
  with_element(r.element, [&](auto element) {
    for (std::int64_t i = 0; i < groups_of(r); ++i) {
      rotate_group<decltype(element)>(r, /*vectors=*/false, i);
    }
  });
}

}  // namespace mnm
