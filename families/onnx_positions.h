// Learned positions of patches in an ONNX graph.
#pragma once

#include "export/onnx_builder.h"
#include "families/image_patches.h"

namespace mnm {

// patch_positions() of families/patch_embedding.h: learned [1, image.learned_patches(), d] ->
// [1, image.patches(), d].
OnnxValue onnx_patch_positions(OnnxBuilder& graph, const ImagePatches& image,
                               const OnnxValue& learned, std::int64_t d);

}  // namespace mnm
