// Patches of images as products. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include "families/image_patches.h"

namespace mnm {

// A convolution whose stride is its kernel is a product with each patch, in raster order: pixels
// [images, channels, height, width], weight [d, channels, patch_height, patch_width] and bias [d]
// -> [images, patches, d]. Error if the pixels have another shape.
at::Tensor embed_patches(const ImagePatches& image, const at::Tensor& pixels,
                         const at::Tensor& weight, const at::Tensor& bias);

}  // namespace mnm
