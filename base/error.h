// The one exception type of every library here.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace mnm {

// An Error's message is one sentence: what was attempted, on what, what was found, what was
// expected, what to do. Libraries throw it and never print, exit or abort; `cli` prints it and
// exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The caller's request is at fault (an option, a budget, widths): `cli` exits with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

// A device no longer answers any call of this process. Another process may still be able to do the
// work.
class DeviceLost : public Error {
 public:
  using Error::Error;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format(text, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> text, Args&&... args) {
  throw UsageError(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace mnm
