// The name of a CUDA device. kernels/cuda/device.cpp is linked, or, where there is no CUDA,
// kernels/no_cuda/device.cpp.
#pragma once

#include <string>

namespace mnm {

std::string device_name_cuda(int device);  // "NVIDIA H200"; empty where there is no such device

}  // namespace mnm
