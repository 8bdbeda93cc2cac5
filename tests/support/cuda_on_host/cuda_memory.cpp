#include "kernels/cuda/memory.h"
#include "tests/support/cuda_on_host/cuda_on_host.h"

namespace mnm {

bool goes_to_cuda_kernels(bool on_device) { return on_device || cuda_on_host::takes_host_memory(); }

}  // namespace mnm
