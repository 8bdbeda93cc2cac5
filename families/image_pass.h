// Models of images where a pass goes on from a cache: an image has no next part. Compiled only into
// the engine.
#pragma once

#include <cstddef>
#include <span>

#include "fold/fold.h"

namespace mnm {

// Fold::extend of a model that reads an image at once, by its step: the whole of it is at position
// 0, and a last layer may keep fewer tokens. Error for several runs, or one that goes on.
State pass_images(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                  std::span<const Run> runs);

}  // namespace mnm
