// LibTorch's errors are pages long; ours are one sentence. Compiled only into the engine.
#pragma once

#include <c10/util/Exception.h>

#include <string>

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
  } catch (const c10::OutOfMemoryError&) {
    fail("{} ran out of memory on the device: lower --memory or use --device cpu", attempt);
  } catch (const c10::AcceleratorError& error) {
    // After such an error every call to the device fails until the process ends.
    fail(
        "{} lost the device: {}; what was kept before is sound, start again once the device "
        "answers",
        attempt, first_line(error));
  } catch (const c10::Error& error) {
    fail("{} failed in LibTorch: {}", attempt, first_line(error));
  }
}

}  // namespace mnm
