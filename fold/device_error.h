// What LibTorch's errors say about the device, and how the device itself is tested. Compiled only
// into the engine.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <optional>
#include <string>
#include <string_view>

namespace mnm {

// Whether the error says that memory ran out, so that less work may be tried. LibTorch's own
// allocators throw errors of their own. The driver, which loads kernels when they are first called,
// gives a code. cuBLAS and cuDNN say it only in the text, and cuBLAS also by failing to start.
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

// Waits until all queued work is done. Throws what went wrong in it.
inline void wait_for(const c10::Device& device) {
  const c10::impl::VirtualGuardImpl backend(device.type());
  backend.synchronizeStream(backend.getStream(device));
}

// If the device is lost, so that every call to it fails until the process ends, returns what the
// device says; else nothing. The device itself is tested, because an error does not tell: cuBLAS
// and cuDNN report a lost device in texts of their own, and the driver uses as many codes for wrong
// calls.
inline std::optional<std::string> loss_of(const c10::Device& device) {
  try {
    wait_for(device);
  } catch (const c10::Error& error) {
    // If other processes left no memory for a context, it cannot answer, but it is sound.
    if (!out_of_memory(error)) return first_line(error);
  }
  return std::nullopt;
}

}  // namespace mnm
