// Which memory goes to the CUDA kernels. cuda/memory.cpp is linked, or, where tests run these
// kernels on the host, their own file in its place.
#pragma once

namespace mnm {

// Whether memory goes to the CUDA kernels, if it lies on a CUDA device, or if it lies on the CPU.
// Outside the tests only memory on a device does.
bool goes_to_cuda_kernels(bool on_device);

}  // namespace mnm
