// What LibTorch's errors say of the device. Compiled only into the engine.
#pragma once

#include <c10/util/Exception.h>

#include <string_view>

namespace mnm {

// Whether there was no memory for what was tried, so that less of it may be done. LibTorch's own
// allocators say so in errors of their own; the driver, which loads kernels when they are first
// called, in its code; cuBLAS and cuDNN in a text alone, and cuBLAS also by failing to start.
inline bool out_of_memory(const c10::Error& error) {
  constexpr int kMemoryAllocation = 2;  // cudaErrorMemoryAllocation
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error)) return true;
  if (const auto* const driver = dynamic_cast<const c10::AcceleratorError*>(&error)) {
    return driver->get_error_code() == kMemoryAllocation;
  }
  const std::string_view text = error.what_without_backtrace();
  for (const char* const sign :
       {"STATUS_ALLOC_FAILED", "STATUS_NOT_INITIALIZED when calling `cublas",
        "DefaultCPUAllocator: can't allocate memory"}) {
    if (text.find(sign) != text.npos) return true;
  }
  return false;
}

// Whether every call to the device fails from now on, until the process ends.
inline bool device_lost(const c10::Error& error) {
  return dynamic_cast<const c10::AcceleratorError*>(&error) && !out_of_memory(error);
}

}  // namespace mnm
