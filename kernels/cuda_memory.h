// Whose memory goes to the CUDA kernels. What is linked: cuda_memory.cpp, or, where tests run these
// kernels on the host, what they put in its place.
#pragma once

namespace mnm {

// Whether what lies on a CUDA device, or on the CPU, goes to the CUDA kernels: that on a device.
bool goes_to_cuda_kernels(bool on_device);

}  // namespace mnm
