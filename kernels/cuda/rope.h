// rotate (kernels/rope.h) on a CUDA device. Pointers are the device's; nothing is copied or
// waited for. It is launched on the default stream of the current device. Returns nullptr if it was
// launched, else the reason (a text that is never freed). kernels/cuda/rope.cu is linked, or,
// where there is no CUDA, kernels/no_cuda/rope.cpp.
#pragma once

#include "kernels/rope.h"

namespace mnm {

const char* rotate_cuda(const Rotary& r);

}  // namespace mnm
