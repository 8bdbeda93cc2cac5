#include "kernels/cuda/rope.h"

#include "kernels/failure.h"

namespace mnm {

const char* rotate_cuda(const Rotary&) { return kNoCuda; }

}  // namespace mnm
