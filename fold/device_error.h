// What LibTorch's errors say of the device, and what the device says itself. Compiled only into the
// engine.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <optional>
#include <string>
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

// LibTorch's errors are pages long; ours are one sentence.
inline std::string first_line(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

// Until what was queued is done. Throws what went wrong in it.
inline void wait_for(const c10::Device& device) {
  const c10::impl::VirtualGuardImpl backend(device.type());
  backend.synchronizeStream(backend.getStream(device));
}

// What the device says where it is lost, so that every call to it fails until the process ends;
// nothing where it answers. It is asked, since an error does not tell: cuBLAS and cuDNN fail on a
// lost device in texts of their own, and the driver's codes are as many for calls that were wrong.
inline std::optional<std::string> loss_of(const c10::Device& device) {
  try {
    wait_for(device);
  } catch (const c10::Error& error) {
    // Where other processes left no memory for a context it cannot answer, and is sound.
    if (!out_of_memory(error)) return first_line(error);
  }
  return std::nullopt;
}

}  // namespace mnm
