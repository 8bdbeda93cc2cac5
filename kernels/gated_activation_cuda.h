// gated_activation (kernels/gated_activation.h) on a CUDA device. Pointers are the device's;
// nothing is copied or waited for. Launched on the default stream of the current device; nullptr
// where it was, else why not (a text that lives for ever). What is linked:
// gated_activation_cuda.cu, or, where there is no CUDA, gated_activation_no_cuda.cpp.
#pragma once

#include "kernels/gated_activation.h"

namespace mnm {

const char* gated_activation_cuda(const GatedActivation& g);

}  // namespace mnm
