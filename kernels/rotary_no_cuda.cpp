#include "kernels/failure.h"
#include "kernels/rotary_cuda.h"

namespace mnm {

const char* rotate_cuda(const Rotary&) { return kNoCuda; }

}  // namespace mnm
