// activate (kernels/activation.h) on a CUDA device. Pointers are the device's; nothing is
// copied or waited for. It is launched on the default stream of the current device. Returns nullptr
// if it was launched, else the reason (a text that is never freed). activation_cuda.cu is
// linked, or, where there is no CUDA, activation_no_cuda.cpp.
#pragma once

#include "kernels/activation.h"

namespace mnm {

const char* activate_cuda(const FfnActivation& f);

}  // namespace mnm
