#include "families/patch_embedding.h"

#include <ATen/ATen.h>

#include <vector>

#include "base/error.h"
#include "families/bicubic.h"
#include "fold/product.h"

namespace mnm {

at::Tensor embed_patches(const ImagePatches& image, const at::Tensor& pixels,
                         const at::Tensor& weight, const at::Tensor& bias) {
  if (pixels.dim() != 4 || pixels.sizes().slice(1) != at::IntArrayRef(image.shape())) {
    fail("cannot run a model of images on input of another shape than {} x {} x {}", image.channels,
         image.height, image.width);
  }
  const std::int64_t images = pixels.size(0);
  const at::Tensor patches = pixels.to(weight.scalar_type())
                                 .view({images, image.channels, image.rows(), image.patch_height,
                                        image.columns(), image.patch_width})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({images * image.patches(), image.elements()});
  return product(patches, weight.flatten(1), bias).view({images, image.patches(), weight.size(0)});
}

at::Tensor patch_positions(const ImagePatches& image, const at::Tensor& learned) {
  if (!image.resized()) return learned;
  const bool exact = learned.scalar_type() == at::kDouble;
  const at::Tensor grid = learned.to(exact ? at::kDouble : at::kFloat);
  const auto matrix = [&](std::int64_t from, std::int64_t to) {
    return at::tensor(bicubic_matrix(from, to, image.antialias))
        .view({to, from})
        .to(grid.options());
  };
  const std::int64_t rows = image.learned_rows(), columns = image.learned_columns();
  const std::int64_t d = learned.size(2);
  const at::Tensor down = at::matmul(matrix(rows, image.rows()), grid.reshape({rows, columns * d}));
  const at::Tensor all =
      at::matmul(matrix(columns, image.columns()), down.view({image.rows(), columns, d}));
  return all.view({1, image.patches(), d}).to(learned.scalar_type());
}

}  // namespace mnm
