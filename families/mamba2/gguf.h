// Describes a submodel as a GGUF file of llama.cpp's architecture "mamba2", which has one inner
// size for all layers.
#pragma once

#include "export/gguf_model.h"
#include "model/nested_model.h"

namespace mnm {

// Error, with the reason, for what llama.cpp does not compute: layers of different widths, and
// biases of the projections.
GgufModel mamba2_gguf(const NestedModel& submodel);

}  // namespace mnm
