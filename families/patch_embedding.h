// Patches of images as products, and their positions. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include "families/image_patches.h"

namespace mnm {

// A convolution whose stride is its kernel is a product with each patch, in raster order: pixels
// [images, channels, height, width], weight [d, channels, patch_height, patch_width] and bias [d]
// -> [images, patches, d]. Error if the pixels have another shape.
at::Tensor embed_patches(const ImagePatches& image, const at::Tensor& pixels,
                         const at::Tensor& weight, const at::Tensor& bias);

// The positions of an image's patches: those that were learned, [1, image.learned_patches(), d],
// resized to [1, image.patches(), d] where the image has another size. Computed in f32 at least.
at::Tensor patch_positions(const ImagePatches& image, const at::Tensor& learned);

}  // namespace mnm
