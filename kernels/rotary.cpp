#include "kernels/rotary.h"

namespace mnm {

void rotate(const Rotary& r) {
  const std::int64_t groups = r.rows * r.heads * groups_of(r);
  with_element(r.element, [&](auto element) {
    for (std::int64_t block = 0; block * kRotaryThreads < groups; ++block) {
      for (int thread = 0; thread < kRotaryThreads; ++thread) {
        const std::int64_t i = block * kRotaryThreads + thread;
        if (i < groups) rotate_group<decltype(element)>(r, /*vectors=*/false, i);
      }
    }
  });
}

}  // namespace mnm
