// The name of a CUDA device. device_cuda.cpp is linked, or, where there is no CUDA,
// device_no_cuda.cpp.
#pragma once

#include <string>

namespace mnm {

std::string device_name_cuda(int device);  // "NVIDIA H200"; empty where there is no such device

}  // namespace mnm
