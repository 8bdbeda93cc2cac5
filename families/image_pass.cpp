#include "families/image_pass.h"

#include <ATen/core/Tensor.h>

#include "base/error.h"

namespace mnm {

State pass_images(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                  std::span<const Run> runs) {
  const Run& run = runs.front();
  if (run.position != 0 || runs.size() > 1) {
    fail("cannot go on with an image: a classifier of images reads it at once");
  }
  Children child;
  child.add(0, run.width);
  const at::Tensor& rows = state.tensors.front();
  const State images = {{rows.view({1, run.sequences, run.tokens, rows.size(3)})}};
  const State stepped = fold.step(layer, givens, images, child);
  return {{stepped.tensors.front().flatten(1, 2).unsqueeze(1)}};
}

}  // namespace mnm
