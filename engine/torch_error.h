// LibTorch's errors as ours. Compiled only into the engine.
#pragma once

#include <c10/util/Exception.h>

#include "base/error.h"
#include "fold/device_error.h"

namespace mnm {

// Runs `work`, which uses the device, and returns its result. If LibTorch throws in it, this throws
// DeviceLost if the device no longer answers, else Error. `attempt` is what was tried: "scoring".
template <typename Work>
auto guarded(const char* attempt, const c10::Device& device, const Work& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    if (const auto said = loss_of(device)) {
      throw DeviceLost(fmt::format(
          "{} lost {}, which answers every call with '{}' from now on; a new process may "
          "find it sound",
          attempt, device.str(), *said));
    }
    if (out_of_memory(error)) {
      fail("{} ran out of memory on {}: lower --memory or use --device cpu", attempt, device.str());
    }
    fail("{} failed in LibTorch: {}", attempt, first_line(error));
  }
}

}  // namespace mnm
