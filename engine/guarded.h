// LibTorch's errors are pages long; ours are one sentence.
#pragma once

#include <c10/util/Exception.h>

#include <string>

#include "model/error.h"

namespace mnm {

template <typename Work>
auto guarded(const char* attempt, const Work& work) {
  try {
    return work();
  } catch (const c10::OutOfMemoryError& error) {
    fail("{} ran out of memory on the device: lower --memory or use --device cpu", attempt);
  } catch (const c10::Error& error) {
    std::string text = error.what_without_backtrace();
    text = text.substr(0, text.find('\n'));
    fail("{} failed in LibTorch: {}", attempt, text);
  }
}

}  // namespace mnm
