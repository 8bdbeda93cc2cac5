// rotate (kernels/rotary.h) on a CUDA device. Pointers are the device's; nothing
// is copied or waited for. Launched on the default stream of the current device; nullptr where it
// was, else why not (a text that lives for ever). What is linked: rotary_cuda.cu, or,
// where there is no CUDA, rotary_no_cuda.cpp.
#pragma once

#include "kernels/rotary.h"

namespace mnm {

const char* rotate_cuda(const Rotary& r);

}  // namespace mnm
