// activate (kernels/activation.h) on a CUDA device. Pointers are the device's; nothing is
// copied or waited for. It is launched on the default stream of the current device. Returns nullptr
// if it was launched, else the reason (a text that is never freed). kernels/cuda/activation.cu is
// linked, or, where there is no CUDA, kernels/no_cuda/activation.cpp.
#pragma once

#include "kernels/activation.h"

namespace mnm {

const char* activate_cuda(const FfnActivation& f);

}  // namespace mnm
