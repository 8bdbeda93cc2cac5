#include "families/patch_embedding.h"

#include <ATen/ATen.h>

#include <vector>

#include "base/error.h"
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

}  // namespace mnm
