// activate (kernels/ffn_activation.h) on a CUDA device. Pointers are the device's; nothing is
// copied or waited for. Launched on the default stream of the current device; nullptr where it was,
// else why not (a text that lives for ever). What is linked: ffn_activation_cuda.cu, or, where
// there is no CUDA, ffn_activation_no_cuda.cpp.
#pragma once

#include "kernels/ffn_activation.h"

namespace mnm {

const char* activate_cuda(const FfnActivation& f);

}  // namespace mnm
