// LibTorch's errors are pages long; ours are one sentence. Compiled only into the engine.
#pragma once

#include <c10/util/Exception.h>

#include <string>

#include "eval/device_error.h"
#include "model/error.h"

namespace mnm {

inline std::string first_line(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

// What `work` returns; Error for what LibTorch throws in it. attempt: "scoring".
template <typename Work>
auto guarded(const char* attempt, const Work& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    if (out_of_memory(error)) {
      fail("{} ran out of memory on the device: lower --memory or use --device cpu", attempt);
    }
    if (device_lost(error)) {
      fail(
          "{} lost the device: {}; what was kept before is sound, start again once the device "
          "answers",
          attempt, first_line(error));
    }
    fail("{} failed in LibTorch: {}", attempt, first_line(error));
  }
}

}  // namespace mnm
